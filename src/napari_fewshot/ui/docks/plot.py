"""What the dock's plots have in common: how they stand in the dock, and napari's colours. Knows no data."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt

SIDES = ("left", "bottom")


class WholeNumbers(pg.AxisItem):
    """Counts steps or slices: there is nothing between two of them."""

    def tickSpacing(self, *range_and_size: Any) -> list[tuple[float, float]]:
        """Distances between ticks of each level, and where they begin."""
        return [level for level in super().tickSpacing(*range_and_size) if level[0] >= 1] or [(1, 0)]


class Plot(pg.PlotWidget):
    """Two named axes, the lower one of whole numbers, nothing to drag and no menu."""

    def __init__(self, left: str, bottom: str, height_px: int) -> None:
        super().__init__(axisItems={"bottom": WholeNumbers("bottom")})
        self._height_px = height_px
        self.setMinimumHeight(90)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # no key does anything here
        self.setMouseEnabled(x=False, y=False)
        for side, label in zip(SIDES, (left, bottom), strict=True):
            self.setLabel(side, label)
            self.getAxis(side).enableAutoSIPrefix(False)
        self.getPlotItem().setContentsMargins(0, 8, 8, 5)  # an axis draws its name 5 px below itself

    def sizeHint(self) -> QSize:
        """Take what is left instead of asking for much."""
        return QSize(300, self._height_px)

    def show_numbers(self, are_shown: bool) -> None:
        """Number the axes or not: pyqtgraph numbers those of an empty plot, too."""
        for side in SIDES:
            self.getAxis(side).setStyle(showValues=are_shown)

    def paint_theme(self, background: str, text: str, accent: str) -> None:
        """Take the colours of napari's theme."""
        self.setBackground(background)
        for side in SIDES:
            axis = self.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)
