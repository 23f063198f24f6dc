"""Jobs that do on a real worker what a test says, and an ear for what they tell."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cloudpickle

from napari_fewshot.compute import jobs
from napari_fewshot.compute.client import Compute
from napari_fewshot.compute.cluster import Cluster
from napari_fewshot.compute.errand import FineTuneErrand
from napari_fewshot.compute.events import Event, Failed, Finished, Lost, Progress, Stopped

END = (Finished, Stopped, Failed, Lost)
PATIENCE_S = 120.0  # only a test that fails waits as long


class Ear:
    """Hears the events of a `Compute`, and waits for them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def of(self, job_id: str) -> list[Event]:
        return [e for e in self.events if e.job_id == job_id]

    def wait(self, job_id: str, kind: Any) -> Any:
        """The first event of a kind (a type or several), waited for."""

        def found() -> list[Event]:
            return [e for e in self.of(job_id) if isinstance(e, kind)]

        with self._news:
            assert self._news.wait_for(found, PATIENCE_S), f"no {kind} among the last of {self.of(job_id)[-5:]}"
            return found()[0]

    def wait_more(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait for another event, or for a while."""
        with self._news:
            n = len(self.events)
            self._news.wait_for(lambda: len(self.events) > n, timeout_s)

    def end(self, job_id: str) -> Any:
        return self.wait(job_id, END)

    def check(self) -> None:
        """Every job that was heard of ended exactly once, with its last event."""
        for job_id in {e.job_id for e in self.events}:
            kinds = [isinstance(e, END) for e in self.of(job_id)]
            assert kinds == [False] * (len(kinds) - 1) + [True], self.of(job_id)


class ByValue:
    """A function of a test, which a worker cannot import."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        cloudpickle.register_pickle_by_value(sys.modules[self.call.__module__])
        return pickle.loads, (cloudpickle.dumps(self.call),)


@dataclass(frozen=True)
class Act:
    """A job that calls ``call(bench, line)`` on the worker and ends as it returns."""

    call: Callable[[jobs.Bench, jobs.Line], Event]


class ActErrand(FineTuneErrand):
    async def run(self, cluster: Cluster) -> Event:
        return await self.ask(cluster, jobs.ending, ByValue(self._job.call))


def until_stopped(bench: jobs.Bench, line: jobs.Line) -> Event:
    """A job that tells its steps until it is stopped."""
    import itertools
    import os
    import time

    for step in itertools.count():
        line.progress(step, None, 0.0, None, {"pid": os.getpid()}, None)
        if line.stopped():
            return Stopped(line._order.job_id)
        time.sleep(0.02)
    raise AssertionError


def at_once(bench: jobs.Bench, line: jobs.Line) -> Event:
    return Finished(line._order.job_id)


def run_until_told(compute: Compute, ear: Ear, job: Any) -> str:
    """Submit a job and wait until it tells of its first step."""
    job_id = compute.submit(job)
    ear.wait(job_id, Progress)
    return job_id
