"""Whoever draws, each step gets what its number says, in order; errors and the end reach whoever takes."""

from __future__ import annotations

import os
import threading

import pytest

from napari_fewshot.engine.loader import AHEAD, load

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
WAYS = pytest.mark.parametrize("n_loaders", [0, 1, 2])


def square(step: int) -> tuple[int, int]:
    return step**2, os.getpid()


@WAYS
def test_steps_come_in_order_whoever_draws(n_loaders: int) -> None:
    coming = load(square, 5, n_loaders)
    taken = [next(coming) for _ in range(12)]
    coming.close()
    assert [value for value, _ in taken] == [n**2 for n in range(5, 17)]
    assert len({pid for _, pid in taken}) == (2 if n_loaders == 2 and hasattr(os, "fork") else 1)


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
