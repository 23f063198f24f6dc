"""Rows of pairs that nothing is learned from: what users get there before and after is compared with the targets. Learns nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.background import denoiser
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.residual import BACKGROUND
from napari_fewshot.engine.restorer import Answer, Restorer, is_seen_from_afar

SHARE = 0.25  # rows at the bottom
SMALLEST_PX = 64  # planes with fewer rows are learned from as a whole
WINDOWS, WINDOWS_PX = 3, 576  # of how many pairs, and their columns together
MOST_ROWS_PX = 128  # of a window: to judge is to restore, and takes long
SEEN_PX = 256  # rows of a window whose background is told, those that are not judged included


def first_held_out(n_rows: int, align_px: int) -> int:
    """The first of the rows that nothing is learned from, on a multiple of ``align_px``; all are learned from if there are few."""
    return int(n_rows * (1 - SHARE)) // align_px * align_px if n_rows >= SMALLEST_PX else n_rows


class HeldOut:
    """Windows at the bottom of some pairs; guards that whoever is asked is judged alike, by what `Restorer` makes of its network.

    Parameters
    ----------
    generator : Generator
        That is started from.
    planes : sequence of (ndarray, ndarray)
        Images (Y, X), and their targets (Y * factor, X * factor) on the unit scale of the image; NaN is not known.
    firsts : sequence of int
        The first row of each that is judged.
    """

    def __init__(
        self, generator: Generator, planes: Sequence[tuple[np.ndarray, np.ndarray]], firsts: Sequence[int]
    ) -> None:
        step = max(1, -(-len(planes) // WINDOWS))
        chosen = list(zip(planes, firsts, strict=True))[::step]
        self._windows = [
            window
            for (image, target), first in chosen
            if (window := _Window(generator, image, target, first, WINDOWS_PX // len(chosen))).is_known
        ]

    @property
    def is_empty(self) -> bool:
        return not self._windows

    def errors(self, generator: Generator) -> np.ndarray:
        """Mean squared error of each window where its target is known, (N,), on the unit scale."""
        return np.array([window.error(generator) for window in self._windows])


class _Window:
    def __init__(self, generator: Generator, image: np.ndarray, target: np.ndarray, first: int, columns: int) -> None:
        n_rows, n_columns = image.shape
        first = max(first, n_rows - MOST_ROWS_PX)
        self.has_level = generator.card.task != BACKGROUND
        self.factor = f = generator.card.factor
        top = max(0, min(first, n_rows - (SMALLEST_PX if self.has_level else SEEN_PX)))
        left = max(0, (n_columns - columns) // 2)
        self.intensity, self.rows = Intensity.measure(image), slice((first - top) * f, None)
        self.plane = image[top:, left : left + columns]
        self.wanted = target[first * f :, left * f : (left + columns) * f]
        self.helper: Restorer | None = None
        if is_seen_from_afar(generator.card, self.plane.shape):
            self.helper = _Remembering(denoiser(generator), self.plane, self.intensity)

    @property
    def is_known(self) -> bool:
        return bool(np.isfinite(self.wanted).any())

    def error(self, generator: Generator) -> float:
        """Mean squared error; without the level where the task has none."""
        answer = Restorer(generator, self.plane, self.intensity, helper=self.helper).whole()[self.rows]
        off = answer - self.wanted
        return float(np.nanmean(off**2) if self.has_level else np.nanvar(off))


class _Remembering(Restorer):
    """Answers for the one box it is asked for again and again."""

    _known: np.ndarray | None = None

    def _answer(self, box: Box, listener: Listener) -> Answer:
        if self._known is None:
            self._known = super()._answer(box, listener).unit
        return Answer(self._known.copy())
