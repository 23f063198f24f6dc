"""Other answers that explain the visible region as well, shown one at a time in a layer. Draws no widget."""

from __future__ import annotations

from functools import partial

import napari
import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from napari_fewshot.compute.events import Failed, Lost, PlaneDone
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError, PictureError
from napari_fewshot.core.job import Apply, Job
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.restoring import Restoring
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.layers import PlaneReader, current_index, plan_region, set_array, take_picture
from napari_fewshot.ui.results import Place, answer_layer, corner_of, insert_quietly, provenance
from napari_fewshot.ui.scene import Params
from napari_fewshot.ui.work import Work


class Alternatives(QObject):
    """Guards that one set of alternatives is shown at a time, in one layer, until it is removed or forgotten."""

    started = Signal(object)  # Work
    offered = Signal(
        int, str
    )  # how many there are beside the answer, and the plane they are of where that is not on display
    gone = Signal()
    ended = Signal()
    said = Signal(str, bool)

    def __init__(self, viewer: napari.Viewer, bridge: Bridge, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._bridge = viewer, bridge
        self.work: Work | None = None
        self._stack: np.ndarray | None = None  # the answer and its alternatives, (1 + n, 1, ..., Y, X)
        self._layer: Layer | None = None
        viewer.layers.events.removed.connect(self._on_layers_removed)

    @property
    def is_running(self) -> bool:
        return self.work is not None and self.work.is_running

    def ask(self, params: Params, card: ModelCard, restoring: Restoring) -> None:
        """Have the visible region restored again and again; the reason is told when that cannot be."""
        try:
            if params.image is None:
                raise PictureError("there is no image layer: open a micrograph, for example with File > Open Sample")
            picture = take_picture(params.image, self._viewer)
            picture.check_size()
        except FewshotError as error:
            self.said.emit(str(error), True)
            return
        region, place = plan_region(params.image, self._viewer, picture), Place.of_layer(params.image)
        reader = PlaneReader(picture)

        def make_job() -> Job:
            seen = Picture(region.take_pixels(), "YX", place.name)
            intensity = reader.take_intensity(region.index)  # that of the whole plane, as when it is applied
            model, how = self._bridge.models.read(card.name), restoring
            return Apply(model, seen, ((),), intensity=intensity, restoring=how, seed=params.seed)

        work = self.work = self._bridge.submit(make_job, f"looking for alternatives to {card.name}")
        about = {**provenance(card, place.name, {"index": region.index, "origin": region.origin}), "preview": True}
        corner = corner_of(picture, region.index, region.origin)
        ones = (1,) * len(region.index)

        def land(event: PlaneDone) -> None:
            source = place.layer_in(self._viewer)
            if not isinstance(source, Image):
                self.said.emit(f"'{place.name}' was removed: there is nothing to show alternatives of", False)
                return
            stack = np.concatenate([event.values[None], event.maps["alternatives"]])
            factor = max(1, round(event.values.shape[0] / (region.box[0].stop - region.box[0].start)))
            self._remove()
            self._stack = stack.reshape(len(stack), *ones, *stack.shape[1:])
            name = f"alternatives {card.name}"
            shown = self._stack[0].copy()
            self._layer = answer_layer(shown, name, card, place, place.over(corner, factor), about)
            insert_quietly(self._viewer, self._layer, None)
            is_seen = current_index(source, self._viewer, picture) == region.index
            self.offered.emit(len(stack) - 1, "" if is_seen else picture.name_of(region.index))

        work.plane_done.connect(land)
        work.ended.connect(partial(self._on_work_ended))
        self.started.emit(work)

    def show(self, n: int) -> None:
        """Show the answer (0) or an alternative."""
        if self._layer is not None and self._stack is not None and n < len(self._stack):
            set_array(self._layer, self._stack[n])

    def stop(self) -> None:
        """Give up what is under way."""
        if self.work is not None and self.work.is_running:
            self._bridge.stop(self.work)

    def forget(self) -> None:
        """Give up what is under way and take away what is shown."""
        self.stop()
        self._remove()
        self._stack = None

    def _remove(self) -> None:
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _on_work_ended(self, end: object) -> None:
        if isinstance(end, Failed | Lost):
            self.said.emit(end.message, True)
        self.ended.emit()

    def _on_layers_removed(self, event: object) -> None:
        if self._layer is not None and self._layer not in self._viewer.layers:
            self._layer = self._stack = None
            self.gone.emit()
