"""Keeps a worker process alive, and alive no longer than this one. Knows its standard input, not what it works on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import IO, Any

from napari_fewshot.core.errors import ComputeError

START_TIMEOUT_S = 120.0  # a cold disk needs half a minute to import torch
WATCH_S, CLOSE_S = 0.2, 0.02  # between two looks at the process


class Keeper:
    """One worker process, its standard input and its log.

    Parameters
    ----------
    order : dict
        Address, credentials and device; written to the standard input of the process, where nobody else reads.
    arrival : callable
        ``await arrival(1, timeout=s)`` returns when its worker is there.
    """

    def __init__(self, order: dict[str, Any], arrival: Callable[..., Awaitable[None]]) -> None:
        self._order, self._arrival = order, arrival
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    async def hire(self) -> None:
        """Start the process and wait until its worker is warm.

        Raises
        ------
        ComputeError
            It ends instead, or takes longer than `START_TIMEOUT_S`.
        """
        self._spawn()
        arrival = asyncio.ensure_future(self._arrival(1, timeout=START_TIMEOUT_S))
        end = asyncio.ensure_future(self._ended(WATCH_S))
        try:
            await asyncio.wait((arrival, end), return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                raise ComputeError(f"the worker process ended while it started: {self._last_words()}")
            await arrival
        except TimeoutError:
            raise ComputeError(
                f"the worker did not start within {START_TIMEOUT_S:g} s: close other programs and start again"
            ) from None
        finally:
            arrival.cancel()
            end.cancel()

    async def replace(self) -> None:
        """Start another process whenever the present one dies; a worker alone is replaced by its nanny."""
        while True:
            await self._ended(WATCH_S)
            await self.hire()

    def kill_worker(self) -> None:
        """Have the worker killed; the process stays and starts another."""
        self._write(b"kill\n")

    async def close(self) -> None:
        """End the process by closing its standard input; kill it when it does not listen."""
        if self._process is None:
            return
        self._hang_up()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended(CLOSE_S), 1.0)
        self._process.kill()
        self._process.wait()

    def _spawn(self) -> None:
        self._hang_up()
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            # -P: a queue.py beside the user's script must not shadow Python's own
            [sys.executable, "-P", "-m", "napari_fewshot.compute.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            bufsize=0,
            **_apart(),
        )
        self._write(json.dumps(self._order).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, ValueError):  # it is gone already; whoever waits for it will say so
                self._process.stdin.write(line)

    def _hang_up(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._log is not None:
            self._log.close()

    async def _ended(self, poll_s: float) -> None:
        while self._process is not None and self._process.poll() is None:
            await asyncio.sleep(poll_s)

    def _last_words(self) -> str:
        if self._log is None or self._process is None:
            return "no message"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode} without a message"


def _apart() -> dict[str, Any]:
    """Options that keep a Ctrl+C in the user's terminal to the user's script, and Windows from opening a console."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW}
    return {"process_group": 0}
