"""How forms are put together to a page of the dock. Knows no form."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget


def page_of(forms: Mapping[QWidget, int], always: QWidget | None = None) -> QWidget:
    """Forms below each other, by their share of spare room, with lines between; all but ``always`` scroll in a low window."""
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(4, 6, 4, 4)
    for n, (form, stretch) in enumerate(forms.items()):
        if n:
            column.addWidget(_line())
        column.addWidget(form, stretch)
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(page)
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
