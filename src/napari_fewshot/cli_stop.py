"""Ctrl-C on the command line: a training ends with the best so far."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from napari_fewshot.api_listeners import Teller
from napari_fewshot.cli_speech import show


class Stoppable(Teller):
    """Shows what it hears on standard error until it is stopped."""

    is_stopped = was_told = False

    def stopped(self) -> bool:
        if self.is_stopped and not self.was_told:  # not by the signal's handler, which may have cut off a print
            self.was_told = True
            self.note("stopping; Ctrl-C again ends at once, and keeps nothing")
        return self.is_stopped


@contextmanager
def stoppable() -> Iterator[Stoppable]:
    """A listener that Ctrl-C stops, or the SIGTERM that a cluster sends first; Ctrl-C again ends at once."""
    listener = Stoppable(show)

    def stop(*_: object) -> None:
        listener.is_stopped = True
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield listener
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
