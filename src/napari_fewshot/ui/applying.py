"""Applying a model to layers, one after the other; what is done stays. Draws no widget."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import napari
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from napari_fewshot.batch.sidecar import parameters_of
from napari_fewshot.compute.events import End, Failed, Lost, PlaneDone, PlaneLeftOut, Progress, Stopped
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError, ModelError, PictureError
from napari_fewshot.core.job import Apply, Job
from napari_fewshot.core.objects import Objects
from napari_fewshot.core.restoring import AS_TRAINED, Report, Restoring, summary
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.landing import Landing, Target
from napari_fewshot.ui.layers import spoken
from napari_fewshot.ui.results import provenance
from napari_fewshot.ui.work import Work

SLICE, LAYER, SELECTED, ALL, FOLDER = "slice", "layer", "selected", "all", "folder"
SCOPES = {
    SLICE: "this slice",
    LAYER: "the whole layer",
    SELECTED: "selected image layers",
    ALL: "all open image layers",
    FOLDER: "a folder of images…",
}
ReadModels = Callable[[], tuple[ModelFile, ModelFile | None]]  # the model, and the one that restores before it


class Applier(QObject):
    """Guards that layers are worked on one after the other, that Stop ends them all, and that what is done stays."""

    started = Signal(object)  # Work
    progressed = Signal(int, object, object)  # planes done, planes in all or None, seconds left or None
    landed = Signal(object)  # the first result layer of a target
    ended = Signal(str, bool)  # a sentence, and whether it is a failure
    said = Signal(str, bool)

    def __init__(self, viewer: napari.Viewer, bridge: Bridge, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._bridge = viewer, bridge
        self._queue: deque[Target] = deque()
        self._n_done = self._n_planes = 0
        self._skipped: list[str] = []
        self._confidence = False
        self._objects: Objects | None = None
        self._card: ModelCard | None = None
        self._below: Layer | None = None
        self._restoring = AS_TRAINED
        self._first: ModelCard | None = None  # restores before the model sees a plane
        self._read: ReadModels | None = None
        self._reports: list[tuple[str, Report]] = []  # of each plane, with its name
        self._fault = ""  # why no plane can be kept any more
        self.work: Work | None = None

    @property
    def is_running(self) -> bool:
        return self.work is not None and self.work.is_running

    def apply(
        self,
        layers: Sequence[Image],
        is_slice: bool,
        card: ModelCard,
        confidence: bool,
        below: Layer | None,
        objects: Objects | None = None,
        restoring: Restoring | None = None,
        first: ModelCard | None = None,
    ) -> None:
        """Apply a model to layers; the reason is told when that cannot be."""
        self._objects = objects if TASKS[card.task].needs_strokes else None
        if self.is_running:
            self.said.emit("a model is being applied already: stop that first", False)
            return
        try:
            check_model(card)
            if not layers:
                raise PictureError("there is no image layer to apply to: open a micrograph or select image layers")
            targets = [self._take_target(layer, is_slice, len(layers) > 1) for layer in layers]
        except FewshotError as error:
            self.said.emit(str(error), True)
            return
        self._queue = deque(t for t in targets if t is not None)
        self._fault = ""
        self._n_done, self._n_planes = 0, sum(len(t.indices) for t in self._queue)
        self._card, self._confidence, self._below = card, confidence, below
        is_classes = TASKS[card.task].needs_strokes
        self._restoring = AS_TRAINED if is_classes else replace(restoring or AS_TRAINED, uncertainty=confidence)
        self._first, self._reports = first if is_classes else None, []
        self._read = cache(partial(self._read_models, card, self._first))
        self._next()

    def stop(self) -> None:
        """End the current plane and forget the rest; what is done stays."""
        self._queue.clear()
        if self.work is not None and self.work.is_running:
            self._bridge.stop(self.work)

    def _take_target(self, layer: Image, is_slice: bool, may_skip: bool) -> Target | None:
        try:
            return Target.of_layer(layer, self._viewer, is_slice, self._objects is not None)
        except PictureError as error:
            if not may_skip:
                raise
            self._skipped.append(f"left out: {error}")
            return None

    def _next(self) -> None:
        assert self._card is not None and self._read is not None
        if not self._queue:
            skipped, self._skipped = self._skipped, []
            count = "" if self._n_done == self._n_planes == 1 else f" to {self._n_done} of {self._n_planes} planes"
            sentence = f"applied {self._card.name}{count}"
            told = [summary(self._reports)] if self._reports else []
            self.ended.emit("; ".join([sentence, *told, *first_few(skipped)]), bool(skipped))
            return
        target = self._queue.popleft()
        parameters = {
            "confidence": self._confidence,
            "planes": len(target.indices),
            "scope": SLICE if target.is_slice else LAYER,
            **parameters_of(self._restoring, self._first, self._objects),
        }
        about = provenance(self._card, target.place.name, parameters)
        landing = Landing(target, self._card, about, self._objects is not None)
        work = self.work = self._bridge.submit(
            partial(self._make_job, self._read, target), f"applying {self._card.name} to {spoken(target.picture)}"
        )
        work.plane_done.connect(partial(self._on_work_plane_done, landing))
        work.plane_left_out.connect(self._on_work_plane_left_out)
        work.progressed.connect(self._on_work_progressed)
        work.noted.connect(lambda message: self.said.emit(message, False))
        work.ended.connect(partial(self._on_work_ended, landing))
        self.started.emit(work)

    def _read_models(self, card: ModelCard, first: ModelCard | None) -> tuple[ModelFile, ModelFile | None]:
        """Once for all layers: a version may be renamed or deleted meanwhile."""
        read = self._bridge.models.read
        return read(card.name), None if first is None else read(first.name)

    def _make_job(self, read: ReadModels, target: Target) -> Job:
        model, first = read()
        planes, objects, restoring = target.indices, self._objects, self._restoring
        return Apply(model, target.picture, planes, self._confidence, objects=objects, restoring=restoring, first=first)

    def _on_work_plane_done(self, landing: Landing, event: PlaneDone) -> None:
        if landing.is_removed(self._viewer) or self._fault:
            self.stop()
            return
        is_first = not landing.layers
        try:
            landing.land(event, self._viewer, self._below)
        except FewshotError as error:
            self._fault = str(error)
            self.stop()
            return
        self._n_done += 1
        if event.report is not None:
            self._reports.append((landing.picture.name_of(event.index), event.report))
        self.progressed.emit(self._n_done, self._n_planes, None)
        if is_first:
            self.landed.emit(landing.layers["answer"])

    def _on_work_plane_left_out(self, event: PlaneLeftOut) -> None:
        self._skipped.append(event.message)
        self.said.emit(event.message, False)

    def _on_work_progressed(self, event: Progress) -> None:
        self.progressed.emit(self._n_done, self._n_planes, event.seconds_left)

    def _on_work_ended(self, landing: Landing, end: End) -> None:
        landing.finish(end)
        if isinstance(end, Failed) and end.message in self._skipped:  # no plane of it can be used; others may
            self._next()
        elif isinstance(end, Failed | Lost):
            self._queue.clear()
            self._skipped = []
            self.ended.emit(end.message, True)
        elif isinstance(end, Stopped) or self._fault:
            self._queue.clear()
            self._skipped = []
            self.ended.emit(self._spoken_stop(landing), bool(self._fault))
        else:
            self._next()

    def _spoken_stop(self, landing: Landing) -> str:
        """Why it was stopped, where the user did not ask for it, and what stays."""
        is_removed = landing.is_removed(self._viewer)
        why = "the result layer was removed" if is_removed else self._fault
        n_done = self._n_done - (landing.n_planes if is_removed else 0)
        stays = f"{n_done} of {self._n_planes} planes are done and stay"
        return "stopped: " + "; ".join([*([why] if why else []), *([stays] if n_done or not why else [])])


def check_model(card: ModelCard) -> None:
    """Raise ModelError for a segmentation model that has not seen a stroke."""
    if TASKS[card.task].needs_strokes and not card.classes:
        raise ModelError(f"'{card.name}' knows no classes yet: paint a few strokes and press Fine-tune first")


def layers_of_scope(scope: str, viewer: napari.Viewer, image: Image | None, results: Sequence[str]) -> list[Image]:
    """The image layers a scope means; results of this plugin are not applied to again."""
    if scope in (SLICE, LAYER):
        return [] if image is None else [image]
    pool = [x for x in viewer.layers if isinstance(x, Image) and not any(key in x.metadata for key in results)]
    return [x for x in pool if x in viewer.layers.selection] if scope == SELECTED else pool


def first_few(sentences: list[str], n: int = 3) -> list[str]:
    """What fits into a status line: a series padded at both ends leaves out many planes for one reason."""
    more = [f"and {len(sentences) - n} more"] if len(sentences) > n else []
    return sentences[:n] + more
