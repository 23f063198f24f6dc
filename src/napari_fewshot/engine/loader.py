"""Draws what coming steps learn from while the current one computes. Knows neither pictures nor networks.

All ways hand out ``draw(step)`` for one step after the other: what a step gets depends on its number only.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import TypeVar

from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")

AHEAD = 2  # steps drawn in advance by each loader


def load(draw: Callable[[int], T], first: int = 0, n_loaders: int = 1) -> Generator[T, None, None]:
    """What steps ``first``, ``first + 1``, ... learn from; closing it ends whatever draws in advance.

    Parameters
    ----------
    draw : callable
        From the number of a step to what it learns from.
    n_loaders : int
        0 draws when asked, 1 in a thread, more in processes, which share no interpreter lock; where the system cannot
        fork, in threads. What ``draw`` reads with must stand being forked (no file kept open).
    """
    if n_loaders == 0:
        return (draw(step) for step in count(first))
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    return _in_processes(draw, first, n_loaders) if n_loaders > 1 and can_fork else _in_threads(draw, first, n_loaders)


def _in_threads(draw: Callable[[int], T], first: int, n: int) -> Generator[T, None, None]:
    threads, coming = ThreadPoolExecutor(n, "loader"), deque[Future[T]]()
    try:
        for step in count(first):
            coming.append(threads.submit(draw, step))
            if len(coming) > AHEAD * n:
                yield coming.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)


def _in_processes(draw: Callable[[int], T], first: int, n: int) -> Generator[T, None, None]:
    steps = DataLoader(
        _Steps(draw), batch_size=None, sampler=count(first), num_workers=n, prefetch_factor=AHEAD,
        collate_fn=lambda drawn: drawn, multiprocessing_context="fork", worker_init_fn=_leave_signals_alone,
    )  # fmt: skip
    yield from steps


def _leave_signals_alone(_: int) -> None:
    """Ctrl-C and the end of a cluster's job reach all processes; the one that trains decides, and ends the others."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class _Steps(Dataset[T]):
    def __init__(self, draw: Callable[[int], T]) -> None:
        self.draw = draw

    def __getitem__(self, step: int) -> T:
        return self.draw(step)
