"""What can be asked of a restoration beside its answer, and what it reports. Values that both sides of the worker share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from napari_fewshot.core.errors import FewshotError

STRENGTHS = (0.5, 2.0)  # beyond, noise comes back as noise, or structure goes
STRUCTURE = 0.015  # autocorrelation of a residual above which structure is in it (noise alone measured: up to 0.008)
CURE = "try less strength"
WITHIN = "pixel areas within one standard deviation of the input"
GOOD_BACKGROUND, GOOD_STRUCTURE = 1, 2


@dataclass(frozen=True, eq=False)
class Regions:
    """What somebody who knows the specimen declares good on a plane.

    Parameters
    ----------
    labels : ndarray
        (Y, X) integers: 1 is background, to become even; 2 is structure, to stay as it is; 0 says nothing.
    """

    labels: np.ndarray


@dataclass(frozen=True)
class Restoring:
    """Wishes of an apply; all cost time but ``strength``.

    Parameters
    ----------
    strength : float
        1 is what the model says; 2 takes away more noise and more detail, 0.5 leaves more of both.
    uncertainty : bool
        Also how far each pixel may be off (one standard deviation, in the units of the image).
    background : bool
        Also the background that was taken away, and what is left then: input = result + background + residual.
    n_alternatives : int
        Also so many other answers that would explain the input as well.
    """

    strength: float = 1.0
    uncertainty: bool = False
    background: bool = False
    n_alternatives: int = 0

    def __post_init__(self) -> None:
        if not STRENGTHS[0] <= self.strength <= STRENGTHS[1]:
            raise FewshotError(
                f"the strength of a restoration is {STRENGTHS[0]} to {STRENGTHS[1]}, got {self.strength}"
            )


AS_TRAINED = Restoring()


@dataclass(frozen=True)
class Report:
    """What was measured while a plane was restored.

    Parameters
    ----------
    noise : str
        The noise of the input, in words.
    noise_std : float
        Its standard deviation at the mean grey level, in the units of the image.
    noise_share : float
        The same as a share of the contrast of the plane.
    structure : float
        Structure in what was taken away, about 0 to 1; see `engine.residual.structure_left`.
    residual_sigmas : float
        Standard deviation of what was taken away (without background), in standard deviations of the noise.
    within : float
        Share of input pixels that the answer explains to within one standard deviation of their noise.
    factor : int
        How much finer the answer is.
    """

    noise: str
    noise_std: float
    noise_share: float
    structure: float
    residual_sigmas: float
    within: float
    factor: int = 1

    @property
    def has_structure(self) -> bool:
        """Whether more than noise was taken away."""
        return self.structure >= STRUCTURE

    def spoken(self) -> str:
        """Clauses for the status line, what matters first."""
        away = f"taken away: {self.residual_sigmas:.2f} of the noise, no structure"
        if self.has_structure:
            away = f"structure ({self.structure:.0%}) taken away with {self.residual_sigmas:.2f} of the noise: {CURE}"
        finer = [f"{self.within:.0%} of its {WITHIN}"] if self.factor > 1 else []
        return "; ".join([away, *finer, self.noise])


def summary(reports: Sequence[tuple[str, Report]]) -> str:
    """What matters of all planes, each with its name: one alone is told of as such, of many the worst and the median."""
    if len(reports) == 1:
        return reports[0][1].spoken()
    told = [report for _, report in reports]
    worst, most = max(reports, key=lambda named: named[1].structure)
    n_with = sum(report.has_structure for report in told)
    away = f"no structure taken away in {len(told)} planes"
    if n_with:
        away = f"structure taken away in {n_with} of {len(told)} planes, most ({most.structure:.0%}) in {worst}: {CURE}"
    finer = [f"at least {min(r.within for r in told):.0%} of {WITHIN}"] if most.factor > 1 else []
    share, sigmas = (median(values) for values in ([r.noise_share for r in told], [r.residual_sigmas for r in told]))
    noise = f"in the median the noise is {share:.0%} of the contrast, {sigmas:.2f} of it taken away"
    return "; ".join([away, *finer, noise])


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored plane.

    Parameters
    ----------
    values : ndarray
        (Y * factor, X * factor), dtype, range and mean of the input.
    report : Report
    maps : dict of str to ndarray
        What was wished for: ``uncertainty`` (shape of ``values``), ``background`` and ``residual`` (shape of the input), all
        float32 in the units of the input; ``alternatives`` (n, Y * factor, X * factor) like ``values``.
    """

    values: np.ndarray
    report: Report
    maps: dict[str, np.ndarray] = field(default_factory=dict)
