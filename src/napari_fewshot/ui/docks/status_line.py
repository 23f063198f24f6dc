"""The line that says what happens now. Knows nothing of who speaks."""

from __future__ import annotations

from html import escape
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QTextLayout
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_fewshot.ui.docks.fields import named

MOST_LINES = 4


class StatusLine(QLabel):
    """Two to four lines of words, the rest in the tooltip; a failure is marked by a sign, not by colour alone."""

    def __init__(self) -> None:
        super().__init__()
        self._sentence = ""
        named(self, "status", "Status", "What happens now, and what to do when something cannot be done.")
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setContentsMargins(6, 0, 6, 4)
        self.setIndent(0)  # else a style with a frame takes some of the width that the lines are cut for
        self.setMinimumHeight(2 * self.fontMetrics().lineSpacing() + 8)  # so that nothing jumps
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def show_sentence(self, sentence: str, is_failure: bool) -> str:
        """Show a sentence, its first letter raised; returns it as shown without the sign."""
        text = sentence[:1].upper() + sentence[1:]
        self._sentence = f"⚠ {text}" if is_failure else text
        self.setToolTip(f"<p>{escape(text)}</p>")
        self._show()
        return text

    def text(self) -> str:
        """The whole sentence, however much of it there is room for."""
        return self._sentence

    def resizeEvent(self, event: Any) -> None:
        """Show as much as there is room for now."""
        super().resizeEvent(event)
        self._show()

    def _show(self) -> None:
        width = self.contentsRect().width()
        starts = self._line_starts(width)
        text = self._sentence
        if len(starts) > MOST_LINES:
            last = starts[MOST_LINES - 1]
            text = text[:last] + self.fontMetrics().elidedText(text[last:], Qt.TextElideMode.ElideRight, width)
        self.setText(text)

    def _line_starts(self, width: int) -> list[int]:
        """Where in the sentence the lines begin when it is wrapped at words."""
        layout, starts = QTextLayout(self._sentence, self.font()), []
        layout.beginLayout()
        while width > 0 and (line := layout.createLine()).isValid():
            line.setLineWidth(width)
            starts.append(line.textStart())
        layout.endLayout()
        return starts
