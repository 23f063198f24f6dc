"""The live curve of the training loss. Knows numbers and colours only."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg

from napari_fewshot.ui.docks.fields import named
from napari_fewshot.ui.docks.plot import Plot

MAXIMUM_POINTS = 600  # drawn; a longer history is thinned by halves


class LossPlot(Plot):
    """Loss against steps, drawn at most as finely as it can be seen."""

    def __init__(self) -> None:
        super().__init__("loss", "step", 130)
        named(
            self,
            "loss_plot",
            "Loss plot",
            "The training loss at each step, faint, and its running mean; it should fall and level out.",
        )
        self._raw, self._trend = self.plot([], []), self.plot([], [])
        self._trend.curve.setSegmentedLineMode("on")  # Qt strokes a wide polyline many times slower than its segments
        self._steps: list[int] = []
        self._losses: list[float] = []

    def paint_theme(self, background: str, text: str, accent: str) -> None:
        """Take the colours of napari's theme."""
        super().paint_theme(background, text, accent)
        faint = pg.mkColor(accent)
        faint.setAlpha(110)
        self._raw.setPen(pg.mkPen(faint, width=1))
        self._raw.setSymbolBrush(accent)
        self._trend.setPen(pg.mkPen(accent, width=2))

    def clear_curve(self) -> None:
        self._steps, self._losses = [], []
        self._draw()

    def show_history(self, losses: tuple[float, ...], steps: int) -> None:
        """Draw a whole history at once, its means evenly over so many steps."""
        stride = max(1, len(losses) // MAXIMUM_POINTS)
        each = max(1, steps // max(1, len(losses)))
        self._steps = [each * (i + 1) for i in range(0, len(losses), stride)]
        self._losses = list(losses[::stride])
        self._draw()

    def add(self, step: int, loss: float) -> None:
        """One more point; a loss that is not a number is left out."""
        if not np.isfinite(loss):
            return
        if self._steps and step <= self._steps[-1]:
            return
        self._steps.append(step)
        self._losses.append(loss)
        if len(self._steps) > MAXIMUM_POINTS:
            self._steps, self._losses = self._steps[::2], self._losses[::2]
        self._draw()

    @property
    def n_points(self) -> int:
        return len(self._steps)

    def _draw(self) -> None:
        """Single steps faintly, since their losses jump; their running mean on top."""
        window = max(1, min(25, len(self._losses) // 4))
        total = np.cumsum([0.0, *self._losses])
        trend = [(total[i + 1] - total[max(0, i + 1 - window)]) / min(i + 1, window) for i in range(len(self._losses))]
        self._raw.setData(self._steps, self._losses, symbol="o" if len(self._losses) == 1 else None)
        is_positive = bool(self._losses) and min(self._losses) >= 0
        self.getViewBox().setLimits(yMin=0.0 if is_positive else None)
        self._trend.setData(self._steps, trend)
        self.show_numbers(bool(self._losses))
