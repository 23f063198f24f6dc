"""Applying a model to a folder of images without opening them, on a thread of its own. Draws no widget."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_fewshot.batch.sidecar import parameters_of
from napari_fewshot.compute.events import Event, Failed, Finished, Note, Progress, Stopped
from napari_fewshot.core import restoring
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.objects import Objects
from napari_fewshot.core.restoring import AS_TRAINED, Restoring
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.applying import first_few
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.work import Work

if TYPE_CHECKING:
    from napari_fewshot.batch.folder import Report

NOT_FOR_FOLDERS = "a folder gets no confidence and not what was taken away: open an image for these"


@dataclass(frozen=True)
class How:
    """What is applied to a folder: the model, how it restores, what restores before it sees an image, objects or classes."""

    card: ModelCard
    restoring: Restoring = AS_TRAINED
    first: ModelCard | None = None
    objects: Objects | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What the cards beside the results tell of it."""
        return parameters_of(self.restoring, self.first, self.objects)


class FolderRun(QObject):
    """Guards that one folder is worked on at a time and that Stop ends it between two planes."""

    started = Signal(object)  # Work
    progressed = Signal(int, object, object)  # files done, files in all, seconds left
    ended = Signal(str, bool)
    said = Signal(str, bool)
    _heard = Signal(object)  # Event, from the folder's thread
    _done = Signal(str, bool)

    def __init__(self, bridge: Bridge, parent: QObject) -> None:
        super().__init__(parent)
        self._bridge = bridge
        self.work: Work | None = None
        self._heard.connect(self._on_thread_heard, Qt.ConnectionType.QueuedConnection)
        self._done.connect(self._on_thread_done, Qt.ConnectionType.QueuedConnection)

    @property
    def is_running(self) -> bool:
        return self.work is not None and self.work.is_running

    def start(self, how: How, source: Path, target: Path, wants_more: bool = False) -> None:
        """Apply a model to every image in ``source``; answers go to ``target``, with ``wants_more`` the uncertainty of restorations too."""
        if self.is_running:
            self.said.emit("a folder is being worked on already: stop that first", False)
            return
        self._bridge.revive()
        work = self.work = self._bridge.open_work(f"applying {how.card.name} to {source.name}")
        restores = not TASKS[how.card.task].needs_strokes
        if how.restoring.background or (wants_more and not restores):
            self.said.emit(NOT_FOR_FOLDERS, False)
        how = replace(how, restoring=Restoring(how.restoring.strength, uncertainty=wants_more and restores))
        self._bridge.call(self._bridge.compute, partial(self._on_worker_there, work, how, source, target))
        self.started.emit(work)

    def _on_worker_there(
        self, work: Work, how: How, source: Path, target: Path, compute: object, error: Exception | None
    ) -> None:
        """The worker is there, or cannot be started."""
        if error is not None:
            self._on_thread_done(f"the folder was not begun: the worker is not there ({self._bridge.state})", True)
            return
        run = partial(self._run, work, how, source, target)
        threading.Thread(target=run, name="fewshot-folder", daemon=True).start()

    def stop(self) -> None:
        """End after the current plane; files that are complete stay."""
        if self.work is not None:
            self.work.stopping.set()

    def _run(self, work: Work, wanted: How, source: Path, target: Path) -> None:
        from napari_fewshot.batch.folder import PlaneWork, apply_to_folder, plan_folder
        from napari_fewshot.batch.through_compute import PlaneSender

        try:
            read = self._bridge.models.read
            model: ModelFile = read(wanted.card.name)
            first = read(wanted.first.name) if wanted.first else None
            sender = PlaneSender(
                lambda job: self._bridge.submit_for(sender.on_event, job),
                model, wanted.restoring, first, wanted.objects,
            )  # fmt: skip
            are_objects, told = wanted.objects is not None, wanted.parameters
            reports: list[tuple[str, restoring.Report]] = []
            how = PlaneWork(
                sender, model.card, work.stopping.is_set, self._heard.emit, told, are_objects,
                lambda plane, report: reports.append((plane, report)),
            )  # fmt: skip
            report = apply_to_folder(plan_folder(source, target), how)
        except FewshotError as error:
            self._tell_done(work, str(error), True)
        except Exception as error:
            self._tell_done(work, f"the folder could not be worked on ({type(error).__name__}: {error})", True)
            if not work.stopping.is_set():  # else a viewer that closes has taken the worker away
                raise
        else:
            self._tell_done(work, spoken(report, target, reports), bool(report.failed))

    def _tell_done(self, work: Work, sentence: str, is_failure: bool) -> None:
        is_stopped = work.stopping.is_set()
        if is_stopped and not sentence.startswith("stopped"):
            sentence = f"stopped: {sentence}"
        with suppress(RuntimeError):  # the window is gone, and this object with it
            self._done.emit(sentence, is_failure and not is_stopped)

    def _on_thread_heard(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.progressed.emit(event.done, event.total, event.seconds_left)
        elif isinstance(event, Note):
            self.said.emit(event.message, False)

    def _on_thread_done(self, sentence: str, is_failure: bool) -> None:
        if self.work is not None:
            end = Failed("", sentence) if is_failure else Stopped("") if self.work.stopping.is_set() else Finished("")
            self._bridge.close_work(self.work, end)
        self.ended.emit(sentence, is_failure)


def spoken(report: Report, target: Path, reports: Sequence[tuple[str, restoring.Report]] = ()) -> str:
    """What became of the files, and what was found in their planes, in a sentence that a status line has room for."""
    parts = [f"wrote {len(report.written)} results to {target}"]
    parts += [f"{len(report.skipped)} were there already"] if report.skipped else []
    parts += [f"{len(report.failed)} failed"] if report.failed else []
    parts += [restoring.summary(reports)] if reports else []
    parts += first_few([f"{path.name}: {why}" for path, why in report.failed])
    return ("stopped: " if report.was_stopped else "") + "; ".join(parts)
