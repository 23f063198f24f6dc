"""Applying a model to a folder of images without opening them, on a thread of its own. Draws no widget."""

from __future__ import annotations

import threading
from pathlib import Path

from qtpy.QtCore import QObject, Qt, Signal

from napari_fewshot.compute.events import Event, Failed, Finished, Note, Progress, Stopped
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.work import Work


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

    def start(self, model: str, source: Path, target: Path) -> None:
        """Apply the model ``model`` to every image in ``source``; results go to ``target``."""
        if self.is_running:
            self.said.emit("a folder is being worked on already: stop that first", False)
            return
        work = self.work = self._bridge.open_work(f"applying {model} to {source.name}")
        threading.Thread(
            target=self._run, args=(work, model, source, target), name="fewshot-folder", daemon=True
        ).start()
        self.started.emit(work)

    def stop(self) -> None:
        """End after the current plane; files that are complete stay."""
        if self.work is not None:
            self.work.stopping.set()

    def _run(self, work: Work, name: str, source: Path, target: Path) -> None:
        from napari_fewshot.batch.folder import PlaneWork, apply_to_folder, plan_folder
        from napari_fewshot.batch.through_compute import PlaneSender

        try:
            model: ModelFile = self._bridge.models.read(name)
            sender = PlaneSender(lambda job: self._bridge.submit_for(sender.on_event, job), model)
            how = PlaneWork(sender, model.card, work.stopping.is_set, self._heard.emit)
            report = apply_to_folder(plan_folder(source, target), how)
        except FewshotError as error:
            self._done.emit(str(error), True)
            return
        except Exception as error:
            self._done.emit(f"the folder could not be worked on ({type(error).__name__}: {error})", True)
            raise
        parts = [f"wrote {len(report.written)} results to {target}"]
        parts += [f"{len(report.skipped)} were there already"] if report.skipped else []
        parts += [f"{path.name} failed: {why}" for path, why in report.failed]
        self._done.emit(("stopped: " if report.was_stopped else "") + "; ".join(parts), bool(report.failed))

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
