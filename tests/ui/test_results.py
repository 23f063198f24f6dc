"""Results lie exactly over their source, whatever its transform, and say where they come from."""

import copy
import gc
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_fewshot.batch.sidecar import Provenance
from napari_fewshot.compute.events import PlaneDone
from napari_fewshot.core.card import ClassLabel, ModelCard
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.restoring import Report
from napari_fewshot.ui.landing import Landing, Target
from napari_fewshot.ui.results import (
    METADATA,
    Place,
    ResultStack,
    answer_layer,
    confidence_layer,
    corner_of,
    insert_quietly,
    provenance,
)

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")  # napari's word on such transforms
CARD = ModelCard("em-denoise-2", "denoise", {"name": "none"}, id="abc", sha256="f" * 64, seed=3)
TRANSFORMS = {
    "plain": {},
    "scale": {"scale": (3.0, 0.5, 0.7)},
    "translate": {"translate": (5.0, -7.0, 11.0)},
    "rotate": {"rotate": (10.0, 20.0, 35.0)},
    "shear": {"shear": (0.2, 0.3, -0.4)},
    "affine": {"affine": np.array([[1, 0.1, 0, 4], [0, 0.9, 0.3, 5], [0.2, -0.3, 1.1, 6], [0, 0, 0, 1]])},
    "all": {
        "scale": (3.0, 0.5, 0.7), "translate": (5.0, -7.0, 11.0), "rotate": (10.0, 20.0, 35.0), "shear": (0.2, 0.3, -0.4),
        "affine": np.array([[1, 0.1, 0, 4], [0, 0.9, 0.3, 5], [0.2, -0.3, 1.1, 6], [0, 0, 0, 1]]),
        "units": ("nm", "nm", "nm"), "axis_labels": ("z", "y", "x"),
    },
}  # fmt: skip


def cut(transform, ndim):
    """A 3D transform for another number of axes."""
    if ndim == 3:
        return transform
    out = {}
    for key, value in transform.items():
        if key == "rotate":
            out[key] = 30.0
        elif key == "shear":
            out[key] = (0.3,)
        elif key == "affine":
            out[key] = value[1:, 1:]
        else:
            out[key] = value[1:]
    return out


def world_corners(layer, box, index=()):
    """World positions of the outer corners of a (Y, X) box of pixels on plane ``index``."""
    ys, xs = ((s.start - 0.5, s.stop - 0.5) for s in box)
    return np.array([layer.data_to_world((*index, y, x)) for y, x in itertools.product(ys, xs)])


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_areas_coincide_under_every_transform(name, factor, ndim):
    shape = (5, 40, 60)[-ndim:]
    source = Image(np.zeros(shape, np.uint8), **cut(TRANSFORMS[name], ndim))
    place, picture = Place.of_layer(source), Picture(source.data, "ZYX"[-ndim:])
    whole = Image(np.zeros((*shape[:-2], 40 * factor, 60 * factor)), **place.over(corner_of(picture), factor))
    index = (3,)[: ndim - 2]
    np.testing.assert_allclose(
        world_corners(whole, (slice(0, 40 * factor), slice(0, 60 * factor)), index),
        world_corners(source, (slice(0, 40), slice(0, 60)), index),
        atol=1e-9,
    )
    assert whole.units == source.units and whole.axis_labels == source.axis_labels


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_preview_lies_over_its_box_of_its_plane(name, factor, ndim):
    shape = (5, 40, 60)[-ndim:]
    source = Image(np.zeros(shape, np.uint8), **cut(TRANSFORMS[name], ndim))
    index = (3,)[: ndim - 2]
    corner = corner_of(Picture(source.data, "ZYX"[-ndim:]), index, (8, 12))
    part = Image(
        np.zeros((1,) * len(index) + (10 * factor, 20 * factor)), **Place.of_layer(source).over(corner, factor)
    )
    np.testing.assert_allclose(
        world_corners(part, (slice(0, 10 * factor), slice(0, 20 * factor)), (0,) * len(index)),
        world_corners(source, (slice(8, 18), slice(12, 32)), index),
        atol=1e-9,
    )


def test_the_result_of_one_channel_stands_at_that_channel():
    source = Image(np.zeros((3, 4, 40, 50), np.uint8), axis_labels=("z", "c", "y", "x"), scale=(2, 10, 1, 1))
    picture = Picture(source.data, "ZCYX", channel=2)
    result = Image(np.zeros(picture.shape), **Place.of_layer(source).over(corner_of(picture)))
    np.testing.assert_allclose(result.data_to_world((1, 0, 5, 6)), source.data_to_world((1, 2, 5, 6)))


