"""The closed-form head solved on a part of the strokes, to be asked for the rest. Knows no card and no picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from napari_fewshot.core.judge import Learn, Scorer, cross_fit
from napari_fewshot.core.operating import NeverMiss, OperatingPoint, operating_point
from napari_fewshot.engine.folds import HELD_OUT, N_FOLDS
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.heads.solved import Around, Solved
from napari_fewshot.engine.painted import Samples

ALL_FOLDS = tuple(range(N_FOLDS))
JUDGED_PER_CLASS = 300  # painted pixels that heads are judged on
UNSEEN = (HELD_OUT,)  # the fold that layers are not trained on


def weighed(solver: ClassesHead, samples: Samples, n_classes: int, around: Around) -> Samples:
    """The same, knowing how much each part of the head is to count by what it says of strokes held out."""
    few = samples.thinned(JUDGED_PER_CLASS)
    return replace(samples, voices=solver.weigh(few.x, few.y, few.fold, n_classes, samples.strength, around))


def ridge(solver: ClassesHead, samples: Samples, n_classes: int, like: Solved, around: Around) -> Learn:
    """Solves the head on a part of the samples, and on pixels ``around``; its logits are as large as those of ``like``, and inclined alike."""
    factor = warmth = solver.log_temperature.detach().exp()
    prior = torch.zeros(n_classes, device=samples.x.device)
    if len(like.bias) == n_classes:  # calibrated heads are smaller than solved ones
        with torch.no_grad():
            whole = solver.solve(samples.x, samples.y, n_classes, samples.strength, around, samples.voices)
        factor, prior = warmth * like.weight.norm() / whole.weight.norm(), like.prior * warmth

    def learn(x: np.ndarray, y: np.ndarray) -> Scorer:
        given = torch.from_numpy(x).to(samples.x.device), torch.from_numpy(y).to(samples.x.device)
        with torch.no_grad():
            solved = solver.solve(*given, n_classes, samples.strength, around, samples.voices)
        return scorer(solver, replace(solved.times(factor), prior=prior))

    return learn


def scorer(solver: ClassesHead, solved: Solved) -> Scorer:
    """(N, D) features -> (N, K) scores."""

    def score(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = solver.at(torch.from_numpy(x).to(solved.bias.device), solved).cpu().numpy()
        return found

    return score


def point_on(
    samples: Samples, classes: tuple[int, ...], learn: Learn, wish: NeverMiss, asked: tuple[int, ...]
) -> OperatingPoint | None:
    """The operating point by the ``asked`` folds; None when they lack a class.

    The head itself is not solved by rank: a pairwise hinge (Sangalli et al. 2021, arXiv 2102.12894) minimised on top of it makes
    fewer false alarms on the painted image, and more on others where little may be missed (``benchmarks/never_miss.py``).
    Layers may learn by it, see `rank`.
    """
    x, y, fold = (values.cpu().numpy() for values in (samples.x, samples.y, samples.fold))
    held_out = cross_fit(x, y, fold, classes, asked, learn)
    return None if held_out is None or wish.class_number not in classes else operating_point(held_out, wish)
