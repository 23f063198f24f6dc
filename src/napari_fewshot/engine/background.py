"""The background of a plane, told from afar by a network that removes noise and background. No tiles."""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import product

import numpy as np
import torch

from napari_fewshot.core.intensity import SAMPLE_PX, Intensity
from napari_fewshot.core.shelf import embedded_folder, read_model
from napari_fewshot.core.tiles import Box, Tile, whole_of
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.image import enlarge
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.look import zone_around
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.residual import smooth_background
from napari_fewshot.engine.tiled import network_answer
from napari_fewshot.tasks.degrade import bin_down

DENOISER = "em-denoise"
ZOOMS = (2, 4)  # at which the background is told
REACH_PX = 128  # of the reduced plane: a streak is smoothed along some three sigmas
GRID_PX = 30  # of the reduced plane: the blocks of which smoothing is made are the same wherever a box lies
BAND_ROWS = 256


class Background:
    """The background of a (Y, X) plane; guards that each zoom is looked at on one grey scale wherever in the plane."""

    def __init__(self, generator: Generator, plane: np.ndarray, intensity: Intensity) -> None:
        self.generator, self.plane, self.intensity = generator, plane, intensity

    def of(self, box: Box, listener: Listener) -> np.ndarray:
        """The background in a box on the unit scale, (y, x) float32 of any level: the mean of what is told at each zoom."""
        total = np.zeros([s.stop - s.start for s in box], np.float32)
        for zoom, own in self._scales.items():
            if own.is_flat:
                continue
            wide = zone_around(box, REACH_PX * zoom, GRID_PX * zoom, whole_of(self.plane.shape))
            small = self._reduced(wide, zoom)
            rest = own.to_scale(small)
            level = network_answer(self.generator, small, own, whole_of(small.shape), listener=listener)
            found = smooth_background(rest - level, Noise.measure(rest), float(rest.mean())) * (own.span / len(ZOOMS))
            fine = enlarge(torch.from_numpy(found.astype(np.float32))[None, None], zoom)[0, 0].numpy()
            total += fine[Tile(box, wide).keep()]
        return total

    def _reduced(self, box: Box, zoom: int) -> np.ndarray:
        """A box of the plane on its unit scale, ``zoom`` times coarser, (y, x) float32; bands of it are scaled at a time."""
        rows, part = BAND_ROWS * zoom, self.plane[box]
        bands = (self.intensity.to_scale(part[row : row + rows]) for row in range(0, len(part), rows))
        padded = (np.pad(band, [(0, -n % zoom) for n in band.shape], mode="edge") for band in bands)
        return np.concatenate([bin_down(band, zoom) for band in padded])

    @cached_property
    def _scales(self) -> dict[int, Intensity]:
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


@lru_cache(maxsize=2)
def denoiser(device: str) -> Generator:
    """The embedded generator that is best at noise."""
    return Generator.from_file(read_model(embedded_folder() / DENOISER), device)
