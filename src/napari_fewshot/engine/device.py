"""Which device to compute on and with how many threads. The only place that asks torch what the machine has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import psutil
import torch
from torch import nn

from napari_fewshot.core.errors import ComputeError, is_out_of_memory

TILE_PX = {"cpu": 768, "cuda": 1536, "mps": 1024}  # inner side of tiles: large ones waste less on their halos
SMALL_TILE_PX = 512  # half the memory
ROOM_BYTES = 2**30  # that must be free for each thread of a CPU, of which each has a tile

# Torch reads it at its first large tensor, on Linux: pages of 2 MiB, since small ones fault once for every 4 KiB of every layer
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")


def devices() -> list[str]:
    """Devices of this machine, the best first: ``cuda:0``, ``mps``, ``cpu``."""
    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def choose_device(wanted: str = "auto") -> str:
    """Resolve ``auto`` to the best device, or check that the wanted one is there.

    Raises
    ------
    ComputeError
        The device does not exist here.
    """
    there = devices()
    if wanted == "auto":
        return there[0]
    wanted = "cuda:0" if wanted == "cuda" else wanted
    if wanted not in there:
        raise ComputeError(f"there is no device '{wanted}' here: choose one of auto, {', '.join(there)}")
    return wanted


def use_threads(n: int | None = None) -> int:
    """Limit torch to ``n`` threads; None leaves one core to the viewer.

    With one of two cores busy, two threads made 0.5 training steps/s and one thread 10.
    """
    n = n or max(1, (os.cpu_count() or 2) - 1)
    torch.set_num_threads(n)
    return n


def at_once(calls: Sequence[Callable[[], T]], device: str) -> list[T]:
    """What calls return. Where torch has one thread, because the viewer has the other core, each gets one of its own.

    It is for what a user waits for: unlike the threads of one operation, they do not wait for each other all the time
    when the viewer needs its core.
    """
    if device != "cpu" or torch.get_num_threads() > 1:
        return [call() for call in calls]
    return list(_pool().map(lambda call: call(), calls))


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that stay: torch keeps buffers per thread, and making them takes longer than what they do."""
    return ThreadPoolExecutor(os.cpu_count(), "fewshot-at-once")


def choose_tile_px(device: str) -> int:
    """Inner side of the tiles by which planes are predicted; on a CPU as its threads and free memory allow."""
    kind = torch.device(device).type
    is_short = kind == "cpu" and psutil.virtual_memory().available < ROOM_BYTES * torch.get_num_threads()
    return SMALL_TILE_PX if is_short else TILE_PX[kind]


def place(module: M, device: str) -> M:
    """Move a module to a device in the layout that convolutions are fastest with (2.5 times on a CPU)."""
    return module.to(device=device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@contextmanager
def as_memory_error() -> Iterator[None]:
    """Turn every way in which torch runs out of memory into MemoryError, with the device's cache emptied."""
    try:
        yield
    except RuntimeError as error:  # of a CPU it has no class of its own
        if not is_out_of_memory(error):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise MemoryError(str(error)) from error
