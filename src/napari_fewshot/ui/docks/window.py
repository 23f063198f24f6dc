"""What a dock needs of the window around it: shortcuts, theme colours, a question before it closes. Knows no job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QMainWindow, QMessageBox, QShortcut, QWidget

from napari_fewshot.ui.bridge import Bridge

FINE_TUNE_KEYS, STOP_KEYS, APPLY_KEYS, NEXT_CLASS_KEYS = "Ctrl+Shift+F", "Ctrl+Shift+X", "Ctrl+Shift+A", "N"
NEXT_PLACE_KEYS = "Ctrl+Shift+N"


class WindowWatch(QObject):
    """Guards that closing a window in which something runs asks first, and that nothing is left running after it.

    Napari's File > Close Window and Exit call ``close`` of the window, as a script does; a script, however, goes
    through ``viewer.close()``, which hides what is inside the window first.
    """

    def __init__(self, window: QMainWindow, bridge: Bridge) -> None:
        super().__init__(window)
        self._window, self._bridge = window, bridge
        self._is_closing = False
        window.installEventFilter(self)
        window.destroyed.connect(bridge.close)

    @classmethod
    def keep(cls, window: QMainWindow, bridge: Bridge) -> None:
        """Watch a window for a bridge; a window that is watched already is so for this one from now on."""
        watch = window.findChild(cls)
        if watch is None:
            cls(window, bridge)
        elif watch._bridge is not bridge:
            watch._bridge = bridge
            window.destroyed.connect(bridge.close)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ask on a close by the user's hand; a close by program is obeyed."""
        if event is None or watched is not self._window:
            return False
        if event.type() == QEvent.Type.Close:
            if not self._may_close():
                event.ignore()
                return True
            self._is_closing = True
            QTimer.singleShot(0, self._close_if_hidden)
        elif event.type() == QEvent.Type.Hide and self._is_closing:
            self._bridge.close()  # while the docks are still there
        return False

    def _may_close(self) -> bool:
        is_by_program = getattr(self._window, "_qt_viewer", self._window).isHidden()
        return is_by_program or not self._bridge.is_busy or ask_before_close(self._window, self._bridge.busy_with)

    def _close_if_hidden(self) -> None:
        self._is_closing = False  # the window may have refused
        if not self._window.isVisible():
            self._bridge.close()


def ask_before_close(parent: QWidget, busy_with: list[str]) -> bool:
    """Ask whether to close although something runs."""
    what = "\n".join(f"• {title}" for title in busy_with)
    answer = QMessageBox.question(
        parent,
        "napari-fewshot is still working",
        f"{what}\n\nClose anyway? What is done so far stays, the rest is lost.",
    )
    return bool(answer == QMessageBox.StandardButton.Yes)


def window_of(widget: QWidget) -> QMainWindow | None:
    """The main window around a docked or floating widget."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return parent


def add_shortcuts(window: QWidget, owner: QObject, calls: dict[str, Callable[[], Any]]) -> list[QShortcut]:
    """Keys that work anywhere in the window, as long as their owner is there."""
    shortcuts = []
    for keys, call in calls.items():
        shortcut = QShortcut(QKeySequence(keys), window)
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.activated.connect(call)
        owner.destroyed.connect(shortcut.deleteLater)
        shortcuts.append(shortcut)
    return shortcuts


def theme_colours(viewer: napari.Viewer) -> tuple[str, str, str]:
    """Background, text and accent of napari's theme as ``#rrggbb``."""
    theme = get_theme(viewer.theme)
    return theme.background.as_hex(), theme.text.as_hex(), theme.icon.as_hex()