def test_a_multiscale_source_is_matched_at_full_resolution():
    source = Image([np.zeros((80, 100)), np.zeros((40, 50))], multiscale=True, scale=(2, 2))
    result = Image(np.zeros((160, 200)), **Place.of_layer(source).over((0, 0), 2))
    np.testing.assert_allclose(
        world_corners(result, (slice(0, 160), slice(0, 200))), world_corners(source, (slice(0, 80), slice(0, 100)))
    )


def test_a_layer_and_a_file_tell_the_same_of_their_model(tmp_path):
    card = replace(CARD, classes=(ClassLabel("gamma", "#ff0000"),), n_painted_px=7)
    about = provenance(card, "my image", {})
    assert about["model"] == Provenance.now(tmp_path / "a.tif", card, 0.0, {}, []).model
    assert about["model"]["classes"] == ["gamma"] and about["model"]["n_painted_px"] == 7


def test_a_result_says_where_it_comes_from():
    place = Place.of_layer(Image(np.zeros((40, 50)), contrast_limits=(0, 7)))
    about = provenance(CARD, "my image", {"confidence": False})
    layer = answer_layer(np.zeros((40, 50), np.float32), "r", CARD, place, place.over((0, 0)), about)
    told = layer.metadata[METADATA]
    assert told["model"]["id"] == "abc" and told["model"]["sha256"] == "f" * 64 and told["model"]["seed"] == 3
    assert told["parameters"] == {"confidence": False} and told["source"] == "my image"
    assert {"napari-fewshot", "napari", "numpy"} <= told["versions"].keys()
    assert layer.contrast_limits == [0, 7]


def test_classes_keep_their_colours_and_what_is_not_done_is_transparent():
    card = ModelCard("s", "segment", {}, classes=(ClassLabel("a", "#ff0000"), ClassLabel("b", "#0000ff")))
    place = Place.of_layer(Image(np.zeros((40, 50))))
    layer = answer_layer(
        np.array([[0, 1, 2]], np.uint8), "r", card, place, place.over((0, 0)), provenance(card, "", {})
    )
    np.testing.assert_allclose(layer.get_color(1), (1, 0, 0, 1))
    np.testing.assert_allclose(layer.get_color(2), (0, 0, 1, 1))
    assert layer.get_color(0) is None or layer.get_color(0)[3] == 0


def image_on_disk():
    stack = ResultStack((4, 64, 64), np.uint8, limit_bytes=1000)
    stack.write((2,), np.full((64, 64), 7, np.uint8))
    return Image(stack.array, contrast_limits=(0, 9))


def test_a_result_larger_than_the_limit_lies_on_disk_and_goes_with_its_layer():
    layers = [image_on_disk()]
    folder = layers[0].data.store.root
    assert [int(layers[0].data[z].max()) for z in (1, 2)] == [0, 7] and folder.is_dir()
    layers.clear()
    gc.collect()
    assert not folder.exists()


def test_a_duplicate_of_what_lies_on_disk_is_a_layer_of_its_own():
    viewer = ViewerModel()
    stack = ResultStack((4, 64, 64), np.uint8, limit_bytes=1000)
    labels = viewer.add_labels(stack.array, name="strokes")
    del stack
    labels.paint((0, 10, 10), 3)
    twin = Layer.create(*copy.deepcopy(labels.as_layer_data_tuple()))  # as napari's Duplicate does
    labels.paint((0, 40, 40), 5)
    assert set(np.unique(twin.data[:])) == {0, 3}
    viewer.layers.clear()
    del labels
    gc.collect()
    assert set(np.unique(twin.data[:])) == {0, 3}


def test_adding_a_layer_leaves_the_brush_in_hand():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((40, 50)))
    strokes = viewer.add_labels(np.zeros((40, 50), np.uint8))
    strokes.mode = "paint"
    result = confidence_layer(np.zeros((40, 50), np.float32), "c", {}, {})
    insert_quietly(viewer, result, strokes)
    assert viewer.layers.selection.active is strokes and strokes.mode == "paint"
    assert list(viewer.layers).index(result) == 1


