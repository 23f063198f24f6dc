"""A fitted head is as sure as it is right, also of pixels nobody painted."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from napari_fewshot.core.job import Budget
from napari_fewshot.core.scores import calibration_error
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import painting_of
from napari_fewshot.engine.calibrate import Learn, calibrating_factor
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.folds import N_FOLDS
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.painted import Samples
from napari_fewshot.engine.predict import predict_plane


def toy(separation: float) -> tuple[ClassesHead, Samples, torch.Tensor]:
    """A head of six features, painted pixels of two classes whose means lie so far apart, and unpainted ones."""
    made = torch.Generator().manual_seed(0)
    y = torch.arange(80) % 2
    x = torch.randn(80, 6, generator=made) + separation * y[:, None]
    pixels = torch.randn(500, 6, generator=made) + separation * (torch.arange(500) % 2)[:, None]
    return ClassesHead(6), Samples(x, y, torch.arange(80) // 2 % N_FOLDS), pixels


def learner(solver: ClassesHead) -> Learn:
    return lambda x, y: partial(solver.at, solved=solver.solve(x, y, 2))


@pytest.mark.parametrize(("separation", "lowest", "highest"), [(0.0, 0.04, 0.5), (8.0, 0.99, 1.0)])
@torch.no_grad()
def test_confidence_falls_to_how_often_heads_of_other_strokes_agree(
    separation: float, lowest: float, highest: float
) -> None:
    solver, samples, pixels = toy(separation)
    learn = learner(solver)
    factor = calibrating_factor(learn, samples, pixels, learn(samples.x, samples.y), scale=10.0)
    assert lowest <= factor <= highest


@torch.no_grad()
def test_too_few_strokes_to_compare_leave_the_learned_temperature() -> None:
    solver, samples, pixels = toy(1.0)
    lone = Samples(samples.x, samples.y, samples.y)  # each class in one fold
    learn = learner(solver)
    assert calibrating_factor(learn, lone, pixels, learn(samples.x, samples.y), 10.0) == 1.0


def test_the_confidence_of_a_micrograph_is_calibrated(
    segmenter: Generator, superalloy: tuple[np.ndarray, np.ndarray]
) -> None:
    image, truth = superalloy
    painting = painting_of([image], [simulate_strokes(truth, 6)])
    tuned = fine_tune_segment(segmenter, painting, Budget(steps=0))
    values, sure = predict_plane(tuned, image, confidence=True)
    assert sure is not None and calibration_error(sure, values == truth) < 0.1
