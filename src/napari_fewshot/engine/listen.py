"""How a long engine call talks to whoever started it. Knows not who listens."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from napari_fewshot.core.job import View
from napari_fewshot.core.strokes import Painting


class StopRequested(Exception):
    """Raised inside a prediction when its listener asked to stop."""


class Listener(Protocol):
    """Told of progress, asked for wishes; every method returns at once."""

    def stopped(self) -> bool:
        """Whether the user wants to stop; looked at every step and every tile."""
        ...

    def painting(self) -> Painting | None:
        """All strokes, when they changed since the last call."""
        ...

    def view(self) -> View | None:
        """The region to preview now; None when no preview is wanted."""
        ...

    def progress(
        self,
        done: int,
        total: int | None,
        seconds: float,
        seconds_left: float | None,
        losses: dict[str, float],
        score: float | None,
    ) -> None: ...

    def preview(self, view: View, values: np.ndarray, factor: int, confidence: np.ndarray | None) -> None: ...

    def note(self, message: str) -> None: ...


class Silent:
    """A listener that never stops anything and says nothing."""

    def stopped(self) -> bool:
        return False

    def painting(self) -> Painting | None:
        return None

    def view(self) -> View | None:
        return None

    def progress(
        self,
        done: int,
        total: int | None,
        seconds: float,
        seconds_left: float | None,
        losses: dict[str, float],
        score: float | None,
    ) -> None:
        pass

    def preview(self, view: View, values: np.ndarray, factor: int, confidence: np.ndarray | None) -> None:
        pass

    def note(self, message: str) -> None:
        pass


SILENT = Silent()


class PartOf(Silent):
    """A listener to one of ``n`` equal parts of a work that ``began`` at that `time.perf_counter`."""

    def __init__(self, listener: Listener, part: int, n: int, began: float) -> None:
        self._listener, self._part, self._n, self._began = listener, part, n, began

    def stopped(self) -> bool:
        return self._listener.stopped()

    def progress(
        self,
        done: int,
        total: int | None,
        seconds: float,
        seconds_left: float | None,
        losses: dict[str, float],
        score: float | None,
    ) -> None:
        if total is None:
            return
        done, total, seconds = self._part * total + done, self._n * total, time.perf_counter() - self._began
        self._listener.progress(done, total, seconds, seconds * (total / max(done, 1) - 1), losses, score)

    def note(self, message: str) -> None:
        self._listener.note(message)
