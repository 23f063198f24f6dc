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
    """Guards that the same pixels are looked at once by the same model, and that no job of the user waits for it.

    What follows ``look`` runs on the bridge's thread, in the order in which it was asked for.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._seen: tuple[object, ...] = ()
        self._job_id = ""
        bridge.busy_changed.connect(self._on_bridge_busy_changed)

    def look(self, card: ModelCard, scene: Scene) -> None:
        """Have the features of what is on display and painted computed; nobody is told of it, and nothing waits for it."""
        if not self._bridge.is_busy:
            self._bridge.call(partial(self._submit, card, scene), _say_nothing)

    def _on_bridge_busy_changed(self, is_busy: bool) -> None:
        if is_busy:  # comes before the job of the user is handed in
            self._bridge.call(self._stop, _say_nothing)

    def _stop(self) -> None:
        """Make way; what was seen so far stays seen, and the rest is looked at after the next stroke."""
        job_id, self._job_id = self._job_id, ""
        if job_id:
            self._seen = ()
            self._bridge.compute().stop(job_id)

    def _submit(self, card: ModelCard, scene: Scene) -> None:
        painting = scene.take_painting()
        place = card.id, scene.reader, scene.region.place, _cells(painting)
        if place != self._seen:
            model, view = self._bridge.models.read(card.name), scene.reader.take_view(scene.region, False)
            self._job_id = self._bridge.submit_for(lambda event: None, LookAhead(model, view, painting))
            self._seen = place  # not before: one that failed is tried again


def _say_nothing(result: object, error: Exception | None) -> None:
    """A look that fails costs the user nothing; the job to come will say why."""


def _cells(painting: Painting) -> frozenset[tuple[str, int]]:
    """Which cells of which planes are painted."""
    numbers = [(plane.key, (plane.strokes.yx // CELL_PX) @ [1 << 20, 1]) for plane in painting.planes]
    return frozenset((key, int(cell)) for key, cells in numbers for cell in np.unique(cells))
