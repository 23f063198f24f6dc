"""What can be asked of a restoration beside its answer, and what it reports. Values that both sides of the worker share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from napari_fewshot.core.errors import FewshotError

STRENGTHS = (0.5, 2.0)  # beyond, noise comes back as noise, or structure goes
STRUCTURE = 0.015  # autocorrelation of a residual above which structure is in it (noise alone measured: up to 0.008)


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
    structure : float
        Structure in what was taken away, about 0 to 1; see `engine.residual.structure_left`.
    residual_sigmas : float
        Standard deviation of what was taken away (without background), in standard deviations of the noise.
    within : float
        Share of input pixels that the answer explains to within one standard deviation of their noise.
    """

    noise: str
    structure: float
    residual_sigmas: float
    within: float

    def spoken(self) -> str:
        """Two clauses for the status line."""
        clean = (
            "no structure in it"
            if self.structure < STRUCTURE
            else f"structure in it ({self.structure:.0%}): try less strength"
        )
        return f"{self.noise}; taken away: {self.residual_sigmas:.2f} of the noise, {clean}"


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
