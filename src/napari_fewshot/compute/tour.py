"""Errands that go through a stack to guide a user: a survey of its quality, and a propagation from one slice."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from napari_fewshot.compute.cluster import Cluster
from napari_fewshot.compute.errand import Errand, reading
from napari_fewshot.compute.events import Event, Failed, Finished, PlaneDone, PlaneLeftOut, Progress, Surveyed
from napari_fewshot.compute.threads import in_thread
from napari_fewshot.compute.wire import Carried, Known, Order
from napari_fewshot.core.errors import FewshotError, PictureError
from napari_fewshot.core.guide import Look, Quality, line_from, plan_looks, take_look
from napari_fewshot.core.job import Propagate, Survey
from napari_fewshot.core.picture import PlaneIndex


class SurveyErrand(Errand):
    """A survey: looks are read, sent and awaited coarse to fine, one more than there are workers at a time.

    Guards that it takes a few seconds however large the picture is.
    """

    def __init__(self, order: Order, tell: Callable[[Event], None], job: Survey) -> None:
        super().__init__(order, tell)
        self._job = job
        self._n_done = 0
        self._began: float | None = None  # the first answer: making the guide before it does not count
        self._left_out: Failed | None = None

    async def run(self, cluster: Cluster) -> Event:
        job = self._job
        known = [await cluster.keep(job.model), await cluster.send(Known(job.painting, job.seed))]
        looks = plan_looks(job.picture, job.here)
        flying: deque[asyncio.Task[Event]] = deque()
        try:
            for look in looks:
                if len(flying) > cluster.n_workers and not self._is_fine(end := await flying.popleft(), len(looks)):
                    return end
                if self._seconds > job.seconds:
                    break
                flying.append(asyncio.ensure_future(self._look(cluster, look, known)))
            while flying:
                if not self._is_fine(end := await flying.popleft(), len(looks)):
                    return end
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)
        if self._left_out is not None and not self._n_done:
            return self._left_out
        return Finished(self.order.job_id, details={"n_looks": self._n_done})

    def hear(self, event: Event) -> None:
        if not isinstance(event, Progress):  # of the tiles of a look
            super().hear(event)

    @property
    def _seconds(self) -> float:
        return 0.0 if self._began is None else time.monotonic() - self._began

    async def _look(self, cluster: Cluster, look: Look, known: list[Any]) -> Event:
        from napari_fewshot.compute import guide_jobs

        try:
            taken = await in_thread(reading, self._job.picture, look.index, partial(take_look, self._job.picture, look))
        except FewshotError as error:
            return PlaneLeftOut(self.order.job_id, look.index, str(error))
        return await self.ask(cluster, guide_jobs.run_look, look, await cluster.send(taken), self._job.learn, *known)

    def _is_fine(self, event: Event, n_looks: int) -> bool:
        """Tell what a look found; False when it is the end of the job."""
        self._began = self._began or time.monotonic()
        if isinstance(event, PlaneLeftOut):
            self._left_out = Failed(self.order.job_id, event.message)
        elif isinstance(event, Surveyed):
            self._n_done += 1
            self.tell(event)
            self.tell(Progress(self.order.job_id, self._n_done, n_looks, self._seconds))
        return isinstance(event, PlaneLeftOut | Surveyed)


class PropagateErrand(Errand):
    """A propagation: slice after slice away from the first, in one direction and then in the other.

    Guards that a direction ends where the quality drops, and that the planes done until then stay.
    """

    def __init__(self, order: Order, tell: Callable[[Event], None], job: Propagate) -> None:
        super().__init__(order, tell)
        self._job = job
        self._n_done, self._n_planes = 0, 1
        self._began = time.monotonic()

    async def run(self, cluster: Cluster) -> Event:
        job, self._began = self._job, time.monotonic()
        known = [await cluster.keep(job.model), await cluster.send(Known(job.painting, job.seed))]
        first = await self._carry(cluster, job.start, known)
        if not isinstance(first, Carried):
            return Failed(self.order.job_id, first.message) if isinstance(first, PlaneLeftOut) else first
        lines = [line_from(job.picture, job.start, step) for step in (1, -1)]
        self._n_planes = 1 + sum(len(line) for line in lines)
        self._tell_done(first)
        stops = []
        for line in lines:
            quality, before = Quality(first.quality), first.values
            for index in line:
                event = await self._carry(cluster, index, known)
                if isinstance(event, PlaneLeftOut):
                    stops.append(f"stopped before slice {_spoken(index)}: {event.message}")
                    break
                if not isinstance(event, Carried):
                    return event
                drop = await in_thread(quality.drop, event.quality, event.values, before)
                if drop is not None and not self._is_known(index):
                    stops.append(f"stopped before slice {_spoken(index)}: {drop}")
                    break
                before = event.values
                self._tell_done(event)
        return Finished(self.order.job_id, details={"n_planes": self._n_done, "stops": tuple(stops)})

    def hear(self, event: Event) -> None:
        if not isinstance(event, Progress):  # of the tiles of a slice
            super().hear(event)

    async def _carry(self, cluster: Cluster, index: PlaneIndex, known: list[Any]) -> Event:
        from napari_fewshot.compute import guide_jobs

        picture = self._job.picture
        try:
            plane = await in_thread(reading, picture, index, partial(picture.take_plane, index))
        except PictureError as error:
            return PlaneLeftOut(self.order.job_id, index, str(error))
        event = await self.ask(cluster, guide_jobs.run_carry, index, await cluster.send(plane), *known)
        return self._with_known(event) if isinstance(event, Carried) else event

    def _with_known(self, event: Carried) -> Carried:
        """The answer with what is known in its place; its quality stays that of the model alone."""
        values = self._job.known.get(event.index)
        if values is None:
            return event
        is_known = values > 0
        sure = np.where(is_known, np.float32(1), event.sure)
        return replace(event, values=np.where(is_known, values, event.values), sure=sure)

    def _is_known(self, index: PlaneIndex) -> bool:
        """Whether nothing of a slice is left to the model."""
        values = self._job.known.get(index)
        return values is not None and bool(values.all())

    def _tell_done(self, event: Carried) -> None:
        sure = event.sure if self._job.confidence else None
        self.tell(PlaneDone(self.order.job_id, event.index, event.values, sure))
        self._n_done += 1
        self.tell(Progress(self.order.job_id, self._n_done, self._n_planes, time.monotonic() - self._began))


def _spoken(index: PlaneIndex) -> str:
    return ", ".join(str(i) for i in index)
