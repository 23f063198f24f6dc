"""The layers that show a preview of the visible region: one for the answer, one for its confidence, renewed in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import napari
import numpy as np
from napari.layers import Labels, Layer

from napari_fewshot.core.card import ClassLabel, ModelCard
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.ui.layers import set_array
from napari_fewshot.ui.results import (
    METADATA,
    Place,
    answer_layer,
    answer_look,
    class_colours,
    confidence_layer,
    corner_of,
    insert_quietly,
    provenance,
)

Between = tuple[Layer | None, Layer | None]  # the layers above and below a preview


@dataclass(frozen=True, eq=False)
class Answer:
    """What the worker said about a box of one plane."""

    index: PlaneIndex
    origin: tuple[int, int]
    values: np.ndarray
    factor: int = 1
    confidence: np.ndarray | None = None


class PreviewLayers:
    """Guards that there is one preview at a time and that one the user removed does not come back by itself.

    What the user sets on a preview, such as its contrast, stays until its source or its classes look different.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layers: dict[str, Layer] = {}
        self._looks: dict[str, Any] = {}  # what the layers were last coloured by
        self._refused: set[str] = set()
        self._place: Place | None = None

    @property
    def is_alone(self) -> bool:
        """Whether the viewer holds no layer but these."""
        return all(layer in self._layers.values() for layer in self._viewer.layers)

    def allow(self) -> None:
        """Let previews appear again: a new job was asked for."""
        self._refused.clear()
        self._layers = {key: layer for key, layer in self._layers.items() if layer in self._viewer.layers}

    def show(self, answer: Answer, picture: Picture, place: Place, card: ModelCard, below: Layer | None) -> None:
        """Show an answer over its pixels, under the strokes."""
        self._place = place
        transform = place.over(corner_of(picture, answer.index, answer.origin), answer.factor)
        about = {**provenance(card, place.name, {"index": answer.index, "origin": answer.origin}), "preview": True}
        ones = (1,) * len(answer.index)
        values = answer.values.reshape(*ones, *answer.values.shape)  # (Y, X) -> (1, ..., Y, X)
        self._show(
            "answer",
            answer_layer,
            values,
            transform,
            (below, place.layer_in(self._viewer)),
            name=f"preview {card.name}",
            card=card,
            place=place,
            about=about,
        )
        if answer.confidence is None:
            self._remove("confidence")
            return
        sure = answer.confidence.reshape(*ones, *answer.confidence.shape)
        between = below, self._layers.get("answer")
        self._show("confidence", confidence_layer, sure, transform, between, name="preview confidence", about=about)

    def colour(self, classes: tuple[ClassLabel, ...]) -> None:
        """Show the classes of a preview in other colours."""
        layer = self._layers.get("answer")
        if isinstance(layer, Labels) and self._looks["answer"] != classes:
            layer.colormap = class_colours(classes)
            self._looks["answer"] = classes

    def remove(self) -> None:
        """Take the preview away, as a result has come."""
        for key in list(self._layers):
            self._remove(key)

    def remove_without_image(self) -> None:
        """Take the preview away when its image is gone."""
        if self._place is not None and self._place.layer_in(self._viewer) is None:
            self.remove()

    def _show(
        self, key: str, make: Any, values: np.ndarray, transform: dict[str, Any], between: Between, **how: Any
    ) -> None:
        if key in self._refused:
            return
        layer = self._layers.get(key)
        if layer is not None and layer not in self._viewer.layers:
            self._refused.add(key)
            del self._layers[key]
            return
        if layer is not None and self._fits(layer, values, transform, how):
            self._renew(key, values, transform, how)
            return
        self._remove(key)
        self._layers[key] = make(values, transform=transform, **how)
        self._looks[key] = _look_of(how)
        insert_quietly(self._viewer, self._layers[key], *between)

    def _fits(self, layer: Layer, values: np.ndarray, transform: dict[str, Any], how: dict[str, Any]) -> bool:
        """Whether only pixels, translation, name and look change."""
        is_labels = how.get("card") is not None and how["card"].task == "segment"
        return (
            layer.ndim == values.ndim
            and layer.dtype == values.dtype
            and isinstance(layer, Labels) == is_labels
            and np.allclose(layer.scale, transform["scale"])
            and np.allclose(layer.rotate, transform["rotate"])
            and np.allclose(layer.shear, transform["shear"])
            and np.allclose(layer.affine.affine_matrix, transform["affine"])
            and tuple(layer.units) == tuple(transform["units"])
        )

    def _renew(self, key: str, values: np.ndarray, transform: dict[str, Any], how: dict[str, Any]) -> None:
        layer, look = self._layers[key], _look_of(how)
        if not np.allclose(layer.translate, transform["translate"]):
            layer.translate = transform["translate"]
        set_array(layer, values)
        if look != self._looks[key]:
            for name, value in answer_look(values, how["card"], how["place"]).items():
                setattr(layer, name, value)
            self._looks[key] = look
        layer.metadata = {**layer.metadata, METADATA: how["about"]}
        if layer.name != how["name"]:
            layer.name = how["name"]

    def _remove(self, key: str) -> None:
        layer = self._layers.pop(key, None)
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


def _look_of(how: dict[str, Any]) -> Any:
    """What a layer is coloured by, to be compared; a confidence map always looks the same."""
    if "card" not in how:
        return None
    if how["card"].task == "segment":
        return how["card"].classes
    return {name: getattr(value, "name", value) for name, value in how["place"].look.items()}  # colormaps by name
