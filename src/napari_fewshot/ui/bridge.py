"""Between the viewer and the worker: jobs go out off the GUI thread, events come back as Qt signals on it."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import napari
from qtpy.QtCore import QObject, Qt, Signal

from napari_fewshot.compute.events import End, Event, Failed, Finished, Note, Stopped
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.job import Job, View
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.strokes import Painting
from napari_fewshot.ui.models import Models
from napari_fewshot.ui.work import Finish, Work, failed_by

if TYPE_CHECKING:
    from napari_fewshot.compute.client import Compute

log = logging.getLogger("napari_fewshot")
Message = Painting | View


class Bridge(QObject):
    """Owns the compute of one viewer. Reads planes and sends jobs on one thread of its own, in the order of the calls."""

    state_changed = Signal(str)  # "starting", "ready", "failed: why", "closed"
    busy_changed = Signal(bool)
    models_changed = Signal()
    _arrived = Signal(object)  # Event, from any thread
    _submitted = Signal(object, str)  # Work, job id
    _refused = Signal(object, object)  # Work, Failed or Stopped
    _called = Signal(object)  # a function to run on the GUI thread

    def __init__(self, device: str = "auto") -> None:
        super().__init__()
        self.models = Models()
        self.device = device
        self.state = "starting"
        self._compute: Compute | None = None
        self._reader = ThreadPoolExecutor(1, "fewshot-reader")
        self._works: dict[str, Work] = {}
        self._running: set[Work] = set()
        self._early: dict[str, list[Event]] = {}
        self._messages: dict[tuple[Work, type], Callable[[], Message | None]] = {}
        self._messages_lock = Lock()
        self._is_closed = False
        for signal, slot in (
            (self._arrived, self._on_compute_event),
            (self._submitted, self._on_reader_submitted),
            (self._refused, self._on_reader_refused),
            (self._called, self._on_reader_called),
        ):
            signal.connect(slot, Qt.ConnectionType.QueuedConnection)
        self._listener: Callable[[Event], None] | None = None

    def start(self) -> None:
        """Start the worker; returns at once, `state_changed` tells when it is ready."""
        self._off(self._open)

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @property
    def busy_with(self) -> list[str]:
        return [work.title for work in self._running]

    def submit(self, make_job: Callable[[], Job], title: str, finish: Finish | None = None) -> Work:
        """Run a job; ``make_job`` reads planes and models off the GUI thread. With ``finish`` its model becomes a version."""
        if self.state.startswith("failed"):
            self.use_device(self.device)
        work = self.open_work(title, finish)
        self._off(self._submit, work, make_job)
        return work

    def open_work(self, title: str, finish: Finish | None = None) -> Work:
        """Work that somebody else does, over files, and ends with `close_work`."""
        work = Work(self, title, finish)
        self._running.add(work)
        self.busy_changed.emit(True)
        return work

    def close_work(self, work: Work, end: End) -> None:
        """End work that was opened; the first end counts."""
        self._listener = None
        self._early.clear()
        self._finish(work, end)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Let open work hear every event, on the compute's thread, until it is closed."""
        self._listener = listener

    def stop(self, work: Work) -> None:
        """Ask a job to end with what it has; one that has not reached the worker ends at once."""
        work.stopping.set()
        if work.job_id is None:
            self._finish(work, Stopped(""))
        elif self._compute is not None:
            self._compute.stop(work.job_id)

    def send(self, work: Work, kind: type[Message], make: Callable[[], Message | None]) -> None:
        """Send new strokes or a new region to a running job; when calls pile up only the latest of a kind goes out."""
        with self._messages_lock:
            is_waiting = (work, kind) in self._messages
            self._messages[work, kind] = make
        if not is_waiting:
            self._off(self._send, work, kind)

    def call(self, function: Callable[[], Any], then: Callable[[Any, Exception | None], None]) -> None:
        """Run ``function`` off the GUI thread, then ``then(result, error)`` on it."""
        self._off(self._call, function, then)

    def save(self, model: ModelFile, finish: Finish, then: Callable[[Any, Exception | None], None]) -> None:
        """Keep a model as a version, off the GUI thread."""
        self.call(lambda: self.models.save(finish(model)), partial(self._on_model_saved, then))

    def use_device(self, device: str) -> None:
        """Move the worker to another device; a running job is lost to it, so callers stop it first."""
        self.device = device
        self._set_state("starting")
        self._off(self._restart, device)

    def fetch_devices(self, then: Callable[[list[str]], None]) -> None:
        """Ask the worker for the devices it sees."""
        self.call(lambda: self._compute.devices() if self._compute else [], lambda found, error: then(found or []))

    def compute(self) -> Compute:
        """The compute itself, for open work."""
        if self._compute is None:
            raise RuntimeError("the worker was closed")
        return self._compute

    def close(self) -> None:
        """End every job and the worker; leaves no process behind. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._reader.shutdown(wait=False, cancel_futures=True)
        for work in list(self._running):
            self._finish(work, Stopped(""))
        if self._compute is not None:
            self._compute.close()
        self._set_state("closed")

    def _off(self, function: Callable[..., None], *args: Any) -> None:
        """Queue a call for the reader thread; nothing is begun after the close."""
        if not self._is_closed:
            self._reader.submit(function, *args)

    # on the reader thread

    def _open(self) -> None:
        try:
            from napari_fewshot.compute.client import Compute  # 0.7 s of imports that the GUI thread need not wait for

            compute = Compute(self._on_compute_thread_event, self.device, on_state=self._on_compute_thread_state)
            compute.start()
        except Exception as error:
            log.exception("the worker cannot be started")
            self._called.emit(partial(self._set_state, f"failed: {error}"))
            return
        self._compute = compute
        if self._is_closed:
            compute.close()

    def _restart(self, device: str) -> None:
        if self._compute is not None:
            self._compute.restart(device)

    def _submit(self, work: Work, make_job: Callable[[], Job]) -> None:
        if work.stopping.is_set():
            return
        try:
            job = make_job()
            if work.stopping.is_set():
                return
            job_id = self.compute().submit(job)
        except Exception as error:
            self._refused.emit(work, failed_by(error))
        else:
            self._submitted.emit(work, job_id)

    def _send(self, work: Work, kind: type[Message]) -> None:
        with self._messages_lock:
            make = self._messages.pop((work, kind))
        if not work.is_running:
            return
        try:
            message = make()
            if message is not None and work.job_id is not None:
                self.compute().send(work.job_id, message)
        except FewshotError as error:
            self._arrived.emit(Note(work.job_id or "", str(error)))
        except Exception as error:
            log.exception("a message to the worker was lost")
            self._arrived.emit(Note(work.job_id or "", f"the viewer's change did not reach the worker: {error}"))

    def _call(self, function: Callable[[], Any], then: Callable[[Any, Exception | None], None]) -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as raised:
            error = raised
        self._called.emit(partial(then, result, error))

    # on the compute's thread

    def _on_compute_thread_event(self, event: Event) -> None:
        if (listener := self._listener) is not None:
            listener(event)
        self._arrived.emit(event)

    def _on_compute_thread_state(self, state: str) -> None:
        self._called.emit(partial(self._set_state, state))

    # on the GUI thread

    def _on_compute_event(self, event: Event) -> None:
        work = self._works.get(event.job_id)
        if work is None:
            self._early.setdefault(event.job_id, []).append(event)
        elif isinstance(event, End):
            self._finish(work, event)
        else:
            work.tell(event)

    def _on_reader_submitted(self, work: Work, job_id: str) -> None:
        work.job_id = job_id
        self._works[job_id] = work
        if work.stopping.is_set() and self._compute is not None:
            self._compute.stop(job_id)
        for event in self._early.pop(job_id, ()):
            self._on_compute_event(event)

    def _on_reader_refused(self, work: Work, end: End) -> None:
        self._finish(work, end)

    def _on_reader_called(self, function: Callable[[], None]) -> None:
        function()

    def _finish(self, work: Work, end: End) -> None:
        if not work.is_running:
            return
        self._running.discard(work)
        if isinstance(end, Failed) and end.traceback:
            log.error("%s\n%s", end.message, end.traceback)
        model = end.model if isinstance(end, Finished | Stopped) else None
        work.tell(end)
        if work.finish is not None and model is not None:
            if self._is_closed:
                self.models.save(work.finish(model))  # nothing that was trained is lost when a viewer closes
            else:
                self.save(model, work.finish, work.versioned.emit)
        if not self.is_busy:
            self.busy_changed.emit(False)

    def _on_model_saved(
        self, then: Callable[[Any, Exception | None], None], card: Any, error: Exception | None
    ) -> None:
        self.models_changed.emit()
        then(card, error)

    def _set_state(self, state: str) -> None:
        if state != self.state and (state == "closed" or not self._is_closed):
            self.state = state
            self.state_changed.emit(state)


_bridges: weakref.WeakKeyDictionary[napari.Viewer, Bridge] = weakref.WeakKeyDictionary()


def bridge_for(viewer: napari.Viewer, device: str = "auto") -> Bridge:
    """The bridge of a viewer, started on the first call and closed with the viewer."""
    if viewer not in _bridges or _bridges[viewer]._is_closed:
        bridge = Bridge(device)
        _bridges[viewer] = bridge
        weakref.finalize(viewer, bridge.close)
        bridge.start()
    return _bridges[viewer]
