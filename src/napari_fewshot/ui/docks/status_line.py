"""The line that says what happens now. Knows nothing of who speaks."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_fewshot.ui.docks.fields import named


class StatusLine(QLabel):
    """Two lines of words; a failure is marked by a sign, not by colour alone."""

    def __init__(self) -> None:
        super().__init__()
        named(self, "status", "Status", "What happens now, and what to do when something cannot be done.")
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setContentsMargins(6, 0, 6, 4)
        self.setMinimumHeight(2 * self.fontMetrics().lineSpacing() + 8)  # so that nothing jumps
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def show_sentence(self, sentence: str, is_failure: bool) -> str:
        """Show a sentence, its first letter raised; returns it as shown without the sign."""
        text = sentence[:1].upper() + sentence[1:]
        self.setText(f"⚠ {text}" if is_failure else text)
        self.setToolTip(f"<p>{text}</p>")
        return text
