"""Has the worker see what is on display and what is painted before the user asks for it. Knows no form and draws nothing."""

from __future__ import annotations

from functools import partial

import numpy as np

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.job import LookAhead
from napari_fewshot.core.strokes import Painting
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.scene import Scene

CELL_PX = 512  # strokes in one cell are seen together


class Lookout:
    """Guards that the same pixels are looked at once by the same model."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._seen: tuple[object, ...] = ()

    def look(self, card: ModelCard, scene: Scene) -> None:
        """Have the features of what is on display and painted computed; nobody is told of it, and nothing waits for it."""
        if not self._bridge.is_busy:
            self._bridge.call(partial(self._submit, card, scene), lambda result, error: None)

    def _submit(self, card: ModelCard, scene: Scene) -> None:
        painting = scene.take_painting()
        place = card.id, scene.reader, scene.region.place, _cells(painting)
        if place != self._seen:
            self._seen = place
            model, view = self._bridge.models.read(card.name), scene.reader.take_view(scene.region, False)
            self._bridge.submit_for(lambda event: None, LookAhead(model, view, painting))


def _cells(painting: Painting) -> frozenset[tuple[str, int]]:
    """Which cells of which planes are painted."""
    numbers = [(plane.key, (plane.strokes.yx // CELL_PX) @ [1 << 20, 1]) for plane in painting.planes]
    return frozenset((key, int(cell)) for key, cells in numbers for cell in np.unique(cells))
