"""Awaits blocking calls from the loop of a `Compute`, without keeping the interpreter alive. Knows no job, no dask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[..., T], *args: Any) -> T:
    """Await a blocking call; unlike `asyncio.to_thread`, a call that hangs does not keep the interpreter alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(setter: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            setter(value)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = future.set_result, call(*args)
        except Exception as error:
            outcome = future.set_exception, error
        with suppress(RuntimeError):  # the loop has closed: nobody waits
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="napari-fewshot read", daemon=True).start()
    return await future
