"""Whoever draws, each step gets what its number says, in order; errors and the end reach whoever takes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading

import psutil
import pytest

from napari_fewshot.engine.listen import Silent, StopRequested
from napari_fewshot.engine.loader import AHEAD, load

WAYS = pytest.mark.parametrize("n_loaders", [0, 1, 2])


def square(step: int) -> tuple[int, int]:
    return step**2, os.getpid()


@WAYS
def test_steps_come_in_order_whoever_draws(n_loaders: int) -> None:
    coming = load(square, 5, n_loaders)
    taken = [next(coming) for _ in range(12)]
    coming.close()
    assert [value for value, _ in taken] == [n**2 for n in range(5, 17)]
    is_forked = n_loaders == 2 and "fork" in multiprocessing.get_all_start_methods()
    assert (os.getpid() in {pid for _, pid in taken}) != is_forked


def test_a_thread_draws_ahead_and_ends_when_closed() -> None:
    drawn: list[int] = []
    coming = load(lambda step: drawn.append(step), 0, 1)
    for _ in range(4):
        next(coming)
    coming.close()
    assert len(drawn) <= 4 + AHEAD and not [t for t in threading.enumerate() if t.name.startswith("loader")]


@WAYS
def test_what_goes_wrong_while_drawing_is_raised_where_it_is_taken(n_loaders: int) -> None:
    coming = load(lambda step: 1 // step, 0, n_loaders)
    with pytest.raises(ZeroDivisionError):
        next(coming)


class Stopping(Silent):
    """Asks to stop, and lets what waits in this process go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def stopped(self) -> bool:
        self.go_on.set()
        return True


def test_a_stop_is_heard_while_a_thread_draws() -> None:
    listener = Stopping()
    with pytest.raises(StopRequested):
        next(load(lambda step: listener.go_on.wait(60), listener=listener))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="draws in threads here")
def test_a_stop_does_not_wait_for_a_process_that_draws() -> None:
    go_on = multiprocessing.get_context("fork").Event()
    with pytest.raises(StopRequested):
        next(load(lambda step: go_on.wait(60), n_loaders=2, listener=Stopping()))
    assert not go_on.is_set()
    go_on.set()


FORGETFUL = """
import os
from napari_fewshot.engine.loader import load
coming = load(lambda step: os.getpid(), 0, 2)
print(*{next(coming) for _ in range(20)}, flush=True)
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="draws in threads here")
@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), 9)"])
def test_a_program_that_never_closes_it_ends_and_so_do_its_processes(end: str) -> None:
    done = subprocess.run([sys.executable, "-c", FORGETFUL + end], capture_output=True, text=True, timeout=120)
    loaders = [psutil.Process(pid) for pid in map(int, done.stdout.split()) if psutil.pid_exists(pid)]
    assert done.stdout and not psutil.wait_procs(loaders, timeout=30)[1]
