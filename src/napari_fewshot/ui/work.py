"""One job as the GUI sees it: signals while it runs, one end, and then a version. Knows neither worker nor layers."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence

from qtpy.QtCore import QObject, Signal

from napari_fewshot.compute.events import End, Event, Failed, Note, PlaneDone, PlaneLeftOut, Preview, Progress, Surveyed
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.shelf import ModelFile

Finish = Callable[[ModelFile], ModelFile]  # what is done to a job's model before it becomes a version


class Work(QObject):
    """Guards that ``ended`` comes exactly once and nothing of the job after it but ``versioned``."""

    progressed = Signal(object)  # Progress
    previewed = Signal(object)  # Preview
    plane_done = Signal(object)  # PlaneDone
    plane_left_out = Signal(object)  # PlaneLeftOut
    surveyed = Signal(object)  # Surveyed
    noted = Signal(str)
    ended = Signal(object)  # End
    versioned = Signal(object, object)  # ModelCard or None, and why it could not be saved or None; after `ended`

    def __init__(self, parent: QObject, title: str, finish: Finish | None = None) -> None:
        super().__init__(parent)
        self.title = title
        self.finish = finish
        self.job_id: str | None = None
        self.is_running = True
        self.notes: list[str] = []
        self.stopping = threading.Event()
        self.submitting = threading.Lock()  # so that a stop comes either before the job is handed in or after

    def tell(self, event: Event) -> None:
        """Emit the signal of an event; whatever comes after the end is dropped."""
        if not self.is_running:
            return
        if isinstance(event, Progress):
            self.progressed.emit(event)
        elif isinstance(event, Preview):
            self.previewed.emit(event)
        elif isinstance(event, PlaneDone):
            self.plane_done.emit(event)
        elif isinstance(event, PlaneLeftOut):
            self.plane_left_out.emit(event)
        elif isinstance(event, Surveyed):
            self.surveyed.emit(event)
        elif isinstance(event, Note):
            if event.job_id:
                self.note(event.message)
            else:  # what the viewer's side says of a stroke passes with the next one
                self.noted.emit(event.message)
        elif isinstance(event, End):
            self.is_running = False
            self.ended.emit(event)

    def note(self, message: str) -> None:
        """Say something that is to be read when the job has ended, too."""
        if message not in self.notes:
            self.notes.append(message)
        self.noted.emit(message)


def with_notes(sentence: str, notes: Sequence[str]) -> str:
    """A sentence that ends a job, and what was noted before."""
    return "; ".join((sentence, *notes))


def failed_by(error: Exception) -> Failed:
    """How a job ends that could not even be put together."""
    if isinstance(error, FewshotError):
        return Failed("", str(error))
    text = "".join(traceback.format_exception(error))
    return Failed("", f"the image or the model could not be read ({type(error).__name__}: {error})", text)
