"""Rank loss: pixels of a rare class are to score above all others, however few they are. Adds to `OnStrokes`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_fewshot.engine.heads.solved import Solved
from napari_fewshot.engine.look import features_at, pad_to_grid
from napari_fewshot.engine.segment import OnStrokes, solver_of

WEIGHT, MARGIN = 1.0, 0.25  # beside the cross-entropy on strokes; of scores, which are about 1 apart
KNOWN_PER_CLASS = 300


@dataclass(frozen=True, eq=False)
class Rank:
    """Pairwise hinge, linear and squared, between pixels of the class that may hardly be missed and all others.

    Sangalli et al. 2021 (arXiv 2102.12894): where few are missed, false alarms are what ranks above the worst of the class.
    """

    objective: OnStrokes

    def __call__(self, solved: Solved, rng: np.random.Generator) -> dict[str, Tensor]:
        """Nothing as long as there is no such class among those painted."""
        objective, solver = self.objective, solver_of(self.objective.module)
        wish, classes = objective.never_miss, objective.painting.classes
        if wish is None or wish.class_number not in classes:
            return {}
        at = classes.index(wish.class_number)
        plane, yx, y = objective.query(objective.any_fold(rng), rng)
        unit = plane.intensity.to_unit(plane.image)
        x = pad_to_grid(unit, objective.module.align_px, str(solved.bias.device))
        known, classes_known = objective.known(KNOWN_PER_CLASS)
        features = torch.cat([features_at(objective.looks(x), yx), known])
        is_class = torch.cat([y, classes_known]) == at
        return {"rank": WEIGHT * rank_hinge(margins(solver.at(features, solved), at), is_class)}


def margins(scores: Tensor, at: int) -> Tensor:
    """(N, K) scores -> (N,) by how much class ``at`` is ahead of the next best."""
    return scores[:, at] - torch.cat([scores[:, :at], scores[:, at + 1 :]], 1).amax(1)


def rank_hinge(margin: Tensor, is_class: Tensor, least: float = MARGIN) -> Tensor:
    """Mean over the pixels of the class of how far the others are from being ``least`` below; (N,) each."""
    missing = torch.relu(least - (margin[is_class, None] - margin[None, ~is_class])).mean(1)
    return (missing + missing**2 / 2).mean()
