"""A generator as its judge sees it: features of painted pixels, and how a head would learn from them. Judges nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_fewshot.core.judge import HeldOut, Learn, Scorer, cross_fit
from napari_fewshot.core.strokes import Painting
from napari_fewshot.engine.calibrate import pixels_around
from napari_fewshot.engine.classic import ForestHead
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.grow import PaintedPixels, learner
from napari_fewshot.engine.painted import FeatureCache, sample
from napari_fewshot.engine.ridge import ridge, scorer, weighed
from napari_fewshot.engine.segment import solver_of


@dataclass(frozen=True, eq=False)
class Candidate:
    """Painted pixels as one generator sees them, how it would learn from them, and how it answers as it is.

    Parameters
    ----------
    classes : tuple of int
        The painted class numbers.
    x, y, fold : ndarray
        (N, D) features, (N,) positions in ``classes``, (N,) folds.
    learn : callable
    saved : callable or None
        (N, D) features -> logits of the classes of its card; None without a head.
    """

    classes: tuple[int, ...]
    x: np.ndarray
    y: np.ndarray
    fold: np.ndarray
    learn: Learn
    saved: Scorer | None

    def held_out(self, asked: tuple[int, ...]) -> HeldOut | None:
        """What it answers on the ``asked`` folds, each learned without; see `core.judge.cross_fit`."""
        return cross_fit(self.x, self.y, self.fold, self.classes, asked, self.learn)


def candidate_of(generator: Generator, painting: Painting, seed: int, cache: FeatureCache) -> Candidate:
    """Look at the painted pixels with a generator, with whatever head it has."""
    head, classes = generator.network.head, painting.classes
    if isinstance(head, ForestHead):
        pixels = PaintedPixels.take(painting, seed)
        learn = learner(str(generator.card.net.get("kind", "extra-trees")), seed)
        return Candidate(
            classes, pixels.x, pixels.y, pixels.fold, learn, head.forest.scores if generator.has_head else None
        )
    samples = sample(generator.network, painting, cache, seed)
    solver = solver_of(generator.network)
    around = pixels_around(generator.network, painting, cache, seed)
    samples = weighed(solver, samples, len(classes), around)
    learn = ridge(solver, samples, len(classes), solver.solved, around)
    x, y, fold = (values.cpu().numpy() for values in (samples.x, samples.y, samples.fold))
    warmth = solver.log_temperature.exp()
    saved = scorer(solver, solver.solved.times(warmth)) if generator.has_head else None
    return Candidate(classes, x, y, fold, learn, saved)
