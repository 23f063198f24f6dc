"""What a model learned from unpainted slices, as a labels layer that waits for the user's word. Knows no worker."""

from __future__ import annotations

import re

import napari
import numpy as np
from napari.layers import Labels

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.strokes import Strokes
from napari_fewshot.ui.classes import classes_of, name_classes
from napari_fewshot.ui.layers import copy_painted
from napari_fewshot.ui.results import METADATA, Place, ResultStack, class_colours, corner_of, insert_quietly, provenance

LEARNED = re.compile(r"( and learned)( \[\d+\])?$")  # at the end of a name, with what napari appends to tell two apart


MADE = "napari-fewshot-made"  # of a strokes layer's metadata: what a model marked there
Made = dict[PlaneIndex, Strokes]


def made_on(labels: Labels) -> Made:
    """What a model marked on a strokes layer, by plane; where it was painted over since, its label is another."""
    return labels.metadata.get(MADE, {})


class LearnedDots:
    """Dots of confident pixels on one picture. Guards that nothing is learned from them before they are accepted."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self.layer: Labels | None = None
        self._stack: ResultStack | None = None
        self._about: tuple[Picture, Place, ModelCard] | None = None
        self._made: Made = {}

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to accept or to reject."""
        return self.layer is not None and self.layer in self._viewer.layers

    def follow(self, picture: Picture, place: Place, card: ModelCard) -> None:
        """Begin anew for a survey; what nobody accepted is out of date."""
        self.reject()
        self._about, self._made = (picture, place, card), {}

    def add(self, index: PlaneIndex, dots: Strokes) -> None:
        """Show what was learned on one plane.

        Raises
        ------
        StorageError
            The temporary folder is full.
        """
        assert self._about is not None
        picture, place, card = self._about
        if self.layer is None:
            self._stack = ResultStack(picture.shape, np.uint8)
            self.layer = self._make(self._stack, picture, place, card)
            insert_quietly(self._viewer, self.layer, None)
        assert self._stack is not None
        where = picture.result_index(index)
        plane = np.array(self._stack.array[where])
        plane[tuple(dots.yx.T)] = dots.classes
        self._stack.write(where, plane)
        self._made[where] = dots
        self.layer.refresh(extent=False)

    def reject(self) -> None:
        """Throw away what was learned."""
        if self.layer is not None and self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)
        self.layer = self._stack = None

    def accept(self, strokes: Labels | None) -> Labels | None:
        """Let go of the layer as a strokes layer of its own, with all that is painted on ``strokes``, which stays."""
        layer, self.layer, self._stack = self.layer, None, None
        if layer is None or self._about is None:
            return None
        picture, _, card = self._about
        made = dict(made_on(strokes)) if strokes is not None else {}
        for where, dots in self._made.items():
            made[where] = dots.joined(made[where]) if where in made else dots
        layer.metadata[MADE] = made
        if strokes is None:
            name_classes(layer, card.classes)
        else:
            copy_painted(strokes, layer, picture)
            name_classes(layer, classes_of(strokes))
            layer.name = LEARNED.sub("", strokes.name) + " and learned"
        return layer

    @staticmethod
    def _make(stack: ResultStack, picture: Picture, place: Place, card: ModelCard) -> Labels:
        about = provenance(card, place.name, {"scope": "learned from unpainted slices"})
        layer = Labels(
            stack.array, name=f"{place.name} learned", opacity=0.8, colormap=class_colours(card.classes),
            metadata={METADATA: about}, **place.over(corner_of(picture)),
        )  # fmt: skip
        return layer
