"""The curve of expected quality along a stack; a click chooses a slice. Knows numbers and colours only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QPointF, Qt, Signal

from napari_fewshot.ui.docks.fields import named
from napari_fewshot.ui.docks.plot import Plot


class QualityPlot(Plot):
    """Expected quality of each slice that was looked at, and a line at the one on display."""

    slice_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__("expected accuracy", "slice", 160)
        named(
            self,
            "quality_plot",
            "Quality along the stack",
            "The share of pixels expected to be right on each slice that was looked at; a click goes to that slice.",
        )
        self.getPlotItem().setLimits(yMin=0, yMax=1.02, minYRange=0.25)  # slices that hardly differ look alike
        self._curve = self.plot([], [], symbol="o", symbolSize=5)
        self.show_numbers(False)
        self._here = pg.InfiniteLine(angle=90)
        self._here.setVisible(False)
        self.addItem(self._here, ignoreBounds=True)
        self.scene().sigMouseClicked.connect(self._on_scene_clicked)

    def paint_theme(self, background: str, text: str, accent: str) -> None:
        """Take the colours of napari's theme."""
        super().paint_theme(background, text, accent)
        self._curve.setPen(pg.mkPen(accent, width=2))
        self._curve.setSymbolPen(accent)
        self._curve.setSymbolBrush(accent)
        self._here.setPen(pg.mkPen(text, width=1, style=Qt.PenStyle.DashLine))

    def show_curve(self, positions: Sequence[int], quality: Sequence[float]) -> None:
        """Draw what is known so far; slices ascending, quality 0 to 1."""
        self._curve.setData(list(positions), list(quality))
        self.show_numbers(self.n_points > 0)

    def show_here(self, position: int | None) -> None:
        """Mark the slice on display."""
        self._here.setVisible(position is not None and self.n_points > 0)
        if position is not None:
            self._here.setValue(position)

    @property
    def n_points(self) -> int:
        x, _ = self._curve.getData()
        return 0 if x is None else len(x)

    def choose_at(self, scene_position: QPointF) -> None:
        """Choose the slice under a position in the plot's scene, the nearest end beyond the curve."""
        x, _ = self._curve.getData()
        if x is None or not len(x):
            return
        at = self.getPlotItem().vb.mapSceneToView(scene_position).x()
        self.slice_chosen.emit(round(min(max(at, float(x[0])), float(x[-1]))))

    def _on_scene_clicked(self, event: Any) -> None:
        self.choose_at(event.scenePos())
