"""A preview is one layer that is renewed in place and minds what the user does to it."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_fewshot.core.card import ClassLabel, ModelCard
from napari_fewshot.core.picture import Picture
from napari_fewshot.ui.preview import Answer, PreviewLayers
from napari_fewshot.ui.results import METADATA, Place

SEGMENT = ModelCard("s", "segment", {}, classes=(ClassLabel("a", "#ff0000"), ClassLabel("b", "#0000ff")))
DENOISE = ModelCard("d", "denoise", {})


@pytest.fixture
def scene():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((3, 64, 80), np.uint8), contrast_limits=(0, 9), scale=(2, 0.5, 0.5))
    strokes = viewer.add_labels(np.zeros((3, 64, 80), np.uint8), scale=(2, 0.5, 0.5))
    strokes.mode = "paint"
    show = PreviewLayers(viewer)

    def say(values, card=SEGMENT, index=(1,), origin=(0, 0), factor=1, confidence=None, source=image):
        answer = Answer(index, origin, values, factor, confidence)
        show.show(answer, Picture(source.data, "ZYX"), Place.of_layer(source), card, strokes)
        return [x for x in viewer.layers if x.metadata.get(METADATA, {}).get("preview")]

    return viewer, strokes, show, say


def test_it_is_renewed_in_place_under_the_strokes(scene):
    viewer, strokes, _, say = scene
    (layer,) = say(np.ones((32, 32), np.uint8))
    assert viewer.layers.index(layer) == viewer.layers.index(strokes) - 1
    assert viewer.layers.selection.active is strokes and strokes.mode == "paint"
    data = layer.data
    assert say(np.full((32, 32), 2, np.uint8)) == [layer]
    assert layer.data is data and (data == 2).all()


def test_it_lies_over_its_image_also_when_the_strokes_lie_under_it(scene):
    viewer, strokes, _, say = scene
    viewer.layers.move(viewer.layers.index(strokes), 0)
    answer, confidence = say(np.ones((32, 32), np.uint8), confidence=np.ones((32, 32), np.float32))
    assert list(viewer.layers)[-2:] == [answer, confidence] and confidence.name == "preview confidence"


def test_it_follows_the_view(scene):
    *_, say = scene
    (layer,) = say(np.ones((32, 32), np.uint8))
    assert say(np.ones((16, 24), np.uint8), index=(2,), origin=(8, 4)) == [layer]
    assert layer.data.shape == (1, 16, 24)
    np.testing.assert_allclose(layer.data_to_world((0, 0, 0)), (4, 4, 2))


def test_another_kind_of_answer_takes_its_place(scene):
    *_, say = scene
    say(np.ones((32, 32), np.uint8))
    (layer,) = say(np.ones((64, 64), np.uint8), DENOISE, factor=2)
    np.testing.assert_allclose(layer.scale, (2, 0.25, 0.25))
    assert type(layer).__name__ == "Image"


def test_new_classes_get_their_colours(scene):
    *_, say = scene
    (layer,) = say(np.ones((32, 32), np.uint8))
    say(np.full((32, 32), 3, np.uint8), replace(SEGMENT, classes=(*SEGMENT.classes, ClassLabel("c", "#00ff00"))))
    np.testing.assert_allclose(layer.get_color(3), (0, 1, 0, 1))


def test_classes_of_another_colour_are_shown_in_it_at_once_and_from_then_on(scene):
    *_, show, say = scene
    (layer,) = say(np.ones((32, 32), np.uint8))
    green = (ClassLabel("a", "#00ff00"), SEGMENT.classes[1])
    assert say(np.ones((32, 32), np.uint8), replace(SEGMENT, classes=green)) == [layer]
    np.testing.assert_allclose(layer.get_color(1), (0, 1, 0, 1))
    show.colour(SEGMENT.classes)
    np.testing.assert_allclose(layer.get_color(1), (1, 0, 0, 1))


def test_a_class_that_nobody_named_is_shown_too(scene):
    *_, say = scene
    (layer,) = say(np.full((32, 32), 7, np.uint8))
    assert layer.get_color(7)[3] == 1


def test_it_looks_like_its_source_also_after_another_one(scene):
    viewer, *_, say = scene
    say(np.ones((32, 32), np.uint8), DENOISE)
    deep = viewer.add_image(
        np.zeros((3, 64, 80), np.uint16), contrast_limits=(0, 59_999), colormap="magma", gamma=0.5, scale=(2, 0.5, 0.5)
    )
    (layer,) = say(np.full((32, 32), 40_000, np.uint16), DENOISE, source=deep)
    assert (layer.contrast_limits, layer.colormap.name, layer.gamma) == ([0, 59_999], "magma", 0.5)
    deep.contrast_limits = (100, 200)
    assert say(np.ones((32, 32), np.uint16), DENOISE, source=deep) == [layer]
    assert layer.contrast_limits == [100, 200]


def test_its_contrast_is_the_users_while_the_source_looks_the_same(scene):
    *_, say = scene
    (layer,) = say(np.ones((32, 32), np.uint8), DENOISE)
    layer.contrast_limits = (3, 5)
    say(np.ones((32, 32), np.uint8), DENOISE)
    assert layer.contrast_limits == [3, 5]


def test_confidence_comes_and_goes_with_the_wish(scene):
    *_, say = scene
    assert len(say(np.ones((32, 32), np.uint8), confidence=np.ones((32, 32), np.float32))) == 2
    assert len(say(np.ones((32, 32), np.uint8))) == 1


def test_one_that_the_user_removed_stays_away_until_the_next_job(scene):
    viewer, _, show, say = scene
    (layer,) = say(np.ones((32, 32), np.uint8))
    viewer.layers.remove(layer)
    assert say(np.ones((32, 32), np.uint8)) == [] == say(np.ones((32, 32), np.uint8))
    show.allow()
    assert len(say(np.ones((32, 32), np.uint8))) == 1
    show.remove()
    assert len(viewer.layers) == 2
