"""The layers of a comparison: one answer a model and where two of them differ, of the same region. Knows no worker."""

from __future__ import annotations

from collections.abc import Sequence

import napari
import numpy as np
from napari.layers import Labels, Layer
from napari.utils.colormaps import DirectLabelColormap

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.judge import differing
from napari_fewshot.ui.layers import Region
from napari_fewshot.ui.results import METADATA, Place, answer_layer, corner_of, insert_quietly, provenance

COLOUR = "#ff00ff"  # no class has it, and no micrograph


class ComparisonLayers:
    """Guards that there is one comparison at a time and that one of its layers is shown, or none."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layers: list[Layer] = []

    def show(
        self, answers: Sequence[tuple[ModelCard, np.ndarray]], region: Region, place: Place, below: Layer | None
    ) -> None:
        """Lay (Y, X) class numbers of each model over the region, and then where two differ; the first one is visible."""
        self.remove()
        transform = place.over(corner_of(region.picture, region.index, region.origin))
        parameters = {"index": region.index, "origin": region.origin}
        for card, values in answers:
            about = {**provenance(card, place.name, parameters), "preview": True}
            stack = values.reshape(*(1,) * len(region.index), *values.shape)  # (Y, X) -> (1, ..., Y, X)
            self._layers.append(answer_layer(stack, f"{card.name} (judged)", card, place, transform, about))
        if len(answers) == 2:
            (one, first), (other, second) = answers
            about = {"models": [one.id, other.id], "source": place.name, "parameters": parameters, "preview": True}
            mask = differing(first, second).reshape(*(1,) * len(region.index), *first.shape)
            colours = DirectLabelColormap(color_dict={None: "transparent", 0: "transparent", 1: COLOUR})
            self._layers.append(Labels(
                mask, name=f"{one.name} and {other.name} differ", colormap=colours, opacity=0.6,
                metadata={METADATA: about}, **transform,
            ))  # fmt: skip
        above = place.layer_in(self._viewer)
        for layer in self._layers:
            layer.visible = False
            insert_quietly(self._viewer, layer, below, above)
            above = layer
        self.look_at(0)

    def look_at(self, number: int) -> None:
        """Make one layer visible and hide the others; a number beyond them hides all."""
        for n, layer in enumerate(self._layers):
            layer.visible = n == number

    def remove(self) -> None:
        for layer in self._layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._layers.clear()
