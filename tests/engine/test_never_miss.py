"""A class that is never to be missed is found more often, in predictions and previews alike, and remembered."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Budget, View
from napari_fewshot.core.operating import NeverMiss
from napari_fewshot.core.shelf import Shelf
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import Painting, painting_of
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import Silent
from napari_fewshot.engine.predict import predict_plane

Sample = tuple[np.ndarray, np.ndarray]
WISH = NeverMiss(2, 0.99)


class Viewer(Silent):
    """Looks at the whole image and keeps the last preview."""

    def __init__(self, image: np.ndarray) -> None:
        self.looked_at = View((), (0, 0), image, Intensity.measure(image), "image")
        self.values = np.zeros_like(image)

    def view(self) -> View:
        return self.looked_at

    def preview(self, view: View, values: np.ndarray, factor: int, confidence: np.ndarray | None) -> None:
        self.values = values


@pytest.fixture
def hazy() -> Sample:
    """Faint spots of 1 % of the pixels in noise: many are missed unless one wishes otherwise."""
    rng = np.random.default_rng(0)
    truth = np.ones((128, 128), np.uint8)
    y, x = np.indices(truth.shape)
    for at in rng.integers(10, 118, (8, 2)):
        truth[np.hypot(y - at[0], x - at[1]) < 5] = 2
    return (100 + 7.0 * (truth == 2) + rng.normal(0, 14, truth.shape)).astype(np.float32), truth


def painting(sample: Sample) -> Painting:
    return painting_of([sample[0]], [simulate_strokes(sample[1], 6)])


def recall(values: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(values[truth == 2] == 2))


@pytest.mark.parametrize("model", ["em-segment", "classic"])
def test_more_of_the_class_is_found_and_the_cost_is_told(hazy: Sample, model: str) -> None:
    start = Generator.from_file(Shelf().read(model))
    plain = fine_tune_segment(start, painting(hazy), Budget(steps=0))
    viewer = Viewer(hazy[0])
    wished = fine_tune_segment(start, painting(hazy), Budget(steps=0), never_miss=WISH, listener=viewer)
    point = wished.card.never_miss
    assert plain.card.never_miss is None and point is not None and point.wish == WISH
    assert point.offset > 0 and point.n_pixels > 20 and 0 < point.false_alarms < 1
    before, after = (predict_plane(g, hazy[0])[0] for g in (plain, wished))
    assert recall(after, hazy[1]) > recall(before, hazy[1]) + 0.03
    np.testing.assert_array_equal(viewer.values, after)


def test_the_wish_is_saved_and_goes_on_with_a_child(segmenter: Generator, hazy: Sample) -> None:
    wished = fine_tune_segment(segmenter, painting(hazy), Budget(steps=0), never_miss=WISH)
    again = Generator.from_file(wished.to_file())
    assert again.card.never_miss == wished.card.never_miss
    assert again.card == type(again.card).from_json(again.card.to_json())
    child = fine_tune_segment(again, painting(hazy), Budget(steps=1))
    assert child.card.never_miss is not None and child.card.never_miss.wish == WISH


def test_too_few_strokes_are_said_so_and_the_wish_waits_for_more(
    segmenter: Generator, disc: Sample, hazy: Sample
) -> None:
    labels = np.zeros(disc[1].shape, np.uint8)
    labels[2, 2:9], labels[48, 60:70] = 1, 2
    said: list[str] = []

    class Ear(Silent):
        def note(self, message: str) -> None:
            said.append(message)

    few = painting_of([disc[0]], [labels])
    wished = fine_tune_segment(segmenter, few, Budget(steps=0), never_miss=WISH, listener=Ear())
    point = wished.card.never_miss
    assert point is not None and point.wish == WISH and point.n_pixels == 0 and point.offset == 0
    assert "paint more" in said[-1]
    plain = fine_tune_segment(segmenter, few, Budget(steps=0))
    np.testing.assert_array_equal(predict_plane(wished, disc[0])[0], predict_plane(plain, disc[0])[0])
    child = fine_tune_segment(Generator.from_file(wished.to_file()), painting(hazy), Budget(steps=0))
    assert child.card.never_miss is not None
    assert child.card.never_miss.wish == WISH and child.card.never_miss.n_pixels > 0
