"""Restores one plane region by region, all alike, so that the memory it takes does not depend on its size. Knows no file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.tiles import Box, Tile, plan_tiles, whole_of
from napari_fewshot.engine.background import CONTRAST_REACH_PX, Background, Contrast, contrast, denoiser
from napari_fewshot.engine.blend import SMALLEST_PX as SMALLEST_BLENDED_PX
from napari_fewshot.engine.blend import Blend, parts
from napari_fewshot.engine.device import as_memory_error
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.guard import HALO_PX as GUARD_HALO_PX
from napari_fewshot.engine.guard import give_back
from napari_fewshot.engine.listen import SILENT, Listener, PartOf
from napari_fewshot.engine.noise import Noise, middle
from napari_fewshot.engine.residual import BACKGROUND
from napari_fewshot.engine.settle import CONSISTENT_SIGMAS, finite_pixels, keep_consistent, level_off
from napari_fewshot.engine.strength import HALO_PX as STRENGTH_HALO_PX
from napari_fewshot.engine.strength import apply_strength
from napari_fewshot.engine.tiled import network_answer

DENOISE = "denoise"  # the task
REGION_PX = 2048  # side of a region of the answer
N_SCOUTS = 4  # regions that wait for each other, to know by how much the network is off the level
HALO_PX = 16  # the noise at a pixel is told by its neighbours, and so is whether an answer is consistent
SMALLEST_HELPED_PX = 128  # a background is told from afar


class Answer(NamedTuple):
    """What a box of a plane is restored to, and what is taken away as its background; float32 on the unit scale.

    ``unit`` is (y * factor, x * factor), ``background`` (y, x), or None where it is not known apart from noise. Until it is settled
    the background is in ``unit`` too. ``change`` is what another strength than 1 added to ``unit``, None for nothing.
    """

    unit: np.ndarray
    background: np.ndarray | None = None
    change: np.ndarray | None = None


class Levels(NamedTuple):
    """What the answers of all regions of a plane have in common, on the unit scale.

    ``off`` is by how much they are below the level of the plane, ``background`` the mean of their backgrounds.
    """

    off: float = 0.0
    background: float = 0.0


class Restorer:
    """Restores a plane; guards that what is measured of the plane is measured once, and used for all of its regions.

    A denoised plane is a blend of what the network answers at three zooms, see `blend.Blend`, and what was taken away but cannot be
    noise is given back, see `guard.give_back`. At another
    strength than 1 less noise stays and more detail goes, or the other way round, see `strength.apply_strength`. A
    super-resolution is made consistent with its input, see `settle.keep_consistent`.

    Noise and background are taken away by two generators. A background is smooth: it is told where the plane is reduced, as the
    network then sees more of it and there is less noise; noise is fine, and the embedded denoiser is better at it. For a plane too
    small to be reduced the network answers alone.

    Parameters
    ----------
    plane : ndarray
        (Y, X), any real dtype.
    blend : Blend or None
    noise : Noise or None
        Of the plane, on the unit scale. None measures them.
    specimen : float or None
        How much of the background is specimen, see `background.Contrast`; None measures it.
    alone : bool
        The network answers alone in any case.
    tile_px : int or None
        Side of the inner tiles; None chooses by device.
    helper : Restorer or None
        Who takes away the noise before a background; None for the embedded denoiser.
    """

    def __init__(
        self, generator: Generator, plane: np.ndarray, intensity: Intensity, *, strength: float = 1.0,
        blend: Blend | None = None, noise: Noise | None = None, specimen: float | None = None, alone: bool = False,
        tile_px: int | None = None, helper: Restorer | None = None,
    ) -> None:  # fmt: skip
        self.generator, self.plane, self.intensity = generator, plane, intensity
        self.strength, self.tile_px, self._blend, self._noise = strength, tile_px, blend, noise
        self.specimen = specimen
        self._sigmas: Sequence[float] | None = None
        self._helper: Restorer | None = None
        card = generator.card
        if not alone and is_seen_from_afar(card, plane.shape):
            self._helper = helper or Restorer(denoiser(generator), plane, intensity, strength=strength, tile_px=tile_px)
            self._background = Background(generator, plane, intensity)

    @cached_property
    def noise(self) -> Noise:
        """Of the plane, on the unit scale."""
        return self._noise or Noise.measure(self.intensity.to_scale(self.plane[middle(self.plane.shape)]))

    @cached_property
    def blend(self) -> Blend | None:
        """How zooms are blended; None where the task is not denoising, or the network alone is what there is memory for."""
        plane, generator = self.plane, self.generator
        if generator.card.task != DENOISE or min(plane.shape) < SMALLEST_BLENDED_PX or self.intensity.is_flat:
            return None
        if self._blend is not None:
            return self._blend
        crops = (self.intensity.to_unit(plane[box]) for box in parts(plane.shape))
        try:
            with as_memory_error():
                return Blend.measure(generator.network, crops, self.noise, generator.device)
        except MemoryError:
            return None

    def regions(self, listener: Listener = SILENT, more_px: int = 0) -> Iterator[tuple[Tile, Answer]]:
        """Regions of the plane, and what the outer box of each is restored to, with the mean of the plane.

        Parameters
        ----------
        more_px : int
            How much further the outer boxes are to reach.

        Raises
        ------
        ComputeError
            Not enough memory even for the smallest tile.
        StopRequested
            The listener asked to stop.
        """
        regions, began = self._plan(more_px), time.perf_counter()
        n_scouts = min(N_SCOUTS, len(regions))
        waiting: list[tuple[Tile, Answer]] = []
        levels = Levels()
        for n, region in enumerate(regions):
            told = PartOf(listener, n, len(regions), began) if len(regions) > 1 else listener
            waiting.append((region, self._answer(region.outer, told)))
            if n + 1 < n_scouts:
                continue
            if n + 1 == n_scouts:
                levels = self._levels(waiting)
            while waiting:
                region, answer = waiting.pop(0)
                yield region, self._settled(region.outer, answer, levels)

    def whole(self, listener: Listener = SILENT) -> np.ndarray:
        """All of a plane that is small enough, (Y * factor, X * factor) float32 on the unit scale."""
        box = whole_of(self.plane.shape)
        answer = self._answer(box, listener)
        return self._settled(box, answer, self._levels([(Tile(box, box), answer)])).unit

    @property
    def tells_background(self) -> bool:
        """Whether answers come with their background."""
        return self._helper is not None

    def _plan(self, more_px: int) -> list[Tile]:
        """Regions, those first that tell the level: they are spread over the plane."""
        asked = self._helper or self
        network, blend = asked.generator.network, asked.blend
        align_px = network.align_px if blend is None else blend.reach(network).align_px
        halo_px = HALO_PX + more_px + (STRENGTH_HALO_PX if self.strength != 1 else 0)
        halo_px += GUARD_HALO_PX if asked.generator.card.task == DENOISE else 0
        halo_px += CONTRAST_REACH_PX if self._helper else 0
        regions = plan_tiles(self.plane.shape, REGION_PX // self.generator.card.factor, halo_px, align_px)
        first = {int((i + 0.5) * len(regions) / N_SCOUTS) for i in range(N_SCOUTS)}
        return [r for i, r in enumerate(regions) if i in first] + [r for i, r in enumerate(regions) if i not in first]

    def _answer(self, box: Box, listener: Listener) -> Answer:
        """What a box is restored to, of any level."""
        if self._helper is not None:
            unit, _, change = self._helper._answer(box, listener)
            return Answer(unit, self._background.of(box, listener), change)
        card, part = self.generator.card, self.plane[box]
        if self.intensity.is_flat:  # nothing is there, and what a network makes of nothing is no structure
            return Answer(self.intensity.to_scale(part).repeat(card.factor, 0).repeat(card.factor, 1))
        unit = network_answer(
            self.generator, self.plane, self.intensity, box, blend=self.blend, listener=listener, tile_px=self.tile_px
        )
        if card.task == DENOISE:
            give_back(unit, part, self.intensity, self.noise)
        change = None
        if self.strength != 1:
            change = -unit
            self._sigmas = apply_strength(
                unit, part, self.intensity, self.strength, factor=card.factor, has_background=card.task == BACKGROUND,
                noise=self.noise, sigmas=self._sigmas,
            )  # fmt: skip
            change += unit
        return Answer(unit, change=change)

    def _levels(self, found: Sequence[tuple[Tile, Answer]]) -> Levels:
        """What regions that were restored say of all."""
        factor, total, n, shared = self.generator.card.factor, 0.0, 0, Contrast()
        for region, answer in found:
            off, n_pixels = level_off(answer.unit[region.keep(factor)], self.plane[region.inner], self.intensity)
            total, n = total + off, n + n_pixels
            if answer.background is not None:
                shared.add(answer.background[region.keep()], contrast(answer.unit)[region.keep()])
        self.specimen = shared.slope if self.specimen is None else self.specimen
        return Levels(total / max(n, 1), shared.mean_without(self.specimen))

    def _settled(self, box: Box, answer: Answer, levels: Levels) -> Answer:
        """An answer at the level of the plane without its background, and consistent with it."""
        (unit, background, _), factor, part = answer, self.generator.card.factor, self.plane[box]
        if background is not None:
            background -= np.float32(self.specimen or 0.0) * contrast(unit) + np.float32(levels.background)
            unit -= background
        unit += np.float32(levels.off)
        if factor > 1 and not self.intensity.is_flat:
            # who asks for more smoothing than the noise allows gets it, and is told how far off it is
            sigmas, scaled = CONSISTENT_SIGMAS * max(1.0, self.strength), self.intensity.to_scale(part)
            keep_consistent(unit, scaled, factor, self.noise, sigmas, finite_pixels(part))
        return answer


def is_seen_from_afar(card: ModelCard, shape: tuple[int, ...]) -> bool:
    """Whether a model tells the background of a plane (Y, X) at the zooms of `background`, and leaves the noise to another."""
    return card.task == BACKGROUND and min(shape) >= SMALLEST_HELPED_PX


def in_units_of(plane: np.ndarray, answer: np.ndarray, intensity: Intensity, factor: int) -> np.ndarray:
    """An answer on the unit scale in the dtype and range of its plane; pixels that were not finite are so again."""
    values = intensity.from_unit(answer, plane.dtype)
    if values.dtype.kind == "f":
        bad = ~np.isfinite(plane)
        if bad.any():
            values[bad.repeat(factor, 0).repeat(factor, 1)] = np.nan
    return values


def empty_for(plane: np.ndarray, factor: int) -> np.ndarray:
    """Room for the restored plane: (Y * factor, X * factor) in the dtype of its input, floats as float32."""
    return np.empty(tuple(n * factor for n in plane.shape), np.float32 if plane.dtype.kind == "f" else plane.dtype)