@pytest.mark.parametrize("at", [0, 1])
def test_a_result_lies_over_its_source_wherever_the_strokes_lie(at):
    viewer = ViewerModel()
    sources = [viewer.add_image(np.zeros((40, 50), np.uint8)) for _ in range(2)]
    strokes = Labels(np.zeros((40, 50), np.uint8))
    viewer.layers.insert(at, strokes)
    for source in sources:
        landing = Landing(Target.of_layer(source, viewer, False), CARD, provenance(CARD, "", {}))
        plane = np.zeros((40, 50), np.float32)
        landing.land(PlaneDone("", (), plane, plane, maps={"residual": plane}), viewer, strokes)
        order = [viewer.layers.index(landing.layers[key]) for key in ("residual", "answer", "confidence")]
        assert [viewer.layers.index(source) + n for n in (1, 2, 3)] == order


def test_adding_a_layer_keeps_several_selected():
    viewer = ViewerModel()
    chosen = {viewer.add_image(np.zeros((40, 50))) for _ in range(2)}
    viewer.layers.selection = chosen
    insert_quietly(viewer, confidence_layer(np.zeros((40, 50), np.float32), "c", {}, {}), None)
    assert set(viewer.layers.selection) == chosen


def landed_map(planes, first, **maps):
    """The layer of a map of a stack whose plane ``first`` came first, and then the others."""
    viewer = ViewerModel()
    layer = viewer.add_image(planes)
    viewer.dims.set_point(0, first)
    target = Target.of_layer(layer, viewer, is_slice=False)
    landing = Landing(target, CARD, provenance(CARD, "", {}))
    for index in target.indices:
        landing.land(PlaneDone("", index, planes[index], maps={"residual": maps["residual"][index]}), viewer, None)
    assert len(viewer.layers) == 3
    return landing.layers["residual"]


def test_the_contrast_of_a_map_is_that_of_the_plane_that_came_first():
    planes = np.zeros((4, 40, 50), np.uint8)
    residual = np.random.default_rng(0).normal(0, 10, planes.shape).astype(np.float32)
    low, high = landed_map(planes, 2, residual=residual).contrast_limits
    assert -40 < low < -20 and 20 < high < 40


@pytest.mark.parametrize("is_known", [True, False])
def test_a_map_with_pixels_that_nobody_knows_is_shown_with_the_contrast_of_the_others(is_known):
    planes = np.zeros((2, 40, 50), np.float32)
    residual = np.full(planes.shape, np.nan, np.float32)
    residual[:, 10:] = np.linspace(-5, 5, 50, dtype=np.float32) if is_known else np.nan
    limits = landed_map(planes, 1, residual=residual).contrast_limits
    np.testing.assert_allclose(limits, (-5, 5) if is_known else (0, 1), atol=0.01)


@pytest.mark.parametrize("limit_bytes", [None, 1000])
def test_a_plane_that_nobody_restored_is_unknown_where_numbers_can_be(limit_bytes):
    for dtype, empty in ((np.float32, np.nan), (np.uint8, 0)):
        stack = ResultStack((2, 64, 64), dtype, limit_bytes)
        stack.write((1,), np.full((64, 64), 7, dtype))
        np.testing.assert_array_equal(stack.array[0], np.full((64, 64), empty, dtype))
        np.testing.assert_array_equal(stack.array[1], np.full((64, 64), 7, dtype))


@pytest.mark.filterwarnings("error")
def test_a_map_in_tiny_units_is_seen():
    planes = np.zeros((2, 40, 50), np.float32)
    residual = np.random.default_rng(0).normal(0, 1e-9, planes.shape).astype(np.float32)
    low, high = landed_map(planes, 0, residual=residual).contrast_limits
    assert -4e-9 < low < -2e-9 and 2e-9 < high < 4e-9


def test_every_layer_of_a_restoration_tells_what_was_found_in_its_planes():
    viewer = ViewerModel()
    source = viewer.add_image(np.zeros((2, 40, 50), np.float32))
    landing = Landing(Target.of_layer(source, viewer, False), CARD, provenance(CARD, "", {}))
    plane = np.zeros((40, 50), np.float32)
    for n in range(2):
        report = Report("white noise", 1.5, 0.1, 0.01 * n, 0.9, 0.7)
        landing.land(PlaneDone("", (n,), plane, maps={"residual": plane}, report=report), viewer, None)
    for key in ("answer", "residual"):
        told = json.loads(json.dumps(landing.layers[key].metadata[METADATA]))["reports"]
        assert [(r["plane"], r["structure"], r["noise_std"]) for r in told] == [([0], 0.0, 1.5), ([1], 0.01, 1.5)]
