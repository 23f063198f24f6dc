"""Where the planes of a job come from and land: a layer read once, and its result layers. Knows no job and no widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer

from napari_fewshot.compute.events import End, PlaneDone
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.objects import along_z
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.ui.corrected import TOLD, corrected_plane, expect_corrections, note_told
from napari_fewshot.ui.layers import array_of, current_index, same_array, take_picture
from napari_fewshot.ui.objects import objects_layer, show_measures
from napari_fewshot.ui.results import (
    METADATA,
    SOURCE,
    Place,
    ResultStack,
    answer_layer,
    confidence_layer,
    corner_of,
    insert_quietly,
    map_layer,
)


@dataclass(frozen=True, eq=False)
class Target:
    """One layer to apply to, read once: what happens to it later does not matter."""

    picture: Picture
    place: Place
    indices: tuple[PlaneIndex, ...]
    is_slice: bool

    @classmethod
    def of_layer(cls, layer: Image, viewer: napari.Viewer, is_slice: bool, is_objects: bool = False) -> Target:
        picture = take_picture(layer, viewer)
        picture.check_size()
        here = current_index(layer, viewer, picture)
        every: Sequence[PlaneIndex] = [here]
        if not is_slice:  # objects go on from slice to slice, so their slices come in order
            planes = picture.plane_indices()
            every = along_z(picture, here) if is_objects else sorted(planes, key=lambda i: i != here)
        return cls(picture, Place.of_layer(layer), tuple(every), is_slice)


class Landing:
    """The result layers of one target: made with its first plane, filled as planes come."""

    def __init__(self, target: Target, card: ModelCard, about: dict[str, Any], is_objects: bool = False) -> None:
        self._target, self._card = target, card
        self._reports: list[dict[str, Any]] = []  # of restorations, plane by plane: all layers tell of them
        self._about = {**about, "reports": self._reports, SOURCE: target.place.id}
        self._is_objects = is_objects
        self.corrected: Mapping[PlaneIndex, np.ndarray] = {}  # by the user in another layer; they come along
        self._stacks: dict[str, ResultStack] = {}
        self.layers: dict[str, Layer] = {}
        self.n_planes = 0  # that are filled

    def go_on(self, layers: Mapping[str, Layer]) -> None:
        """Fill these layers by what they hold, rather than new ones; planes that the user corrected stay."""
        for key, layer in layers.items():
            layer.metadata[METADATA] = {**layer.metadata[METADATA], **self._about}
            self.layers[key], self._stacks[key] = layer, ResultStack.of(array_of(layer))

    def land(self, event: PlaneDone, viewer: napari.Viewer, below: Layer | None) -> None:
        """Fill one plane and show it if it is on display."""
        self._fill("answer", event.values, event.index, viewer, below)
        if event.confidence is not None:
            self._fill("confidence", event.confidence, event.index, viewer, below)
        for key, values in event.maps.items():
            self._fill(key, values, event.index, viewer, self.layers["answer"])
        if event.report is not None:
            self._reports.append({"plane": list(event.index), **asdict(event.report)})
        self.n_planes += 1

    @property
    def picture(self) -> Picture:
        return self._target.picture

    def is_removed(self, viewer: napari.Viewer) -> bool:
        """Whether the user has thrown the answer away."""
        return "answer" in self.layers and self.layers["answer"] not in viewer.layers

    def finish(self, end: End) -> None:
        """Add what comes when no more planes do: the table of objects."""
        measures = end.details.get("measures")
        if measures is not None and isinstance(layer := self.layers.get("answer"), Labels):
            show_measures(layer, measures, self._target.place)

    def _fill(self, key: str, values: Any, index: PlaneIndex, viewer: napari.Viewer, below: Layer | None) -> None:
        where = tuple(0 for _ in index) if self._target.is_slice else self._target.picture.result_index(index)
        if key not in self._stacks:
            leading = tuple(1 for _ in index) if self._target.is_slice else self._target.picture.shape[:-2]
            self._stacks[key] = ResultStack((*leading, *values.shape), values.dtype)
            if key == "answer":
                self._bring_corrected(self._stacks[key])
        own = self.corrected.get(index) if key == "answer" else None
        if key in self.layers and same_array(self.layers[key], self._stacks[key].array):
            own = corrected_plane(self.layers[key], where)
        self._stacks[key].write(where, values if own is None else np.where(own > 0, own, values))
        if key not in self.layers:
            self.layers[key] = self._make(key, self._stacks[key], values)
            source = self._target.place.layer_in(viewer)
            above = self.layers["answer"] if key == "confidence" else source
            insert_quietly(viewer, self.layers[key], below, above)
        elif self.layers[key] in viewer.layers and _is_on_display(self.layers[key], where, viewer):
            self.layers[key].refresh(extent=False)
        if own is None and TOLD in self.layers[key].metadata[METADATA]:
            note_told(self.layers[key], where, values)

    def _bring_corrected(self, stack: ResultStack) -> None:
        for index, values in self.corrected.items():
            stack.write(self._target.picture.result_index(index), values)

    def _make(self, key: str, stack: ResultStack, first: np.ndarray) -> Layer:
        picture, place = self._target.picture, self._target.place
        factor = max(1, round(stack.array.shape[-1] / picture.plane_shape[1]))
        transform = place.over(corner_of(picture, self._target.indices[0] if self._target.is_slice else None), factor)
        name = f"{place.name} {self._card.name}"
        if self._is_objects and key == "answer":
            layer = objects_layer(stack.array, f"{name} objects", transform, self._about)
        elif key == "answer":
            layer = answer_layer(stack.array, name, self._card, place, transform, self._about)
            if isinstance(layer, Labels):
                expect_corrections(layer)
        elif key == "confidence":
            layer = confidence_layer(stack.array, f"{name} confidence", transform, self._about)
        else:
            layer = map_layer(stack.array, f"{name} {key}", key, first, transform, self._about)
        return layer


def _is_on_display(layer: Layer, index: PlaneIndex, viewer: napari.Viewer) -> bool:
    """Whether the plane just filled is among those on screen."""
    if viewer.dims.ndisplay != 2:
        return True
    here = layer.world_to_data(viewer.dims.point)[:-2]
    return all(round(float(a)) == b for a, b in zip(here, index, strict=True))
