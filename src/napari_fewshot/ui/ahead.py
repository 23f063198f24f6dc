"""Has the worker see what is on display before the user asks for it. Knows no form and draws nothing."""

from __future__ import annotations

from functools import partial

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.job import LookAhead
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.scene import Scene


class Lookout:
    """Guards that the same region is looked at once by the same model."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._seen: tuple[object, ...] = ()

    def look(self, card: ModelCard, scene: Scene) -> None:
        """Have the features of the region on display computed; nobody is told of it, and nothing waits for it."""
        place = card.id, scene.reader, scene.region.place
        if place != self._seen and not self._bridge.is_busy:
            self._seen = place
            self._bridge.call(partial(self._submit, card.name, scene), lambda result, error: None)

    def _submit(self, model: str, scene: Scene) -> None:
        job = LookAhead(self._bridge.models.read(model), scene.reader.take_view(scene.region, False))
        self._bridge.submit_for(lambda event: None, job)
