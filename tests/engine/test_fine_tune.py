"""Fine-tuning learns from few strokes, says what is wrong with them, and is repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from napari_fewshot.core.card import WITH_TARGETS
from napari_fewshot.core.errors import ModelError, PictureError, StrokesError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Budget, View
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import Painting, painting_of
from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.fine_tune import fine_tune_restore, fine_tune_segment
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import Silent
from napari_fewshot.engine.look import Look
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.predict import predict_plane

Sample = tuple[np.ndarray, np.ndarray]


def mean_iou(found: np.ndarray, truth: np.ndarray) -> float:
    classes = np.unique(truth)
    return float(np.mean([np.sum((found == k) & (truth == k)) / np.sum((found == k) | (truth == k)) for k in classes]))


def painted(sample: Sample, n: int = 4) -> Painting:
    return painting_of([sample[0]], [simulate_strokes(sample[1], n)])


def test_a_few_strokes_segment_a_noisy_disc(segmenter: Generator, disc: Sample) -> None:
    tuned = fine_tune_segment(segmenter, painted(disc), Budget(steps=0))
    assert mean_iou(predict_plane(tuned, disc[0])[0], disc[1]) > 0.8


def test_the_card_tells_where_a_model_comes_from(segmenter: Generator, disc: Sample) -> None:
    tuned = fine_tune_segment(segmenter, painted(disc), Budget(steps=2), seed=5)
    card = tuned.card
    assert card.parent == segmenter.card.id and card.id not in ("", segmenter.card.id)
    assert (card.steps, card.seed, card.painted, len(card.losses)) == (2, 5, (1, 2), 2)
    assert card.n_painted_px == painted(disc).n_painted and card.scores["held-out stroke IoU"] > 0.5
    assert not segmenter.has_head and tuned.has_head


def test_the_same_seed_gives_the_same_weights(segmenter: Generator, disc: Sample) -> None:
    first, second = (fine_tune_segment(segmenter, painted(disc), Budget(steps=2), seed=1) for _ in range(2))
    assert first.card.sha256 == second.card.sha256


@pytest.mark.parametrize("steps", [0, 2])
def test_a_model_answers_the_same_once_it_is_read_again(segmenter: Generator, disc: Sample, steps: int) -> None:
    tuned = fine_tune_segment(segmenter, painted(disc), Budget(steps=steps))
    again = Generator.from_file(tuned.to_file())
    for mine, its in zip(tuned.network.parameters(), again.network.parameters(), strict=True):
        assert np.array_equal(mine.detach().numpy(), its.detach().numpy())
    np.testing.assert_array_equal(predict_plane(again, disc[0])[0], predict_plane(tuned, disc[0])[0])
    assert fine_tune_segment(again, painted(disc), Budget(steps=0)).card.parent == tuned.card.id


def test_classes_nobody_painted_are_never_answered(segmenter: Generator, disc: Sample) -> None:
    image, truth = disc
    strokes = simulate_strokes(truth, 3)
    strokes[strokes == 2] = 5
    tuned = fine_tune_segment(segmenter, painting_of([image], [strokes]), Budget(steps=0))
    assert set(np.unique(predict_plane(tuned, image)[0])) == {1, 5}


def test_new_strokes_are_taken_up_and_shown_without_a_restart(segmenter: Generator, disc: Sample) -> None:
    image, truth = disc
    first, more = simulate_strokes(truth, 2), np.where(truth == 2, 3, simulate_strokes(truth, 2)).astype(np.uint16)
    more[60:, 90:] = 0

    class Painter(Silent):
        def __init__(self) -> None:
            self.shown: list[np.ndarray] = []
            self.given = False

        def painting(self) -> Painting | None:
            if self.given:
                return None
            self.given = True
            return painting_of([image], [more])

        def view(self) -> View:
            return View((), (0, 0), image, Intensity.measure(image), "0", confidence=True)

        def preview(self, view: View, values: np.ndarray, factor: int, confidence: np.ndarray | None) -> None:
            assert confidence is not None and values.shape == confidence.shape == image.shape
            self.shown.append(values)

    painter = Painter()
    tuned = fine_tune_segment(segmenter, painting_of([image], [first]), Budget(steps=1), listener=painter)
    assert set(np.unique(painter.shown[0])) == {1, 2} and 3 in painter.shown[-1]
    assert tuned.card.painted == (1, 3) and len(tuned.card.classes) == 3


@pytest.mark.parametrize(
    ("strokes", "cure"),
    [(np.zeros((96, 128), int), "nothing is painted"), (np.eye(96, 128, dtype=int), "second class"),
     (np.ones((5, 5), int), "they must be equal"), (np.full((96, 128), 0.5), "use integers"), (-np.eye(96, 128, dtype=int), "negative")],
)  # fmt: skip
def test_strokes_that_cannot_be_learned_from_say_why(
    strokes: np.ndarray, cure: str, segmenter: Generator, disc: Sample
) -> None:
    with pytest.raises(StrokesError, match=cure):
        fine_tune_segment(segmenter, painting_of([disc[0]], [strokes]), Budget(steps=0))


def test_strokes_on_a_constant_image_say_why(segmenter: Generator, disc: Sample) -> None:
    with pytest.raises(StrokesError, match="constant"):
        fine_tune_segment(segmenter, painting_of([np.ones((96, 128))], [disc[1]]), Budget(steps=0))


def test_a_lone_pixel_of_a_class_is_enough(segmenter: Generator, disc: Sample) -> None:
    strokes = simulate_strokes(disc[1], 1)
    strokes[strokes == 2] = 0
    strokes[48, 70] = 2
    tuned = fine_tune_segment(segmenter, painting_of([disc[0]], [strokes]), Budget(steps=1))
    assert "held-out stroke IoU" not in tuned.card.scores  # too few to judge


def test_a_denoiser_learns_from_pairs(denoiser: Generator, disc: Sample) -> None:
    image, truth = (np.tile(a, (3, 2)) for a in disc)  # large enough to hold rows out
    clean = (80 + 90 * (truth == 2)).astype(np.float32)
    tuned = fine_tune_restore(denoiser, [(image, clean)], Budget(steps=30))
    before, after = (np.abs(predict_plane(g, image)[0] - clean).mean() for g in (denoiser, tuned))
    assert after < before and tuned.card.scores["held-out error removed"] > 0
    assert tuned.card.data == WITH_TARGETS


@pytest.mark.parametrize("name", ["em-denoise", "em-superres-x2", "em-background"])
def test_a_restoration_adapts_to_an_image_alone(name: str, disc: Sample) -> None:
    from napari_fewshot.core.shelf import Shelf

    tuned = fine_tune_restore(Generator.from_file(Shelf().read(name)), [(disc[0], None)], Budget(steps=2))
    assert tuned.card.steps == 2 and len(tuned.card.losses) == 2


def test_wrong_targets_and_wrong_tasks_say_why(segmenter: Generator, denoiser: Generator, disc: Sample) -> None:
    with pytest.raises(PictureError, match="target has shape"):
        fine_tune_restore(denoiser, [(disc[0], disc[0][:50])], Budget(steps=1))
    with pytest.raises(PictureError, match="constant"):
        fine_tune_restore(denoiser, [(np.ones((64, 64)), None)], Budget(steps=1))
    with pytest.raises(ModelError, match="choose a restoration"):
        fine_tune_restore(segmenter, [(disc[0], None)], Budget(steps=1))
    with pytest.raises(ModelError, match="choose a segmentation"):
        fine_tune_segment(denoiser, painted(disc), Budget(steps=1))


def test_a_target_with_infinities_spoils_nothing(denoiser: Generator, disc: Sample) -> None:
    image = np.tile(disc[0], (3, 2))
    clean = image.astype(np.float32)
    clean[::7, ::5], clean[3, 3] = np.inf, np.nan
    tuned = fine_tune_restore(denoiser, [(image, clean)], Budget(steps=2))
    assert np.all(np.isfinite(tuned.card.losses)) and np.isfinite(tuned.card.scores["held-out error removed"])


def test_too_little_memory_is_met_with_smaller_tiles(
    segmenter: Generator, superalloy: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, notes = Network.look, []

    def small_machine(self: Network, x: Tensor, box: Box | None = None) -> list[Look]:
        if box is not None and (box[0].stop - box[0].start) > 128:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return real(self, x, box)

    class Noting(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    monkeypatch.setattr(Network, "look", small_machine)
    tuned = fine_tune_segment(segmenter, painted(superalloy), Budget(steps=1), listener=Noting())
    assert tuned.has_head and len(notes) == 2  # 512 -> 256 -> 128 px


def test_a_class_number_out_of_range_says_so(disc: Sample) -> None:
    with pytest.raises(StrokesError, match="1 to 255"):
        painting_of([disc[0]], [np.where(disc[1] == 2, 65537, 0)])
