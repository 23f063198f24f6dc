"""Sends single planes through a worker and waits for each, so that a folder can be worked on beside a viewer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from napari_fewshot.batch.answers import Answer
from napari_fewshot.compute.events import Event, Failed, Finished, Lost, PlaneDone, Stopped
from napari_fewshot.core.errors import ComputeError
from napari_fewshot.core.job import Apply, Job
from napari_fewshot.core.objects import Objects
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.restoring import AS_TRAINED, Restoring
from napari_fewshot.core.shelf import ModelFile


class PlaneSender:
    """A callable (Y, X) -> `Answer` for `folder.PlaneWork`, to be used on a thread that may wait.

    Guards that an answer finds its question, also when it comes before ``submit`` has returned.

    Parameters
    ----------
    submit : callable
        ``Compute.submit``.
    model : ModelFile
        What is applied.
    restoring : Restoring
        How it restores.
    first : ModelFile or None
        Restores each plane before the model sees it.
    objects : Objects or None
        Answer outlines of objects instead of classes.
    """

    def __init__(
        self,
        submit: Callable[[Job], str],
        model: ModelFile,
        restoring: Restoring = AS_TRAINED,
        first: ModelFile | None = None,
        objects: Objects | None = None,
    ) -> None:
        self._submit = submit
        self._model, self._restoring, self._first, self._objects = model, restoring, first, objects
        self._changed = threading.Condition()
        self._planes: dict[str, Answer] = {}
        self._ends: dict[str, Event] = {}

    def on_event(self, event: Event) -> None:
        """To be called with every event of the compute, on any thread."""
        with self._changed:
            if isinstance(event, PlaneDone):
                self._planes[event.job_id] = Answer(event.values, event.report, event.maps.get("uncertainty"))
            elif isinstance(event, Finished | Stopped | Failed | Lost):
                self._ends[event.job_id] = event
            self._changed.notify_all()

    def __call__(self, plane: np.ndarray) -> Answer:
        """Predict one plane.

        Raises
        ------
        ComputeError
            The job failed, was stopped, or its worker was lost.
        """
        job = Apply(
            self._model, picture_of(plane), ((),), objects=self._objects, restoring=self._restoring, first=self._first
        )
        job_id = self._submit(job)
        with self._changed:
            self._changed.wait_for(lambda: job_id in self._ends)
            end, answer = self._ends[job_id], self._planes.pop(job_id, None)
            self._ends.clear()
            self._planes.clear()
        if isinstance(end, Finished) and answer is not None:
            return answer
        raise ComputeError(getattr(end, "message", "the job was stopped before it was done"))
