"""How other threads have something done on the GUI thread. Knows no job."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal


class Inbox(QObject):
    """Guards that calls posted from any thread are made in order on the GUI thread, each once."""

    _filled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._is_closed = False
        self._calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._filled.connect(self._on_self_filled, Qt.ConnectionType.QueuedConnection)

    def post(self, call: Callable[[], Any]) -> None:
        """Have something called on the GUI thread; returns at once."""
        self._calls.put(call)
        self._filled.emit()

    def work_off(self, is_wanted: Callable[[], bool], timeout_s: float) -> None:
        """Make the calls without the event loop, which may not run any more, as long as more are wanted."""
        until = time.monotonic() + timeout_s
        while is_wanted() and (left_s := until - time.monotonic()) > 0:
            try:
                call = self._calls.get(timeout=left_s)
            except Empty:
                return
            call()

    def close(self) -> None:
        """Make no call any more, those that wait included: whoever they would tell may be gone."""
        self._is_closed = True

    def _on_self_filled(self) -> None:
        if self._is_closed:
            return
        try:
            call = self._calls.get_nowait()
        except Empty:  # made by `work_off`
            return
        call()
