"""Where work is handed in: `Compute`, the thread-safe face of a cluster. Knows neither Qt nor torch nor what a job does."""

from __future__ import annotations

import asyncio
import atexit
import logging
import pickle
import threading
import uuid
import weakref
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import Future as ThreadFuture
from dataclasses import replace
from functools import partial
from typing import Any

from napari_fewshot.compute.cluster import Cluster, Remote, open_cluster
from napari_fewshot.compute.errand import Errand, errand_for
from napari_fewshot.compute.events import Event, Failed, Lost, Stopped
from napari_fewshot.compute.wire import Order
from napari_fewshot.core.errors import ComputeError
from napari_fewshot.core.job import Job, View
from napari_fewshot.core.strokes import Painting

CLOSE_TIMEOUT_S = 3.0
NOT_STARTED = "the worker is not started or has been closed: call start() first"

logger = logging.getLogger(__name__)


class Compute:
    """Runs jobs in a worker process, on this computer or a remote one.

    One thread with one event loop holds the cluster and every job; the methods may be called from any thread and
    do not wait for it, but `wait_ready` and `close`. Guards that every job ends exactly once, with `Finished`,
    `Stopped`, `Failed` or `Lost`, and that nothing is told of it afterwards.

    Parameters
    ----------
    on_event : callable
        Called with each event, on the thread of this object: it must return soon.
    device : str
        ``auto``, ``cpu``, ``cuda:0``, ...
    remote : Remote or None
        None starts a worker process on this computer.
    on_state : callable or None
        Called with each new `state`, on the thread of this object or the one that called `start` or `restart`.
    memory_limit : str or float
        Above 95 % of this a local worker is killed; a fraction of the memory of the machine, or ``"8 GB"``.

    Examples
    --------
    >>> with Compute(print) as compute:
    ...     compute.wait_ready(timeout_s=60)
    ...     compute.devices()
    """

    def __init__(
        self,
        on_event: Callable[[Event], None],
        device: str = "auto",
        remote: Remote | None = None,
        *,
        on_state: Callable[[str], None] | None = None,
        memory_limit: str | float = 1.0,
    ) -> None:
        self._on_event, self._on_state = on_event, on_state
        self._device, self._remote, self._memory_limit = device, remote, memory_limit
        self._topic = f"napari-fewshot-{uuid.uuid4().hex}"
        self._state, self._state_changed = "closed", threading.Condition()
        self._devices: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # what follows is touched by the loop only
        self._errands: dict[str, Errand] = {}
        self._session: asyncio.Task[None] | None = None
        self._cluster: asyncio.Future[Cluster] | None = None

    def __enter__(self) -> Compute:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> str:
        """``starting``, ``ready``, ``failed: why`` or ``closed``."""
        return self._state

    def devices(self) -> list[str]:
        """Devices of the workers, the best first; empty until ready."""
        return list(self._devices)

    def start(self) -> None:
        """Start the cluster and warm up its worker in the background; does nothing when that has been done."""
        with self._state_changed:
            if self._loop is not None:
                return
            # dask needs a selector loop, on Windows too
            self._loop = asyncio.SelectorEventLoop()
            self._thread = threading.Thread(target=self._run_loop, args=(self._loop,), name="compute", daemon=True)
        self._set_state("starting")
        self._thread.start()
        self._call(self._open)
        _close_at_exit(self)

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until a job would start at once.

        Raises
        ------
        ComputeError
            It failed to start, has been closed, or takes longer than ``timeout_s``.
        """
        with self._state_changed:
            self._state_changed.wait_for(lambda: self._state != "starting", timeout_s)
            if self._state == "starting":
                raise ComputeError(
                    f"the worker is not ready after {timeout_s:g} s: wait longer or close other programs"
                )
            if self._state == "closed":
                raise ComputeError(NOT_STARTED)
            if self._state != "ready":
                raise ComputeError(self._state.removeprefix("failed: "))

    def submit(self, job: Job) -> str:
        """Hand in a job, also while starting; it runs after those handed in before.

        Returns
        -------
        str
            The id that its events carry.

        Raises
        ------
        ComputeError
            Not started, or closed.
        """
        order = Order(uuid.uuid4().hex, self._topic, self._device)
        self._call(self._begin, order, job)
        return order.job_id

    def stop(self, job_id: str) -> None:
        """Ask a job to stop: a fine-tuning hands over its best model, an apply keeps its finished planes."""
        self._call(self._with_errand, job_id, lambda errand: errand.stop())

    def send(self, job_id: str, message: Painting | View) -> None:
        """Tell a running fine-tuning of new strokes or another view; of each the latest wins."""
        self._call(self._with_errand, job_id, lambda errand: errand.send(message))

    def kill_worker(self) -> None:
        """Kill the worker, the last resort: the running job is `Lost`, the next one gets a new worker."""
        self._call(self._spawn, self._kill)

    def restart(self, device: str | None = None) -> None:
        """Stop all jobs and open the cluster anew, on another device or after it failed; returns at once."""
        with self._state_changed:
            if self._loop is None:
                raise ComputeError(NOT_STARTED)
            self._device = device or self._device
        self._set_state("starting")
        self._call(self._reopen)

    def close(self) -> None:
        """Stop all jobs and leave no process behind; a closed object can be started again."""
        with self._state_changed:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        end: ThreadFuture[None] = asyncio.run_coroutine_threadsafe(self._shut(), loop)
        end.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        if thread is not threading.current_thread():  # else called by on_event: the thread ends by itself
            thread.join(CLOSE_TIMEOUT_S)

    # on any thread

    def _call(self, call: Callable[..., Any], *args: Any) -> None:
        with self._state_changed:
            if self._loop is None:
                raise ComputeError(NOT_STARTED)
            self._loop.call_soon_threadsafe(call, *args)

    def _set_state(self, state: str) -> None:
        with self._state_changed:
            self._state = state
            self._state_changed.notify_all()
        if self._on_state is not None:
            self._on_state(state)

    # on the thread of the loop

    @staticmethod
    def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def _open(self, after: Collection[asyncio.Task[Any]] = ()) -> None:
        self._cluster = asyncio.get_running_loop().create_future()
        self._session = self._spawn(partial(self._hold_cluster, self._cluster, after))

    async def _hold_cluster(self, promise: asyncio.Future[Cluster], after: Collection[asyncio.Task[Any]]) -> None:
        """Keep a cluster open until this task is cancelled or the cluster is lost."""
        await asyncio.gather(*after, return_exceptions=True)
        try:
            async with open_cluster(self._topic, self._device, self._remote, self._memory_limit) as cluster:
                cluster.client.subscribe_topic(self._topic, self._hear)
                self._devices = cluster.devices
                promise.set_result(cluster)
                self._set_state("ready")
                await cluster.lost
        except Exception as error:
            if not isinstance(error, ComputeError):
                logger.exception("the cluster failed")
            if promise is not self._cluster:  # replaced while it closed
                return
            if promise.done():
                promise = self._cluster = asyncio.get_running_loop().create_future()
            reason = ComputeError(Failed.from_error("", error).message)
            promise.set_exception(reason)
            promise.exception()  # looked at: that no job waits for it is no error
            self._set_state(f"failed: {reason}")

    def _begin(self, order: Order, job: Job) -> None:
        errand = self._errands[order.job_id] = errand_for(job, order, self._tell)
        errand.task = self._spawn(partial(self._see_through, errand))
        errand.task.add_done_callback(partial(self._end, errand))

    async def _see_through(self, errand: Errand) -> Event:
        assert self._cluster is not None
        cluster = await asyncio.shield(self._cluster)
        async with cluster.slots:
            return await errand.see_through(cluster)

    def _end(self, errand: Errand, task: asyncio.Task[Event]) -> None:
        """Tell how a job ended: the only place, called once for each, cancelled before its first step or not."""
        if task.cancelled():
            end = errand.end_if_cancelled
        elif (error := task.exception()) is not None:
            end = Failed.from_error(errand.order.job_id, error)
        else:
            end = task.result()
        if errand.so_far and isinstance(end, Stopped | Failed | Lost):
            end = replace(end, details=errand.so_far)
        del self._errands[errand.order.job_id]
        self._tell(end)

    def _hear(self, stamped: tuple[float, bytes]) -> None:
        event: Event = pickle.loads(stamped[1])  # from the scheduler, which has our trust and credentials
        self._with_errand(event.job_id, lambda errand: errand.hear(event))

    def _with_errand(self, job_id: str, call: Callable[[Errand], None]) -> None:
        if job_id in self._errands:  # else it has ended
            call(self._errands[job_id])

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:
            logger.exception("on_event failed on %s", type(event).__name__)

    async def _kill(self) -> None:
        if self._cluster is not None and self._cluster.done() and not self._cluster.exception():
            running = set().union(*(errand.workers for errand in self._errands.values()))
            await self._cluster.result().kill_workers(running)

    def _reopen(self) -> None:
        self._open(after=self._cancel_all())

    async def _shut(self) -> None:
        await asyncio.gather(*self._cancel_all(), return_exceptions=True)
        self._set_state("closed")

    def _cancel_all(self) -> list[asyncio.Task[Any]]:
        tasks = [task for task in (*(errand.task for errand in self._errands.values()), self._session) if task]
        for task in tasks:
            task.cancel()
        return tasks

    @staticmethod
    def _spawn(work: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work())


def _close_at_exit(compute: Compute) -> None:
    """The worker ends with this process anyway; closing lets it end without a trace."""
    ref = weakref.ref(compute)

    def close() -> None:
        if (alive := ref()) is not None:
            alive.close()

    atexit.register(close)
    weakref.finalize(compute, atexit.unregister, close)
