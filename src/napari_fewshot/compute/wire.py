"""What passes between an errand and its job on the worker beside the events: the order, and messages. Values only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_fewshot.compute.events import Event
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import View
from napari_fewshot.core.objects import Objects
from napari_fewshot.core.picture import PlaneIndex
from napari_fewshot.core.restoring import AS_TRAINED, Restoring
from napari_fewshot.core.strokes import Painting


@dataclass(frozen=True)
class Order:
    """Who asks: ``topic`` is where the events of the job are heard, ``device`` where it computes."""

    job_id: str
    topic: str
    device: str


@dataclass(frozen=True)
class Wish:
    """What an apply wants of one plane; ``intensity`` None is measured there."""

    index: PlaneIndex
    confidence: bool
    intensity: Intensity | None
    objects: Objects | None = None
    restoring: Restoring = AS_TRAINED
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Known:
    """What a guide is made of beside its model; sent once, for all parts of a job."""

    painting: Painting | None
    seed: int


@dataclass(frozen=True, eq=False)
class Started(Event):
    """The job runs on this worker: that is where its messages go. Not passed on to the user."""

    worker: str


@dataclass(frozen=True, eq=False)
class Carried(Event):
    """One slice of a propagation is answered; its errand judges whether it is passed on to the user."""

    index: PlaneIndex
    values: np.ndarray
    sure: np.ndarray
    quality: float


@dataclass(frozen=True)
class Stop:
    """Asks a job to come to its end."""


Message = Painting | View | Stop
