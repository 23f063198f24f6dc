"""The worker process: a nanny and the worker it replaces when it dies. Ends with its parent; knows no viewer, no job.

Run as ``python -m napari_fewshot.compute.worker``, so that the user's script, which may lack an ``if __name__`` guard,
is not executed a second time. Standard input carries one JSON line (address, credentials, device) and after it only
the line ``kill``, which replaces the worker; its end means that the parent is gone.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import tempfile
import threading
from typing import BinaryIO

import dask
import psutil
from distributed import Nanny, Security

from napari_fewshot.compute.jobs import Bench

KILL = b"kill\n"
NICENESS = 10

CONFIG = {
    "distributed.worker.http.routes": [],  # no pages: they would be served without TLS
    "distributed.worker.profile.enabled": False,
    "distributed.admin.low-level-log-length": 10,  # of messages too, and ours hold pictures
    "distributed.worker.preload": [],
    "distributed.nanny.preload": [],
    # dask sets OMP_NUM_THREADS=1 and a malloc threshold that costs page faults; threads are the engine's to choose
    "distributed.nanny.pre-spawn-environ": {},
    # one job fills the worker: spilling or pausing would only hang it
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
}


async def serve(
    address: str,
    security: Security,
    device: str = "auto",
    memory_limit: str | float = 1.0,
    host: str | None = None,
    folder: str | None = None,
) -> None:
    """Work for the scheduler at ``address`` until it goes away.

    Parameters
    ----------
    address : str
        ``tls://host:port``.
    security : Security
        With the CA and the worker's certificate and key.
    device : str
        Where to compute when a job does not say.
    memory_limit : str or float
        Above 95 % of this the worker is killed and replaced; a fraction of the machine's memory, or ``"8 GB"``.
    host : str or None
        The interface to listen on; None is every one.
    folder : str or None
        Where the worker keeps its own files; None is dask's choice.
    """
    with dask.config.set(CONFIG):
        nanny = Nanny(
            address,
            nthreads=1,
            security=security,
            dashboard=False,
            local_directory=folder,
            memory_limit=memory_limit,
            host=host,
            plugins=(Bench(device),),
        )
        async with nanny:
            await nanny.finished()


def main() -> None:
    """Read the order from standard input and serve it."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:  # unbuffered: the rest belongs to the watcher
        order = json.loads(stdin.readline())
    security = Security(
        require_encryption=True,
        tls_ca_file=order["ca"],
        tls_worker_cert=order["cert"],
        tls_worker_key=order["key"],
    )
    _step_back()
    with tempfile.TemporaryDirectory(prefix="napari-fewshot-", ignore_cleanup_errors=True) as folder:
        threading.Thread(target=_watch, args=(_take_stdin(), folder), name="parent watch", daemon=True).start()
        asyncio.run(serve(order["address"], security, order["device"], order["memory_limit"], order["host"], folder))


def _step_back() -> None:
    """Let the viewer go first where both want the same core; the worker's own children inherit it."""
    low = psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else NICENESS
    psutil.Process().nice(low)


def _take_stdin() -> BinaryIO:
    """Keep standard input to this process and leave the null device in its place.

    On Windows a child that starts with the same pipe hangs as long as somebody reads from it.
    """
    mine = os.fdopen(os.dup(0), "rb", buffering=0)
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    return mine


def _watch(commands: BinaryIO, folder: str) -> None:
    while commands.readline() == KILL:
        _kill_worker()
    _kill_worker()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # an orderly end would wait for the task that runs


def _kill_worker() -> None:
    for child in multiprocessing.active_children():
        child.kill()
        child.join(1)


if __name__ == "__main__":
    main()
