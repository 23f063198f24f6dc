"""How a long engine call talks to whoever started it. Knows not who listens."""

from __future__ import annotations

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
