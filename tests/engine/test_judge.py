"""Judging asks every model for the same strokes, none of which it learned from."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fewshot.core.errors import StrokesError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Budget, View
from napari_fewshot.core.shelf import Shelf
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import Painting, painting_of
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.judge import judge

Sample = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def classic() -> Generator:
    return Generator.from_file(Shelf().read("classic"))


def painting(sample: Sample, n: int = 4) -> Painting:
    return painting_of([sample[0]], [simulate_strokes(sample[1], n)])


def test_two_models_are_asked_for_the_same_strokes(segmenter: Generator, classic: Generator, disc: Sample) -> None:
    view = View((), (0, 0), disc[0], Intensity.measure(disc[0]), "disc")
    ours, theirs = judge([segmenter, classic], painting(disc), view=view)
    assert (ours.name, theirs.name) == ("em-segment", "classic")
    for one in (ours, theirs):
        assert one.held_out is not None and one.held_out.confusion.mean_iou > 0.7
        assert one.as_saved is None  # neither has seen a stroke before
        assert one.view is not None and np.mean(one.view == disc[1]) > 0.9
    assert ours.held_out is not None and theirs.held_out is not None
    assert np.array_equal(np.bincount(ours.held_out.truth) > 0, np.bincount(theirs.held_out.truth) > 0)


def test_a_version_is_asked_only_for_strokes_its_layers_have_not_seen(
    segmenter: Generator, classic: Generator, disc: Sample
) -> None:
    tuned = fine_tune_segment(segmenter, painting(disc), Budget(steps=1))
    (fresh,) = judge([segmenter], painting(disc))
    version, forest = judge([tuned, classic], painting(disc))
    assert version.held_out and forest.held_out and fresh.held_out
    assert len(version.held_out.truth) < len(fresh.held_out.truth)
    assert len(forest.held_out.truth) < len(fresh.held_out.truth)
    assert version.as_saved is not None and version.as_saved.mean_iou > 0.7
    assert version.held_out.confusion.mean_iou == pytest.approx(tuned.card.scores["held-out stroke IoU"], abs=0.1)


def test_what_cannot_be_learned_does_not_look_good(segmenter: Generator, classic: Generator) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 128)).astype(np.uint8)
    truth = np.ones(noise.shape, np.uint8)
    truth[:, 64:] = 2
    for verdict in judge([segmenter, classic], painting((noise, truth), 6)):
        assert verdict.held_out is not None and verdict.held_out.confusion.mean_iou < 0.6


def test_one_stroke_a_class_can_be_judged_and_none_cannot(segmenter: Generator, disc: Sample) -> None:
    (verdict,) = judge([segmenter], painting(disc, 1))
    assert verdict.view is None and (verdict.held_out is None or verdict.held_out.classes == (1, 2))
    with pytest.raises(StrokesError, match="nothing is painted"):
        judge([segmenter], Painting(()))


def test_what_denoising_first_gains_is_told_on_the_same_strokes(
    segmenter: Generator, denoiser: Generator, disc: Sample
) -> None:
    noisy = (disc[0] + np.random.default_rng(0).normal(0, 200, disc[0].shape)).astype(np.float32)
    (plain,), (both,) = (judge([segmenter], painting((noisy, disc[1])), first=first) for first in (None, denoiser))
    assert plain.denoised is None and both.denoised is not None and both.held_out is not None
    np.testing.assert_array_equal(both.held_out.truth, both.denoised.truth)
    assert both.denoised.confusion.mean_iou > both.held_out.confusion.mean_iou
