"""A dask cluster to work on: a scheduler in this process with one worker process, or a remote one. Knows no job.

`distributed` is imported when a cluster is opened, not with this module: it takes half a second.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_fewshot.compute.keeper import Keeper
from napari_fewshot.compute.threads import in_thread
from napari_fewshot.core.errors import ComputeError
from napari_fewshot.core.shelf import ModelFile

if TYPE_CHECKING:
    from distributed import Client, Future, Security

N_KEPT_MODELS = 4
REPLACED_S = 120  # within which another worker takes the place of one that died, also on a busy machine
FORGET_EVERY = 20  # looks at a remote connection, of half a second each
LOOPBACK = "127.0.0.1"

# Read when a scheduler and its client are made; the user's own configuration is put back right after.
SCHEDULER_CONFIG = {
    "distributed.admin.low-level-log-length": 1,  # so many events and messages are kept, and ours hold pictures
    "distributed.scheduler.http.routes": [],  # no pages: they would be served without TLS
    "distributed.scheduler.worker-ttl": None,  # a laptop that slept must find its worker alive
    "distributed.scheduler.idle-timeout": None,
    "distributed.scheduler.preload": [],
}


@dataclass(frozen=True)
class Remote:
    """A scheduler on another machine.

    Parameters
    ----------
    address : str
        ``tls://host:port``.
    ca, cert, key : str
        Paths of PEM files: the authority, and this user's certificate and key.
    insecure : bool
        Without TLS whoever reaches the scheduler can run code on it, so ``tcp://`` must be asked for.
    timeout_s, worker_timeout_s : float
        How long to wait for the scheduler, and for its first worker, which has torch to import.

    Raises
    ------
    ComputeError
        No TLS and not ``insecure``, or a file is missing.
    """

    address: str
    ca: str = ""
    cert: str = ""
    key: str = ""
    insecure: bool = False
    timeout_s: float = 10.0
    worker_timeout_s: float = 40.0

    def __post_init__(self) -> None:
        is_encrypted = self.address.startswith("tls://")
        if self.insecure and not is_encrypted:
            return
        if not is_encrypted:
            raise ComputeError(
                f"the remote address '{self.address}' is not encrypted: use tls://host:port with ca, cert and key files "
                "(or say insecure=True if everybody on that network may run code there)"
            )
        for name in ("ca", "cert", "key"):
            path = getattr(self, name)
            if not path or not Path(path).is_file():
                raise ComputeError(f"the TLS file for '{name}' is missing ('{path}'): give the path of a PEM file")

    def security(self) -> Security:
        """The credentials as dask wants them, for a client and for a worker.

        Raises
        ------
        ComputeError
            A file is no certificate or key.
        """
        import ssl

        from distributed import Security

        if not self.address.startswith("tls://"):
            return Security(require_encryption=False)
        roles = {f"tls_{role}_{kind}": getattr(self, kind) for role in ("client", "worker") for kind in ("cert", "key")}
        security = Security(require_encryption=True, tls_ca_file=self.ca, **roles)
        try:
            security.get_connection_args("client")
        except (ssl.SSLError, OSError) as error:
            raise ComputeError(f"the TLS files cannot be used ({error}): give PEM files that belong together") from None
        return security


@dataclass(eq=False)
class Cluster:
    """An open cluster; made by `open_cluster`.

    Guards that a model is sent once, and that no more jobs are sent than there are workers: a job that waits here
    is not lost with a worker that dies.
    """

    client: Client
    devices: list[str]
    n_workers: int
    kill_workers: Callable[[Collection[str]], Awaitable[None]]
    lost: Awaitable[None]
    _models: dict[str, Future] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.n_workers)

    async def keep(self, model: ModelFile) -> Future:
        """Send a model unless its worker has it already."""
        key = model.card.id + model.card.sha256
        future = self._models.pop(key, None)
        if future is None or future.status != "finished":  # "lost" with its worker
            future = await self.send(model)
        self._models[key] = future
        while len(self._models) > N_KEPT_MODELS:
            del self._models[next(iter(self._models))]
        return future

    async def send(self, value: Any) -> Future:
        """Send a large value ahead of the task that needs it; a task's own message is for small ones."""
        return await self.client.scatter(value, hash=False, timeout=REPLACED_S)

    def forget(self) -> None:
        """Nothing that was sent is there any more: a worker died."""
        self._models.clear()


