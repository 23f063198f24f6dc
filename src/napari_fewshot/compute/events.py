"""What a job tells while it runs and how it ends, as frozen values. Knows neither Qt nor dask nor torch.

Every job ends with exactly one of `Finished`, `Stopped`, `Failed`, `Lost`.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_fewshot.core.errors import FewshotError, is_out_of_memory
from napari_fewshot.core.guide import Seen
from napari_fewshot.core.picture import PlaneIndex
from napari_fewshot.core.restoring import Report
from napari_fewshot.core.shelf import ModelFile


@dataclass(frozen=True, eq=False)
class Event:
    """``job_id`` names the job that speaks; the public API uses the empty string."""

    job_id: str


@dataclass(frozen=True, eq=False)
class Progress(Event):
    """``done`` of ``total`` (None: open end) steps or planes; ``score`` is that of strokes held out, 0 to 1."""

    done: int
    total: int | None
    seconds: float
    seconds_left: float | None = None
    losses: dict[str, float] = field(default_factory=dict)
    score: float | None = None


@dataclass(frozen=True, eq=False)
class Preview(Event):
    """The answer for a box of one plane: ``values`` (Y, X) starts at ``origin`` px of the source plane."""

    index: PlaneIndex
    origin: tuple[int, int]
    values: np.ndarray
    factor: int = 1
    confidence: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class PlaneDone(Event):
    """One plane of an apply job is complete; ``maps`` and ``report`` are those of `core.restoring.Restored`."""

    index: PlaneIndex
    values: np.ndarray
    confidence: np.ndarray | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    report: Report | None = None


@dataclass(frozen=True, eq=False)
class PlaneLeftOut(Event):
    """One plane of an apply job cannot be used, such as the empty rim of an aligned stack; the others are done."""

    index: PlaneIndex
    message: str


@dataclass(frozen=True, eq=False)
class Surveyed(Event):
    """One look of a survey is complete."""

    seen: Seen


@dataclass(frozen=True, eq=False)
class Note(Event):
    """Something the user should know (batch halved, rate lowered), in one sentence."""

    message: str


@dataclass(frozen=True, eq=False)
class Finished(Event):
    """The job did what was asked; fine-tuning hands over its model."""

    model: ModelFile | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Stopped(Event):
    """The user stopped it; what was done until then stays, a model is the best so far, ``details`` as of `Finished`."""

    model: ModelFile | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Failed(Event):
    """The job raised; ``message`` is for the user, ``traceback`` is empty when the user can cure it."""

    message: str
    traceback: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_error(cls, job_id: str, error: BaseException) -> Failed:
        """What the user can cure comes as one sentence, anything else as a bug with its traceback."""
        if isinstance(error, FewshotError):
            return cls(job_id, str(error))
        if is_out_of_memory(error):
            message = (
                "there is not enough memory: close other programs, work on smaller planes or choose another device"
            )
        else:
            message = f"something went wrong that should not ({type(error).__name__}: {error}): please report it"
        return cls(job_id, message, "".join(traceback.format_exception(error)))


@dataclass(frozen=True, eq=False)
class Lost(Event):
    """The worker died (killed, out of memory); a new one is started, the next job works."""

    message: str
    details: dict[str, Any] = field(default_factory=dict)


End = Finished | Stopped | Failed | Lost
