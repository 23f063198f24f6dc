"""How forms are put together to a page of the dock. Knows no form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget


class Page(QScrollArea):
    """Scrolls what is too high for the window. Guards that it is never too narrow for what it holds."""

    def __init__(self, page: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(page)

    def minimumSizeHint(self) -> QSize:
        """As wide as the page and its scroll bar need; of any height."""
        width = self.widget().minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width()
        return QSize(width, super().minimumSizeHint().height())

    def event(self, event: Any) -> bool:
        """The page needs another width now, as it shows more or has another font."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().event(event))


def page_of(forms: Mapping[QWidget, int], always: QWidget | None = None) -> QWidget:
    """Forms below each other, by their share of spare room, with lines between; all but ``always`` scroll in a low window."""
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(4, 6, 4, 4)
    for n, (form, stretch) in enumerate(forms.items()):
        if n:
            column.addWidget(_line())
        column.addWidget(form, stretch)
    scroll = Page(page)
    if always is None:
        return scroll
    whole, below = QWidget(), QVBoxLayout()
    below.setContentsMargins(4, 0, 4, 4)
    below.addWidget(_line())
    below.addWidget(always)
    outer = QVBoxLayout(whole)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(scroll, 1)
    outer.addLayout(below)
    return whole


def _line() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setFrameShadow(QFrame.Shadow.Plain)
    line.setFixedHeight(1)
    return line
