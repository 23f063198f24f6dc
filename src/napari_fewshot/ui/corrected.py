"""What a user corrected in a segmentation's result: planes that are not as a model told them. Knows no worker."""

from __future__ import annotations

import zlib
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.strokes import MAXIMUM_CLASS
from napari_fewshot.ui.layers import array_of
from napari_fewshot.ui.painted import PaintedPlanes
from napari_fewshot.ui.results import METADATA, SOURCE

TOLD = "told"  # in a result's metadata: a checksum of each plane as it was told, by its index in the layer


def expect_corrections(layer: Layer) -> None:
    """Begin to keep with a result layer what is told in it, so that what a user changes is known."""
    layer.metadata[METADATA] = {**layer.metadata[METADATA], TOLD: {}}


def note_told(layer: Layer, where: PlaneIndex, values: np.ndarray) -> None:
    """Plane ``where`` of a result layer is now as told."""
    layer.metadata[METADATA][TOLD][where] = _checksum(values)


def corrected_plane(layer: Layer, where: PlaneIndex) -> np.ndarray | None:
    """Plane ``where`` (Y, X) of a result layer, uint8, 0 = nothing known, if it is not empty and no model told it so."""
    told = layer.metadata[METADATA].get(TOLD)
    if told is None:  # an image, or objects
        return None
    plane = np.asarray(array_of(layer)[where])
    return np.array(_classes(plane)) if plane.any() and _checksum(plane) != told.get(where) else None


class Result:
    """A result layer of a segmentation as planes of its source; reads no more of it than it is asked for."""

    def __init__(self, layer: Labels, image: Image, picture: Picture) -> None:
        self.layer, self._picture = layer, picture
        shape = array_of(layer).shape[:-2]  # all planes, or the one that a model was applied to
        first = image.world_to_data(layer.data_to_world((0,) * layer.ndim))[:-2]
        found, every = {self._index_at(first + w): w for w in np.ndindex(*shape)}, set(picture.plane_indices())
        self._places = {index: where for index, where in found.items() if index in every}

    def is_corrected_at(self, index: PlaneIndex) -> bool:
        """Whether the user changed a plane."""
        return index in self._places and corrected_plane(self.layer, self._places[index]) is not None

    def corrected(self) -> dict[PlaneIndex, np.ndarray]:
        """All planes (Y, X) the user changed; reads the whole layer."""
        found = {index: corrected_plane(self.layer, where) for index, where in self._places.items()}
        return {index: plane for index, plane in found.items() if plane is not None}

    def is_propagated(self, card: ModelCard | None = None) -> bool:
        """Whether it was carried through the stack; with a card, by that model and on the channel on display."""
        is_whole = tuple(array_of(self.layer).shape) == self._picture.shape
        return is_whole and is_propagation(self.layer, card, self._picture.channel)

    def _index_at(self, position: Any) -> PlaneIndex:
        """The plane of the picture at a position (leading axes) in its layer; a result of one channel counts for all."""
        index = [round(float(p)) for p in position]
        if self._picture.channel is not None:
            index[self._picture.leading.index("C")] = self._picture.channel
        return tuple(index)


def is_propagation(layer: Layer, card: ModelCard | None, channel: int | None) -> bool:
    """Whether a layer was filled by a propagation; with a card, by that model on that channel."""
    about = layer.metadata.get(METADATA, {})
    how = about.get("parameters", {})
    return how.get("scope") == "propagate" and (
        card is None or (about["model"]["id"] == card.id and how.get("channel") == channel)
    )


def with_confidence(answer: Labels, viewer: napari.Viewer, card: ModelCard, channel: int | None) -> dict[str, Layer]:
    """The answer of a propagation, and the confidence that came with it if it is still there."""
    about, shape = answer.metadata[METADATA], array_of(answer).shape
    found = [
        x for x in viewer.layers
        if is_propagation(x, card, channel) and isinstance(x, Image)
        and x.metadata[METADATA].get(SOURCE) == about[SOURCE] and array_of(x).shape == shape
    ]  # fmt: skip
    return {"answer": answer, **({"confidence": found[-1]} if found else {})}


def results_of(
    viewer: napari.Viewer, image: Image, picture: Picture, painted: PaintedPlanes | None = None
) -> list[Result]:
    """The visible results of segmentations of ``image``, the topmost first; one that is painted on as strokes is none."""
    found = []
    for layer in reversed(viewer.layers):
        about = layer.metadata.get(METADATA, {})
        is_strokes = painted is not None and layer is painted.labels
        is_result = isinstance(layer, Labels) and TOLD in about and not is_strokes
        if is_result and layer.visible and about.get(SOURCE) == str(image.unique_id):
            shape = array_of(layer).shape
            if len(shape) == len(picture.shape) and tuple(shape[-2:]) == picture.plane_shape:
                found.append(Result(layer, image, picture))
    return found


def _classes(plane: np.ndarray) -> np.ndarray:
    is_small = plane.dtype == np.uint8
    return plane if is_small else np.where((plane > 0) & (plane <= MAXIMUM_CLASS), plane, 0).astype(np.uint8)


def _checksum(plane: np.ndarray) -> int:
    """Of the class numbers, whatever type they are kept in."""
    return zlib.crc32(_classes(plane).tobytes())
