"""Ctrl-C on the command line, or the SIGTERM of a cluster: a training ends with the best so far, other work leaves nothing half done."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from napari_fewshot.api_listeners import Teller
from napari_fewshot.cli_speech import show

ECHO_S = 1.0  # a signal this soon after the first is the same one, handed on by a launcher that got it as well


class Stoppable(Teller):
    """Shows what it hears on standard error until it is stopped."""

    is_stopped = was_told = False

    def stopped(self) -> bool:
        if self.is_stopped and not self.was_told:  # not by the signal's handler, which may have cut off a print
            self.was_told = True
            self.note("stopping; Ctrl-C again ends at once, and keeps nothing more")
        return self.is_stopped


@contextmanager
def stoppable() -> Iterator[Stoppable]:
    """A listener that Ctrl-C stops, or the SIGTERM that a cluster sends first; either of them again ends at once."""
    listener = Stoppable(show)
    stopped_at: list[float] = []

    def stop(number: int, _: object) -> None:
        stopped_at.append(time.monotonic())
        listener.is_stopped = True
        if stopped_at[-1] - stopped_at[0] > ECHO_S:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield listener
    finally:
        restore()


@contextmanager
def ended_alike() -> Iterator[None]:
    """SIGTERM ends what is done as Ctrl-C does, so that no half result stays."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
