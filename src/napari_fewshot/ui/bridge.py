"""Between the viewer and the worker: jobs go out off the GUI thread, events come back as Qt signals on it."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import napari
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_fewshot.compute.events import End, Event, Failed, Finished, Note, Stopped
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.job import Job, View
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.strokes import Painting
from napari_fewshot.ui.inbox import Inbox
from napari_fewshot.ui.models import Models
from napari_fewshot.ui.work import Finish, Work, failed_by

if TYPE_CHECKING:
    from napari_fewshot.compute.client import Compute
    from napari_fewshot.compute.cluster import Remote

LAST_WORDS_S = 1.0  # a step of training takes a tenth of that; the window is off the screen already

log = logging.getLogger("napari_fewshot")
Message = Painting | View
Then = Callable[[Any, Exception | None], None]  # called with a result, or None and why there is none


class Bridge(QObject):
    """Owns the compute of one viewer. Reads planes and sends jobs on one thread of its own, in the order of the calls.

    Guards that what was trained becomes a version, also when the viewer closes before it is written.
    """

    state_changed = Signal(str)  # "starting", "ready", "failed: why", "closed"
    busy_changed = Signal(bool)
    models_changed = Signal()
    closing = Signal()  # the last moment to save a model

    def __init__(self, device: str = "auto") -> None:
        super().__init__()
        self.models = Models()
        self.device = device
        self.remote: Remote | None = None
        self.state = "starting"
        self._compute: Compute | None = None
        self._reader = ThreadPoolExecutor(1, "fewshot-reader")
        self._running: set[Work] = set()
        self._saves: dict[Future[Any], tuple[str, Callable[[], None]]] = {}
        self._hearers: dict[str, Callable[[Event], None]] = {}
        self._submit_lock = Lock()
        self._messages: dict[tuple[Work, type], Callable[[], Message | None]] = {}
        self._messages_lock = Lock()
        self._is_closed = False
        self._inbox = Inbox()

    def start(self) -> None:
        """Start the worker; returns at once, `state_changed` tells when it is ready."""
        self._off(self._open, self.device, self.remote)

    @property
    def is_busy(self) -> bool:
        return bool(self._running or self._saves)

    @property
    def busy_with(self) -> list[str]:
        return [work.title for work in self._running] + [title for title, _ in self._saves.values()]

    def submit(self, make_job: Callable[[], Job], title: str, finish: Finish | None = None) -> Work:
        """Run a job; ``make_job`` reads planes and models off the GUI thread. With ``finish`` its model becomes a version."""
        self.revive()
        work = self.open_work(title, finish)
        self._off(self._submit, work, make_job)
        if self._is_closed:
            self._finish(work, Stopped(""))
        return work

    def revive(self) -> None:
        """Start the worker anew where it failed: what is asked for next shall not fail the same way."""
        if self.state.startswith("failed"):
            self.use_device(self.device, self.remote)

    def submit_for(self, hear: Callable[[Event], None], job: Job) -> str:
        """Hand in a job of open work, from any thread; ``hear`` gets its events, on the compute's thread."""
        with self._submit_lock:  # until its id is known, no event of it is looked at
            job_id = self.compute().submit(job)
            self._hearers[job_id] = hear
        return job_id

    def open_work(self, title: str, finish: Finish | None = None) -> Work:
        """Work that somebody else does, over files, and ends with `close_work`."""
        work = Work(self, title, finish)
        self._running.add(work)
        self.busy_changed.emit(True)
        return work

    def close_work(self, work: Work, end: End) -> None:
        """End work that was opened; the first end counts."""
        self._finish(work, end)

    def stop(self, work: Work) -> None:
        """Ask a job to end with what it has; one that has not reached the worker ends at once."""
        with work.submitting:
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

    def call(self, function: Callable[[], Any], then: Then) -> None:
        """Run ``function`` off the GUI thread, then ``then(result, error)`` on it."""
        self._off(self._call, function, then)

    def save(self, model: ModelFile, finish: Finish, then: Then) -> None:
        """Keep a model as a version, off the GUI thread; at once when the viewer is closing."""
        save = partial(self._call, lambda: self.models.save(finish(model)), partial(self._on_model_saved, then))
        if self._is_closed:
            save()
            return
        future = self._reader.submit(save)
        self._saves[future] = (f"saving a version of {model.card.name}", save)
        future.add_done_callback(lambda done: self._inbox.post(partial(self._on_save_ended, done)))

    def use_device(self, device: str, remote: Remote | None = None) -> None:
        """Move the worker to another device or machine; a running job is lost to it, so callers stop it first."""
        is_same_place = remote is None and self.remote is None
        self.device, self.remote = device, remote
        self._set_state("starting")
        self._off(self._move, device, remote, is_same_place)

    def compute(self) -> Compute:
        """The compute itself; raises RuntimeError when there is none."""
        if self._compute is None:
            raise RuntimeError("the worker was closed")
        return self._compute

    def close(self) -> None:
        """End every job and the worker; leaves no process behind, and no model unsaved. Safe to call twice."""
        if self._is_closed:
            return
        self.closing.emit()
        self._is_closed = True
        for work in list(self._running):
            with suppress(FewshotError):  # the compute may have been closed by somebody else
                self.stop(work)
        self._inbox.work_off(lambda: bool(self._running), LAST_WORDS_S)
        self._reader.shutdown(wait=False, cancel_futures=True)
        for future, (_, save) in self._saves.items():
            if future.cancelled():
                save()
            else:  # being written
                futures.wait((future,), LAST_WORDS_S)
        self._saves.clear()
        for work in list(self._running):
            self._finish(work, Stopped(""))
        if self._compute is not None:
            self._compute.close()
        self._inbox.close()
        self._set_state("closed")

    def _off(self, function: Callable[..., None], *args: Any) -> None:
        """Queue a call for the reader thread; nothing is begun after the close."""
        if not self._is_closed:
            self._reader.submit(function, *args)

    # on the reader thread

    def _open(self, device: str, remote: Remote | None) -> None:
        try:
            from napari_fewshot.compute.client import Compute  # 0.7 s of imports that the GUI thread need not wait for

            compute = Compute(self._on_compute_event, device, remote, on_state=self._on_compute_state)
            compute.start()
        except Exception as error:
            log.exception("the worker cannot be started")
            self._inbox.post(partial(self._set_state, f"failed: {error}"))
            return
        self._compute = compute
        if self._is_closed:
            compute.close()

    def _move(self, device: str, remote: Remote | None, is_same_place: bool) -> None:
        compute = self._compute
        if compute is not None and is_same_place:
            compute.restart(device)
            return
        self._compute = None
        if compute is not None:
            compute.close()
        self._open(device, remote)

    def _submit(self, work: Work, make_job: Callable[[], Job]) -> None:
        if work.stopping.is_set():
            return
        try:
            job = make_job()
            with work.submitting:
                if not work.stopping.is_set():
                    work.job_id = self.submit_for(partial(self._on_work_heard, work), job)
        except Exception as error:
            self._inbox.post(partial(self._finish, work, failed_by(error)))

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
            self._inbox.post(partial(work.tell, Note("", str(error))))
        except Exception as error:
            log.exception("a message to the worker was lost")
            self._inbox.post(partial(work.tell, Note("", f"the viewer's change did not reach the worker: {error}")))

    def _call(self, function: Callable[[], Any], then: Then) -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as raised:
            error = raised
        self._inbox.post(partial(then, result, error))

    # on the compute's thread

    def _on_compute_event(self, event: Event) -> None:
        with self._submit_lock:
            look_up = self._hearers.pop if isinstance(event, End) else self._hearers.get
            hear = look_up(event.job_id, None)
        if hear is not None:
            hear(event)

    def _on_work_heard(self, work: Work, event: Event) -> None:
        self._inbox.post(partial(self._hear, work, event))

    def _on_compute_state(self, state: str) -> None:
        if state != "closed":  # that of a bridge is its own; a compute may be replaced
            self._inbox.post(partial(self._set_state, state))

    # on the GUI thread

    def _hear(self, work: Work, event: Event) -> None:
        if isinstance(event, End):
            self._finish(work, event)
        elif not self._is_closed:  # no layer may be added to a viewer that goes
            work.tell(event)

    def _finish(self, work: Work, end: End) -> None:
        if not work.is_running:
            return
        self._running.discard(work)
        if isinstance(end, Failed) and end.traceback:
            log.error("%s\n%s", end.message, end.traceback)
        model = end.model if isinstance(end, Finished | Stopped) else None
        work.tell(end)
        if work.finish is not None and model is not None:
            self.save(model, work.finish, partial(self._on_version_saved, work))
        else:
            work.deleteLater()  # with all that its slots hold: pictures, results
        self.busy_changed.emit(self.is_busy)

    def _on_version_saved(self, work: Work, card: Any, error: Exception | None) -> None:
        work.versioned.emit(card, error)
        work.deleteLater()

    def _on_model_saved(self, then: Then, card: Any, error: Exception | None) -> None:
        self.models_changed.emit()
        then(card, error)

    def _on_save_ended(self, future: Future[Any]) -> None:
        self._saves.pop(future, None)
        self.busy_changed.emit(self.is_busy)

    def _set_state(self, state: str) -> None:
        if state != self.state and (state == "closed" or not self._is_closed):
            self.state = state
            self.state_changed.emit(state)


_bridges: weakref.WeakKeyDictionary[napari.Viewer, Bridge] = weakref.WeakKeyDictionary()


def bridge_for(viewer: napari.Viewer, device: str = "auto") -> Bridge:
    """The bridge of a viewer, started on the first call and closed with the viewer.

    What napari hands a plugin is a proxy of its viewer, another one for each dock, that ends with the dock.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _bridges or _bridges[viewer]._is_closed:
        bridge = Bridge(device)
        _bridges[viewer] = bridge
        weakref.finalize(viewer, _close, bridge)
        bridge.start()
    return _bridges[viewer]


def _close(bridge: Bridge) -> None:
    """With its viewer; at the end of the interpreter Qt may have deleted the bridge, and the compute closes itself."""
    if isalive(bridge):
        bridge.close()
