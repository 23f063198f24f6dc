"""What runs on a worker: a fine-tuning, or one plane of an apply. Imports torch only when it runs; knows no viewer."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from distributed import Scheduler, Worker, WorkerPlugin, get_worker

from napari_fewshot.compute.events import (
    Event,
    Failed,
    Finished,
    Note,
    PlaneDone,
    PlaneLeftOut,
    Preview,
    Progress,
    Stopped,
)
from napari_fewshot.compute.wire import Message, Order, Started, Stop, Wish
from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.job import FineTune, Judge, LookAhead, View
from napari_fewshot.core.shelf import ModelFile, embedded_folder, read_model
from napari_fewshot.core.strokes import Painting
from napari_fewshot.tasks import TASKS

if TYPE_CHECKING:
    from napari_fewshot.engine.generator import Generator
    from napari_fewshot.engine.guide import Guide
    from napari_fewshot.engine.painted import FeatureCache

N_WARM_GENERATORS = 4
PROGRESS_EVERY_S = 0.1


class Bench(WorkerPlugin):  # type: ignore[misc, unused-ignore]
    """What a worker keeps at hand: warm generators, and a line to each job that runs.

    Guards that no more than `N_WARM_GENERATORS` stay in memory and that messages reach running jobs only.
    """

    name = "napari-fewshot"

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self.lines: dict[str, Line] = {}
        self._generators: OrderedDict[tuple[str, str, str], Generator] = OrderedDict()
        self.trouble: Exception | None = None
        self.features: FeatureCache | None = None  # of the views and painted planes of earlier jobs
        self.guide: tuple[str, Guide] | None = None  # of the survey or propagation that runs, by its job
        self._is_warm = False

    @classmethod
    def of(cls, worker: Worker) -> Bench:
        """The bench of a worker; one that somebody else started gets it with its first job."""
        bench: Bench = worker.plugins.setdefault(cls.name, cls())
        return bench

    async def setup(self, worker: Worker) -> None:
        """Warm up before the worker reports for work, also after the nanny replaced it."""
        # in the thread that runs the jobs: torch keeps thread settings and buffers per thread
        try:
            await worker.loop.run_in_executor(worker.executors["default"], self.warm)
        except Exception as error:  # dask would only log it; `describe` and every job tell it
            self.trouble = error

    def warm(self) -> None:
        """Import torch and run a network once, so that the first job does not pay for it."""
        if self._is_warm:
            return
        from napari_fewshot.engine import device
        from napari_fewshot.engine.painted import FeatureCache
        from napari_fewshot.engine.warm_up import warm_up

        device.use_threads()
        device.choose_device(self.device)
        self.features = FeatureCache()
        warm_up(self.generator(read_model(embedded_folder() / "em-segment")))
        self._is_warm = True

    def generator(self, model: ModelFile, device: str = "auto") -> Generator:
        """The generator of a model, kept from the last time or built."""
        from napari_fewshot.engine.device import choose_device
        from napari_fewshot.engine.generator import Generator

        device = choose_device(self.device if device == "auto" else device)
        key = (model.card.id, model.card.sha256, device)
        generator = self._generators.pop(key, None) or Generator.from_file(model, device)
        self._generators[key] = generator
        while len(self._generators) > N_WARM_GENERATORS:
            self._generators.popitem(last=False)
        return generator

    @contextmanager
    def line(self, order: Order, worker: Worker) -> Iterator[Line]:
        """Open the line to a job and close it when the job is done, after its last words."""
        self.warm()
        line = self.lines[order.job_id] = Line(order, worker)
        try:
            line.say(Started(order.job_id, worker.address))
            yield line
        finally:
            self.lines.pop(order.job_id, None)  # two planes of a job may run here, where a worker has several threads
            line.flush()


class Line:
    """How a running job talks and listens; the `Listener` of the engine.

    Messages are put by the worker's event loop while the job runs in its thread; of each kind the latest wins.
    """

    def __init__(self, order: Order, worker: Worker) -> None:
        self._order, self._worker = order, worker
        self._key = worker.get_current_task()
        self._messages: dict[type, Message] = {}
        self._progress: Progress | None = None
        self._told_at = -PROGRESS_EVERY_S

    def put(self, message: Message) -> None:
        self._messages[type(message)] = message

    def say(self, event: Event) -> None:
        self._worker.log_event(self._order.topic, pickle.dumps(event, protocol=pickle.HIGHEST_PROTOCOL))

    def flush(self) -> None:
        """Tell the progress that was held back."""
        if self._progress is not None:
            self.say(self._progress)
            self._progress, self._told_at = None, time.monotonic()

    def stopped(self) -> bool:
        # A task whose future was released, or whose client died, stays "cancelled" until its thread returns.
        task = self._worker.state.tasks.get(self._key)
        return Stop in self._messages or task is None or task.state == "cancelled"

    def painting(self) -> Painting | None:
        return self._messages.pop(Painting, None)  # type: ignore[return-value]

    def view(self) -> View | None:
        return self._messages.get(View)  # type: ignore[return-value]

    def progress(
        self,
        done: int,
        total: int | None,
        seconds: float,
        seconds_left: float | None,
        losses: dict[str, float],
        score: float | None,
    ) -> None:
        self._progress = Progress(self._order.job_id, done, total, seconds, seconds_left, losses, score)
        if time.monotonic() - self._told_at >= PROGRESS_EVERY_S:
            self.flush()

    def preview(self, view: View, values: np.ndarray, factor: int, confidence: np.ndarray | None) -> None:
        self.say(Preview(self._order.job_id, view.index, view.origin, values, factor, confidence))

    def note(self, message: str) -> None:
        self.say(Note(self._order.job_id, message))


def run_fine_tune(order: Order, job: FineTune, model: ModelFile) -> Event:
    """Fine-tune ``model``, which travels apart from its job; returns how it ended."""

    def work(bench: Bench, line: Line) -> Event:
        from napari_fewshot.engine.fine_tune import fine_tune_restore, fine_tune_segment

        if job.view is not None:
            line.put(job.view)
        generator = bench.generator(model, order.device)
        if job.painting is not None:
            tuned = fine_tune_segment(
                generator,
                job.painting,
                job.budget,
                seed=job.seed,
                listener=line,
                cache=bench.features,
                extras=job.extras,
            )
        else:
            tuned = fine_tune_restore(generator, job.pairs, job.budget, seed=job.seed, listener=line)
        result = tuned.to_file()
        if job.name:
            result = replace(result, card=result.card.renamed(job.name))
        return (Stopped if line.stopped() else Finished)(order.job_id, result)

    return ending(order, work)


def run_look_ahead(order: Order, job: LookAhead, model: ModelFile) -> Event:
    """Keep the features of what is on display, and of what is painted, for the fit to come."""

    def work(bench: Bench, line: Line) -> Event:
        from napari_fewshot.engine.classic import ClassicNetwork

        network = bench.generator(model, order.device).network
        if bench.features is not None and not isinstance(network, ClassicNetwork):
            bench.features.look_ahead(network, job.view, job.painting, line)
        return Finished(order.job_id)

    return ending(order, work)


def run_apply(order: Order, wish: Wish, plane: np.ndarray, model: ModelFile, first: ModelFile | None = None) -> Event:
    """Apply ``model`` to one (Y, X) plane, or to what ``first`` restores; returns it, why it is left out, or how the job ended."""

    def work(bench: Bench, line: Line) -> Event:
        from napari_fewshot.engine.predict import predict_plane
        from napari_fewshot.engine.restoration import restore_plane

        generator = bench.generator(model, order.device)
        try:
            if not TASKS[generator.card.task].needs_strokes:
                wishes = replace(wish.restoring, uncertainty=wish.confidence or wish.restoring.uncertainty)
                restored = restore_plane(
                    generator, plane, wishes, intensity=wish.intensity, listener=line, seed=wish.seed
                )
                return PlaneDone(order.job_id, wish.index, restored.values, None, restored.maps, restored.report)
            maps, report = {}, None
            if first is not None:
                restored = restore_plane(bench.generator(first, order.device), plane, wish.restoring, listener=line)
                maps, report, seen = {first.card.name: restored.values}, restored.report, restored.values
            else:
                seen = plane
            values, certainty = predict_plane(
                generator, seen, intensity=wish.intensity, confidence=wish.confidence, listener=line
            )
        except PictureError as error:
            return PlaneLeftOut(order.job_id, wish.index, str(error))
        if wish.objects is not None:
            from napari_fewshot.engine.objects import separate

            values = separate(values, wish.objects)
        return PlaneDone(order.job_id, wish.index, values, certainty, maps, report)

    return ending(order, work)


def run_judge(order: Order, job: Judge, first: ModelFile | None, *models: ModelFile) -> Event:
    """Judge ``models``, which like ``first`` travel apart from their job; returns how it ended, with a verdict on each."""

    def work(bench: Bench, line: Line) -> Event:
        from napari_fewshot.engine.judge import judge

        generators = [bench.generator(model, order.device) for model in models]
        before = None if first is None else bench.generator(first, order.device)
        verdicts = judge(
            generators, job.painting, view=job.view, seed=job.seed, listener=line, cache=bench.features, first=before
        )
        return Finished(order.job_id, details={"verdicts": verdicts})

    return ending(order, work)


def ending(order: Order, work: Callable[[Bench, Line], Event]) -> Event:
    """Run ``work``; the one exit by which failures leave a worker."""
    worker = get_worker()
    bench = Bench.of(worker)
    try:
        from napari_fewshot.engine.listen import StopRequested

        with bench.line(order, worker) as line:
            try:
                return work(bench, line)
            except StopRequested:
                return Stopped(order.job_id)
    except Exception as error:
        return Failed.from_error(order.job_id, error)


def deliver(job_id: str, message: Message, dask_worker: Worker) -> None:
    """Put a message into the line of a job while it runs; dropped when it does not run here (any more)."""
    line = Bench.of(dask_worker).lines.get(job_id)
    if line is not None:
        line.put(message)


async def describe(dask_worker: Worker) -> list[str]:
    """The devices of this worker, the best first; raises what kept it from warming up."""
    if (trouble := Bench.of(dask_worker).trouble) is not None:
        raise trouble
    from napari_fewshot.engine.device import devices  # the slow import, where the worker did not warm up

    return await asyncio.to_thread(devices)


def forget_events(topic: str, dask_scheduler: Scheduler) -> None:
    """Drop the events that a scheduler with its default settings keeps a thousand of; ours hold pictures."""
    dask_scheduler._broker.truncate(topic)


def die() -> None:
    """Leave without a word: the last resort against a job that does not listen; the nanny starts another worker."""
    os._exit(1)
