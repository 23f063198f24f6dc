"""Joins objects of planes that come from several workers, in the order of the stack. Knows no worker."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np

from napari_fewshot.compute.events import Event, PlaneDone
from napari_fewshot.compute.threads import in_thread
from napari_fewshot.core.joiner import Joiner
from napari_fewshot.core.measures import Measures
from napari_fewshot.core.picture import Picture, PlaneIndex


class JoinedObjects:
    """Guards that planes are joined in the order in which they were asked for, whenever they come.

    Parameters
    ----------
    picture : Picture
    indices : tuple of PlaneIndex
        In the order of `core.objects.along_z`.
    """

    def __init__(self, picture: Picture, indices: tuple[PlaneIndex, ...]) -> None:
        self._order = {index: n for n, index in enumerate(indices)}
        self._joiner = Joiner(picture, len(indices) > 1)
        self._n_taken = 0
        self._changed = asyncio.Condition()

    @property
    def measures(self) -> Measures:
        return self._joiner.measures

    async def take(self, index: PlaneIndex, event: Event, image: np.ndarray | None) -> Event:
        """Wait for the planes before this one, then give its outlines their ids in the stack."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._n_taken == self._order[index])
            if isinstance(event, PlaneDone) and image is not None:
                event = await in_thread(self._join, event, image)
            self._n_taken += 1
            self._changed.notify_all()
        return event

    def _join(self, event: PlaneDone, image: np.ndarray) -> PlaneDone:
        return replace(event, values=self._joiner.join(event.index, event.values, image))