@asynccontextmanager
async def open_cluster(
    topic: str, device: str, remote: Remote | None, memory_limit: str | float = 1.0
) -> AsyncIterator[Cluster]:
    """Open a cluster whose workers are ready to work; ``topic`` is where their jobs tell their events.

    Raises
    ------
    ComputeError
        It cannot be reached, or its worker does not start.
    """
    await in_thread(_import_distributed)  # takes long; this loop must stay able to close
    async with _local(device, memory_limit) if remote is None else _remote(topic, remote) as cluster:
        yield cluster


@asynccontextmanager
async def _local(device: str, memory_limit: str | float) -> AsyncIterator[Cluster]:
    import dask
    from distributed import Client, Scheduler, Security
    from distributed.utils import silence_logging_cmgr

    async def kill_workers(addresses: Collection[str]) -> None:
        keeper.kill_worker()  # by the nanny: a job that holds the interpreter lock hears nothing

    security = Security.temporary()
    async with AsyncExitStack() as stack:
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))  # what goes wrong is told as an event
        with dask.config.set(SCHEDULER_CONFIG):
            scheduler = await Scheduler(
                protocol="tls://",
                host=LOOPBACK,
                port=0,
                dashboard_address=f"{LOOPBACK}:0",
                dashboard=False,
                security=security,
                allowed_failures=0,
            )
            stack.push_async_callback(scheduler.close)
            client = await Client(
                scheduler.address, security=security, asynchronous=True, set_as_default=False, direct_to_workers=True
            )
            stack.push_async_callback(client.close)
        order = {
            "address": scheduler.address,
            "ca": security.tls_ca_file,
            "cert": security.tls_worker_cert,
            "key": security.tls_worker_key,
            "device": device,
            "memory_limit": memory_limit,
            "host": LOOPBACK,
        }
        keeper = Keeper(order, client.wait_for_workers)
        stack.push_async_callback(keeper.close)  # first: without workers the rest closes at once
        await keeper.hire()
        async with _background(keeper.replace()) as lost:
            yield Cluster(client, await _devices(client), 1, kill_workers, lost)


@asynccontextmanager
async def _remote(topic: str, remote: Remote) -> AsyncIterator[Cluster]:
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    from napari_fewshot.compute import jobs

    async def kill_workers(addresses: Collection[str]) -> None:
        await client.run(jobs.die, workers=list(addresses), on_error="ignore")

    async def watch() -> None:
        for tick in itertools.count(1):
            await asyncio.sleep(0.5)
            if client.status != "running":  # dask would connect again, but not subscribe again
                break
            if tick % FORGET_EVERY == 0:
                await client.run_on_scheduler(jobs.forget_events, topic)
        raise ComputeError(f"the connection to {remote.address} is lost: check the network, then start again")

    cure = "check that it runs, that the address is right and that the TLS files are those of this scheduler"
    try:
        client = await Client(
            remote.address,
            security=remote.security(),
            asynchronous=True,
            set_as_default=False,
            timeout=remote.timeout_s,
        )
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise ComputeError(f"no scheduler answers at {remote.address} ({error}): {cure}") from None
    try:
        try:
            await client.wait_for_workers(1, timeout=remote.worker_timeout_s)
        except TimeoutError:
            raise ComputeError(
                f"the scheduler at {remote.address} has no worker: start one there with 'napari-fewshot worker', or wait for it"
            ) from None
        n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
        with silence_logging_cmgr(logging.CRITICAL):  # what goes wrong is told as an event
            async with _background(watch()) as lost:
                yield Cluster(client, await _devices(client), n_workers, kill_workers, lost)
    finally:
        await client.close()


async def _devices(client: Client) -> list[str]:
    from napari_fewshot.compute import jobs

    try:
        answers = await client.run(jobs.describe)
    except ComputeError:
        raise
    except Exception as error:  # whatever another machine's Python may raise
        raise ComputeError(
            f"the worker cannot run napari-fewshot ({type(error).__name__}: {error}): install the same version there"
        ) from None
    return list(dict.fromkeys(device for devices in answers.values() for device in devices))


@asynccontextmanager
async def _background(work: Awaitable[None]) -> AsyncIterator[Awaitable[None]]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _import_distributed() -> None:
    import distributed  # noqa: F401

    import napari_fewshot.compute.jobs  # noqa: F401
