"""Draws what coming steps learn from while the current one computes. Knows neither pictures nor networks.

All ways hand out ``draw(step)`` for one step after the other: what a step gets depends on its number only.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from itertools import count
from typing import Any, TypeVar

from napari_fewshot.engine.listen import SILENT, Listener, StopRequested

T = TypeVar("T")

AHEAD = 2  # steps drawn in advance by each loader
LISTEN_S = 0.5  # between looks for a stop while a step is drawn


def load(
    draw: Callable[[int], T], first: int = 0, n_loaders: int = 1, listener: Listener = SILENT
) -> Generator[T, None, None]:
    """What steps ``first``, ``first + 1``, ... learn from; closing it ends whatever draws in advance.

    Parameters
    ----------
    draw : callable
        From the number of a step to what it learns from.
    n_loaders : int
        0 draws when asked, 1 in a thread, more in processes, which share no interpreter lock; where the system cannot
        fork, in threads. What ``draw`` reads with must stand being forked (no file kept open).
    listener : Listener
        Can stop the waiting for what is drawn.

    Raises
    ------
    StopRequested
        Where a step is asked for: the listener asked to stop.
    """
    if n_loaders == 0:
        return (draw(step) for step in count(first))
    if n_loaders > 1 and "fork" in multiprocessing.get_all_start_methods():
        fork = multiprocessing.get_context("fork")
        pool = ProcessPoolExecutor(n_loaders, fork, initializer=_start_drawing, initargs=(draw,))
        return _ahead(pool, _draw, first, n_loaders, listener)
    return _ahead(ThreadPoolExecutor(n_loaders, "loader"), draw, first, n_loaders, listener)


def _ahead(
    pool: Executor, draw: Callable[[int], T], first: int, n: int, listener: Listener
) -> Generator[T, None, None]:
    coming = deque[Future[T]]()
    try:
        for step in count(first):
            coming.append(pool.submit(draw, step))
            if len(coming) > AHEAD * n:
                yield _wait_for(coming.popleft(), listener)
    finally:  # a process ends by itself when it has drawn; a thread would be forgotten in the middle of it
        pool.shutdown(wait=isinstance(pool, ThreadPoolExecutor), cancel_futures=True)


def _wait_for(drawn: Future[T], listener: Listener) -> T:
    while not wait([drawn], LISTEN_S).done:
        if listener.stopped():
            raise StopRequested
    return drawn.result()


# in a process of the pool

_drawing: Callable[[int], Any]


def _start_drawing(draw: Callable[[int], Any]) -> None:
    """Take over what was forked with this process: it need not be picklable."""
    global _drawing
    _drawing = draw
    # Ctrl-C and the end of a cluster's job reach all processes; the one that trains decides, and ends the others
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _draw(step: int) -> Any:
    return _drawing(step)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
