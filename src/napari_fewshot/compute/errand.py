"""Sees one job through from this side: what is sent, what is heard, how it ends. Runs on the loop of a `Compute`."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_fewshot.compute.cluster import Cluster
from napari_fewshot.compute.events import Event, Failed, Finished, Lost, PlaneDone, PlaneLeftOut, Progress, Stopped
from napari_fewshot.compute.joined import JoinedObjects
from napari_fewshot.compute.threads import in_thread
from napari_fewshot.compute.wire import Message, Order, Started, Stop, Wish
from napari_fewshot.core.errors import FewshotError, PictureError
from napari_fewshot.core.job import Apply, FineTune, Job, Judge, LookAhead, Propagate, Survey
from napari_fewshot.core.picture import Picture, PlaneIndex

if TYPE_CHECKING:
    from distributed import Future

LOST = (
    "the worker process died (killed, crashed or out of memory) and is being replaced: "
    "start again, on smaller planes if it happens again"
)
DISCONNECTED = "the connection to the scheduler is lost: check the network, then start again"
T = TypeVar("T")
PLANE = PlaneDone | PlaneLeftOut  # what comes of a plane while its job goes on


class Errand:
    """One job under way.

    Guards that of each kind of message only the latest travels, one at a time, and only to where the job runs.

    Parameters
    ----------
    order : Order
    tell : callable
        Hears the events of the job but its end, which `see_through` returns.
    """

    def __init__(self, order: Order, tell: Callable[[Event], None]) -> None:
        self.order = order
        self.tell = tell
        self.end_if_cancelled: Event = Stopped(order.job_id)
        self.so_far: dict[str, Any] = {}  # details of an end that comes before the job is done
        self.task: asyncio.Task[Event] | None = None
        self.workers: set[str] = set()
        self._cluster: Cluster | None = None
        self._mail: dict[type, Message] = {}
        self._postmen: dict[type, asyncio.Task[None]] = {}

    async def see_through(self, cluster: Cluster) -> Event:
        """Have the job done; returns how it ended, a worker that died included."""
        from distributed.scheduler import KilledWorker

        self._cluster = cluster
        try:
            return await self.run(cluster)
        except (KilledWorker, FutureCancelled, OSError):  # killed; lost with its data; gone while being talked to
            cluster.forget()
            return Lost(self.order.job_id, LOST if cluster.client.status == "running" else DISCONNECTED)
        finally:
            for postman in self._postmen.values():
                postman.cancel()

    async def run(self, cluster: Cluster) -> Event:
        raise NotImplementedError

    def stop(self) -> None:
        """Give up: futures are released, by which a job that runs knows that nobody waits for it."""
        if self.task is not None:
            self.task.cancel()

    def hear(self, event: Event) -> None:
        """Take an event of the job from its worker."""
        if isinstance(event, Started):
            self.workers.add(event.worker)
            self._post_all()
        else:
            self.tell(event)

    def send(self, message: Message) -> None:
        """Send a message to where the job runs, as soon as it runs."""
        self._mail[type(message)] = message
        self._post_all()

    async def ask(self, cluster: Cluster, call: Callable[..., Event], *args: Any) -> Event:
        """Have ``call`` done by a worker."""
        future = cluster.client.submit(call, self.order, *args, pure=False)
        result = asyncio.ensure_future(_result(future))
        result.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, also when given up
        try:
            # dask shares one fetch among all who wait: cancelled before its first step, it would stay so for good
            return await asyncio.shield(result)
        finally:
            future.release()

    def _post_all(self) -> None:
        for kind in self._mail if self.workers else ():
            if kind not in self._postmen or self._postmen[kind].done():
                self._postmen[kind] = asyncio.ensure_future(self._post(kind))

    async def _post(self, kind: type) -> None:
        from napari_fewshot.compute import jobs

        assert self._cluster is not None
        while kind in self._mail:
            message = self._mail.pop(kind)
            with suppress(OSError):  # the worker died; the job will hear of it
                await self._cluster.client.run(
                    jobs.deliver, self.order.job_id, message, workers=list(self.workers), on_error="ignore"
                )


async def _result(future: Future) -> Event:
    event: Event = await future
    return event


class FineTuneErrand(Errand):
    """A fine-tuning: one task, which is asked to stop so that it hands over its best model."""

    def __init__(self, order: Order, tell: Callable[[Event], None], job: FineTune) -> None:
        super().__init__(order, tell)
        self._job = job

    async def run(self, cluster: Cluster) -> Event:
        from napari_fewshot.compute import jobs

        model = await cluster.keep(self._job.model)
        job = await cluster.send(replace(self._job, model=replace(self._job.model, weights=b"")))
        return await self.ask(cluster, jobs.run_fine_tune, job, model)

    def stop(self) -> None:
        if self.workers:
            self.send(Stop())
        else:
            super().stop()

    def hear(self, event: Event) -> None:
        if isinstance(event, Started) and self.workers:
            # another scheduler than ours may start a task again whose worker died: the strokes sent since are lost
            self.end_if_cancelled = Lost(self.order.job_id, LOST)
            super().stop()
        else:
            super().hear(event)


class LookAheadErrand(Errand):
    """A look ahead: one task, which nobody waits for."""

    def __init__(self, order: Order, tell: Callable[[Event], None], job: LookAhead) -> None:
        super().__init__(order, tell)
        self._job = job

    async def run(self, cluster: Cluster) -> Event:
        from napari_fewshot.compute import jobs

        model = await cluster.keep(self._job.model)
        job = await cluster.send(replace(self._job, model=replace(self._job.model, weights=b"")))
        return await self.ask(cluster, jobs.run_look_ahead, job, model)


class JudgeErrand(Errand):
    """A comparison of models: one task for all of them, so that they are asked for the same strokes."""

    def __init__(self, order: Order, tell: Callable[[Event], None], job: Judge) -> None:
        super().__init__(order, tell)
        self._job = job

    async def run(self, cluster: Cluster) -> Event:
        from napari_fewshot.compute import jobs

        models = [await cluster.keep(model) for model in self._job.models]
        first = None if self._job.first is None else await cluster.keep(self._job.first)
        job = await cluster.send(replace(self._job, models=(), first=None))
        return await self.ask(cluster, jobs.run_judge, job, first, *models)


class ApplyErrand(Errand):
    """An apply: planes are read, sent and awaited one after the other, one more than there are workers at a time.

    Guards that one plane that cannot be used does not cost the others; it fails when none can.
    """

    def __init__(self, order: Order, tell: Callable[[Event], None], job: Apply) -> None:
        super().__init__(order, tell)
        self._job = job
        self._n_done = 0
        self._left_out: list[PlaneLeftOut] = []
        self._began = time.monotonic()
        self._joined = JoinedObjects(job.picture, job.indices) if job.objects is not None else None

    async def run(self, cluster: Cluster) -> Event:
        self._began = time.monotonic()
        models = [await cluster.keep(m) for m in (self._job.model, self._job.first) if m is not None]
        flying: deque[asyncio.Task[Event]] = deque()
        try:
            for index in self._job.indices:
                if len(flying) > cluster.n_workers and not isinstance(end := await flying.popleft(), PLANE):
                    return end
                plane = await self._read(index)
                flying.append(asyncio.ensure_future(self._apply(cluster, index, plane, models)))
            while flying:
                if not isinstance(end := await flying.popleft(), PLANE):
                    return end
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)
        if self._left_out and not self._n_done:
            return Failed(self.order.job_id, self._left_out[0].message)
        measures = {} if self._joined is None else {"measures": self._joined.measures}
        return Finished(self.order.job_id, details={"n_planes": self._n_done, **measures})

    def hear(self, event: Event) -> None:
        # tiles are told of a single plane only; several are counted by plane
        if not isinstance(event, Progress) or len(self._job.indices) == 1:
            super().hear(event)

    async def _read(self, index: PlaneIndex) -> np.ndarray | PlaneLeftOut:
        picture = self._job.picture
        try:
            return await in_thread(reading, picture, index, partial(picture.take_plane, index))
        except FewshotError as error:
            return PlaneLeftOut(self.order.job_id, index, f"left out: {error}")

    async def _apply(
        self, cluster: Cluster, index: PlaneIndex, plane: np.ndarray | PlaneLeftOut, models: list[Any]
    ) -> Event:
        event = plane if isinstance(plane, PlaneLeftOut) else await self._answer(cluster, index, plane, models)
        if self._joined is not None:
            event = await self._joined.take(index, event, plane if isinstance(plane, np.ndarray) else None)
        if isinstance(event, PlaneLeftOut):
            self._left_out.append(event)
            self.tell(event)
        elif isinstance(event, PlaneDone):
            if self._joined is not None:  # of the planes that are told of: a next one may be joined to them meanwhile
                self.so_far = {"measures": copy.deepcopy(self._joined.measures)}
            self.tell(event)
            self._n_done += 1
            self.tell(self._progress())
        return event

    async def _answer(self, cluster: Cluster, index: PlaneIndex, plane: np.ndarray, models: list[Any]) -> Event:
        from napari_fewshot.compute import jobs

        there = await cluster.send(plane)
        job = self._job
        wish = Wish(index, job.confidence, job.intensity, job.objects, job.restoring, job.seed)
        event = await self.ask(cluster, jobs.run_apply, wish, there, *models)
        if not isinstance(event, PlaneLeftOut):
            return event
        return replace(event, message=f"{self._job.picture.name_of(index)} is left out: {event.message}")

    def _progress(self) -> Progress:
        n, seconds = len(self._job.indices), time.monotonic() - self._began
        done = self._n_done + len(self._left_out)
        return Progress(self.order.job_id, done, n, seconds, seconds / done * (n - done))


def reading(picture: Picture, index: PlaneIndex, read: Callable[[], T]) -> T:
    """Have pixels of a plane read; whatever the reader of a user's file may raise names the plane."""
    try:
        return read()
    except FewshotError:
        raise
    except Exception as error:
        raise PictureError(
            f"{picture.name_of(index)} cannot be read ({type(error).__name__}: {error}): check the file"
        ) from error


def errand_for(job: Job, order: Order, tell: Callable[[Event], None]) -> Errand:
    """The errand that sees a job through."""
    if isinstance(job, LookAhead):
        return LookAheadErrand(order, tell, job)
    if isinstance(job, Judge):
        return JudgeErrand(order, tell, job)
    if isinstance(job, Survey | Propagate):
        from napari_fewshot.compute.tour import PropagateErrand, SurveyErrand  # which builds on this module

        return SurveyErrand(order, tell, job) if isinstance(job, Survey) else PropagateErrand(order, tell, job)
    return FineTuneErrand(order, tell, job) if isinstance(job, FineTune) else ApplyErrand(order, tell, job)
