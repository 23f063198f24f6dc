"""The background of a plane, told from afar by a network that removes noise and background. No tiles."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from itertools import product
from typing import Any

import numpy as np
import torch

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.intensity import SAMPLE_PX, Intensity
from napari_fewshot.core.shelf import CARD, embedded_folder, read_model
from napari_fewshot.core.tiles import Box, Tile, whole_of
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.image import enlarge
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.look import zone_around
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.residual import blurred, smooth_background
from napari_fewshot.engine.tiled import network_answer
from napari_fewshot.tasks.degrade import bin_down

DENOISERS = ("em-denoise", "em-denoise-base")
ZOOMS = {2: 0.25, 4: 0.75}  # at which the background is told, and how much each counts
TEXTURE_PX, AREA_PX = 12, 32  # sigmas: what is finer is fine structure, and over how far its contrast is told
CONTRAST_REACH_PX = 3 * AREA_PX
SPARE = 4  # both are smooth: every fourth pixel of every fourth row says all
REACH_PX = 128  # of the reduced plane: a streak is smoothed along some three sigmas
GRID_PX = 30  # of the reduced plane: the blocks of which smoothing is made are the same wherever a box lies
BAND_ROWS = 256


class Background:
    """The background of a (Y, X) plane; guards that each zoom is looked at on one grey scale wherever in the plane."""

    def __init__(self, generator: Generator, plane: np.ndarray, intensity: Intensity) -> None:
        self.generator, self.plane, self.intensity = generator, plane, intensity

    def of(self, box: Box, listener: Listener) -> np.ndarray:
        """The background in a box on the unit scale, (y, x) float32 of any level: the weighted mean of what is told at the zooms."""
        total = np.zeros([s.stop - s.start for s in box], np.float32)
        for zoom, own in self.scales.items():
            if own.is_flat:
                continue
            wide = zone_around(box, REACH_PX * zoom, GRID_PX * zoom, whole_of(self.plane.shape))
            small = self.reduced(wide, zoom)
            rest = own.to_scale(small)
            level = network_answer(self.generator, small, own, whole_of(small.shape), listener=listener)
            found = smooth_background(rest - level, Noise.measure(rest), float(rest.mean())) * (own.span * ZOOMS[zoom])
            fine = enlarge(torch.from_numpy(found.astype(np.float32))[None, None], zoom)[0, 0].numpy()
            total += fine[Tile(box, wide).keep()]
        return total

    def reduced(self, box: Box, zoom: int) -> np.ndarray:
        """A box of the plane on its unit scale, ``zoom`` times coarser, (y, x) float32; bands of it are scaled at a time."""
        rows, part = BAND_ROWS * zoom, self.plane[box]
        bands = (self.intensity.to_scale(part[row : row + rows]) for row in range(0, len(part), rows))
        padded = (np.pad(band, [(0, -n % zoom) for n in band.shape], mode="edge") for band in bands)
        return np.concatenate([bin_down(band, zoom) for band in padded])

    @cached_property
    def scales(self) -> dict[int, Intensity]:
        """The grey scale of the plane reduced by each zoom, by a sample of its areas."""
        scales = {}
        for zoom in ZOOMS:
            step = zoom * max(1, int(np.sqrt(self.plane.size / SAMPLE_PX) / zoom))
            n_rows, n_columns = (-(-(n - zoom + 1) // step) for n in self.plane.shape)
            areas = np.zeros((n_rows, n_columns), np.float32)
            for i, j in product(range(zoom), repeat=2):
                areas += self.intensity.to_scale(self.plane[i::step, j::step][:n_rows, :n_columns])
            scales[zoom] = Intensity.measure(areas / np.float32(zoom**2))
        return scales


@dataclass
class Contrast:
    """How much of a background goes with the contrast of fine structure: that part is specimen and stays.

    What adds to the grey level, such as dirt or uneven light, leaves the contrast of a lattice or a texture as it is; where the
    specimen is thicker, both change. The background is regressed on the contrast, and the part that this explains counts by the
    squared correlation, less what few areas show by chance. Guards that the sums of all parts of a plane are made in the same way.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))

    def add(self, background: np.ndarray, contrast: np.ndarray) -> None:
        """A part of the plane, (Y, X) each."""
        seen = [part[::SPARE, ::SPARE].ravel().astype(np.float64) for part in (background, contrast)]
        parts = np.stack([np.ones_like(seen[0]), *seen])
        self.sums += parts @ parts.T

    def mean_without(self, slope: float) -> float:
        """The mean of the background without what is specimen."""
        mean = self.sums[0] / max(self.sums[0, 0], 1.0)
        return float(mean[1] - slope * mean[2])

    @property
    def slope(self) -> float:
        """What of the background is specimen, for each unit of contrast."""
        n = max(self.sums[0, 0], 1.0)
        mean = self.sums[0] / n
        covariance = self.sums / n - np.outer(mean, mean)
        of_background, of_contrast, shared = covariance[1, 1], covariance[2, 2], covariance[1, 2]
        n_areas = n * (SPARE / (2 * AREA_PX)) ** 2
        if min(of_background, of_contrast) <= 1e-12 or n_areas <= 2:
            return 0.0
        explained = 1 - (1 - shared**2 / (of_background * of_contrast)) * (n_areas - 1) / (n_areas - 2)
        return float(shared / of_contrast * max(explained, 0.0))


def contrast(unit: np.ndarray) -> np.ndarray:
    """The local standard deviation of fine structure in a restored (Y, X) plane, float32."""
    fine = unit - _smooth(unit, TEXTURE_PX)
    return np.sqrt(_smooth(fine**2, AREA_PX).clip(0))


def _smooth(image: np.ndarray, sigma_px: float) -> np.ndarray:
    return blurred(blurred(image, sigma_px, 0), sigma_px, 1)


def denoiser(remover: Generator) -> Generator:
    """The embedded generator that is best at noise, as large as a remover of backgrounds; the smallest where none is."""
    as_large = (name for name in DENOISERS if _net_of(name) == remover.card.net)
    return _embedded(next(as_large, DENOISERS[0]), remover.device)


@cache
def _net_of(name: str) -> dict[str, Any]:
    return ModelCard.from_json((embedded_folder() / name / CARD).read_text("utf-8")).net


@lru_cache(maxsize=2 * len(DENOISERS))
def _embedded(name: str, device: str) -> Generator:
    return Generator.from_file(read_model(embedded_folder() / name), device)
