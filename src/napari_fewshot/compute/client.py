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
from dataclasses import dataclass, field, replace
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


@dataclass(eq=False)
class _Session:
    """What lives from a start to the close after it: a thread with a loop, and what only that thread touches."""

    loop: asyncio.AbstractEventLoop
    errands: dict[str, Errand] = field(default_factory=dict)
    holding: asyncio.Task[None] | None = None  # the cluster open
    cluster: asyncio.Future[Cluster] | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="compute", daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def cancel_all(self) -> list[asyncio.Task[Any]]:
        tasks = [task for task in (*(errand.task for errand in self.errands.values()), self.holding) if task]
        for task in tasks:
            task.cancel()
        return tasks


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
        self._session: _Session | None = None

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
            if self._session is not None:
                return
            session = self._session = _Session(asyncio.SelectorEventLoop())  # dask needs such a one, on Windows too
        self._set_state("starting")
        session.thread.start()
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
        self._call(lambda session: self._spawn(session, partial(self._kill, session)))

    def restart(self, device: str | None = None) -> None:
        """Stop all jobs and open the cluster anew, on another device or after it failed; returns at once."""
        with self._state_changed:
            if self._session is None:
                raise ComputeError(NOT_STARTED)
            self._device = device or self._device
        self._set_state("starting")
        self._call(self._reopen)

    def close(self) -> None:
        """Stop all jobs and leave no process behind; a closed object can be started again."""
        with self._state_changed:
            session, self._session = self._session, None
        if session is None:
            return
        loop = session.loop
        end: ThreadFuture[None] = asyncio.run_coroutine_threadsafe(self._shut(session), loop)
        end.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        if session.thread is not threading.current_thread():  # else called by on_event: the thread ends by itself
            session.thread.join(CLOSE_TIMEOUT_S)

    # on any thread

    def _call(self, call: Callable[..., Any], *args: Any) -> None:
        with self._state_changed:
            if self._session is None:
                raise ComputeError(NOT_STARTED)
            self._session.loop.call_soon_threadsafe(call, self._session, *args)

    def _set_state(self, state: str, session: _Session | None = None) -> None:
        """Tell a new state; that of a ``session`` after which another was started is none any more."""
        with self._state_changed:
            if session is not None and self._session not in (session, None):
                return
            self._state = state
            self._state_changed.notify_all()
        if self._on_state is not None:
            self._on_state(state)

    # on the thread of the session

    def _open(self, session: _Session, after: Collection[asyncio.Task[Any]] = ()) -> None:
        session.cluster = session.loop.create_future()
        session.holding = self._spawn(session, partial(self._hold_cluster, session, session.cluster, after))

    async def _hold_cluster(
        self, session: _Session, promise: asyncio.Future[Cluster], after: Collection[asyncio.Task[Any]]
    ) -> None:
        """Keep a cluster open until this task is cancelled or the cluster is lost."""
        await asyncio.gather(*after, return_exceptions=True)
        try:
            async with open_cluster(self._topic, self._device, self._remote, self._memory_limit) as cluster:
                cluster.client.subscribe_topic(self._topic, partial(self._hear, session))
                self._devices = cluster.devices
                promise.set_result(cluster)
                self._set_state("ready", session)
                await cluster.lost
        except Exception as error:
            if not isinstance(error, ComputeError):
                logger.exception("the cluster failed")
            if promise is not session.cluster:  # replaced while it closed
                return
            if promise.done():
                promise = session.cluster = session.loop.create_future()
            reason = ComputeError(Failed.from_error("", error).message)
            promise.set_exception(reason)
            promise.exception()  # looked at: that no job waits for it is no error
            self._set_state(f"failed: {reason}", session)

    def _begin(self, session: _Session, order: Order, job: Job) -> None:
        errand = session.errands[order.job_id] = errand_for(job, order, self._tell)
        errand.task = self._spawn(session, partial(self._see_through, session, errand))
        errand.task.add_done_callback(partial(self._end, session, errand))

    async def _see_through(self, session: _Session, errand: Errand) -> Event:
        assert session.cluster is not None
        cluster = await asyncio.shield(session.cluster)
        async with cluster.slots:
            return await errand.see_through(cluster)

    def _end(self, session: _Session, errand: Errand, task: asyncio.Task[Event]) -> None:
        """Tell how a job ended: the only place, called once for each, cancelled before its first step or not."""
        if task.cancelled():
            end = errand.end_if_cancelled
        elif (error := task.exception()) is not None:
            end = Failed.from_error(errand.order.job_id, error)
        else:
            end = task.result()
        if errand.so_far and isinstance(end, Stopped | Failed | Lost):
            end = replace(end, details=errand.so_far)
        del session.errands[errand.order.job_id]
        self._tell(end)

    def _hear(self, session: _Session, stamped: tuple[float, bytes]) -> None:
        event: Event = pickle.loads(stamped[1])  # from the scheduler, which has our trust and credentials
        self._with_errand(session, event.job_id, lambda errand: errand.hear(event))

    @staticmethod
    def _with_errand(session: _Session, job_id: str, call: Callable[[Errand], None]) -> None:
        if job_id in session.errands:  # else it has ended
            call(session.errands[job_id])

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:
            logger.exception("on_event failed on %s", type(event).__name__)

    @staticmethod
    async def _kill(session: _Session) -> None:
        cluster = session.cluster
        if cluster is not None and cluster.done() and not cluster.exception():
            running = set().union(*(errand.workers for errand in session.errands.values()))
            await cluster.result().kill_workers(running)

    def _reopen(self, session: _Session) -> None:
        self._open(session, after=session.cancel_all())

    async def _shut(self, session: _Session) -> None:
        await asyncio.gather(*session.cancel_all(), return_exceptions=True)
        self._set_state("closed", session)

    @staticmethod
    def _spawn(session: _Session, work: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        return session.loop.create_task(work())


def _close_at_exit(compute: Compute) -> None:
    """The worker ends with this process anyway; closing lets it end without a trace."""
    ref = weakref.ref(compute)

    def close() -> None:
        if (alive := ref()) is not None:
            alive.close()

    atexit.register(close)
    weakref.finalize(compute, atexit.unregister, close)
