"""How long and how fast to train. Trains nothing."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from napari_fewshot.core.job import Budget

LEAST_SHARE = 0.02  # of the peak rate, at the end


@dataclass(frozen=True)
class Schedule:
    """How to train.

    Parameters
    ----------
    budget : Budget
    rate : float
        Peak learning rate of Adam; warmed up linearly, then, with a known end, lowered along a cosine.
    warm_steps : int
    average : float
        Decay of the exponential moving average of the weights, 0 to 1.
    look_s : float
        Seconds between scores and previews, and between snapshots.
    margin : float
        By how much a score must be better than the best before it, where scores are noisy.
    trusts_unjudged : bool
        Where nothing can be held out to judge by, take the newest weights; else those that were begun with.
    """

    budget: Budget
    rate: float = 1e-3
    warm_steps: int = 50
    average: float = 0.99
    look_s: float = 1.0
    margin: float = 0.0
    trusts_unjudged: bool = True

    def share_of_rate(self, steps: int, done: float) -> float:
        """What of the peak rate the step after ``steps`` takes, when the share ``done`` (0 to 1) of the budget is used."""
        warm = min(1.0, (steps + 1) / self.warm_steps)
        return warm * (0.5 * (1 + cos(pi * done)) * (1 - LEAST_SHARE) + LEAST_SHARE)
