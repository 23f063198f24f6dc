"""The power spectrum of a plane in a few numbers, and how unlike it is to those a model was trained on. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_fewshot.core.intensity import Intensity

BLOCK_PX = 64
N_BINS = 8  # from 1 / 64 to 1 / 2 cycles a pixel, equally wide in octaves
MAXIMUM_BLOCKS = 144
LEAST_SPREAD = 0.15  # decades: no training set is more uniform than that
FAR = 3.0  # typical deviations; beyond, an image is unlike anything the model was trained on

Spectrum = tuple[float, ...]
_EDGES = np.geomspace(0.75 / BLOCK_PX, 0.5, N_BINS + 1)
_F = np.hypot(np.fft.fftfreq(BLOCK_PX)[:, None], np.fft.rfftfreq(BLOCK_PX)[None])
_BIN = np.digitize(_F, _EDGES) - 1  # -1 below, N_BINS beyond: not looked at
_WINDOW = np.outer(*[np.hanning(BLOCK_PX + 2)[1:-1]] * 2)


def spectrum(plane: np.ndarray) -> Spectrum:
    """Logarithm (base 10) of the power a frequency on the unit scale, in `N_BINS` rings of rising frequency.

    Planes smaller than 64 px are mirrored; larger ones are looked at in at most `MAXIMUM_BLOCKS` blocks.
    """
    unit = Intensity.measure(plane).to_unit(plane)
    fill = [(0, max(0, BLOCK_PX - n)) for n in unit.shape]
    unit = np.pad(unit, fill, mode="symmetric") if any(b for _, b in fill) else unit
    per_side = int(MAXIMUM_BLOCKS**0.5)
    starts = [np.unique(np.linspace(0, n - BLOCK_PX, min(per_side, 2 * n // BLOCK_PX)).astype(int)) for n in unit.shape]
    power = np.zeros(_F.shape)
    for y in starts[0]:
        for x in starts[1]:
            block = unit[y : y + BLOCK_PX, x : x + BLOCK_PX].astype(np.float64)
            power += np.abs(np.fft.rfft2((block - block.mean()) * _WINDOW)) ** 2
    power /= len(starts[0]) * len(starts[1]) * np.sum(_WINDOW**2)
    rings = [power[_BIN == ring].mean() for ring in range(N_BINS)]
    return tuple(round(float(v), 3) for v in np.log10(np.maximum(rings, 1e-8)))


def typical(spectra: Sequence[Spectrum]) -> tuple[Spectrum, Spectrum]:
    """Mean and standard deviation of many spectra, ring by ring: what a card keeps of a training set."""
    rings = np.array(spectra)  # (N, N_BINS)
    return tuple(rings.mean(0).round(3).tolist()), tuple(np.maximum(rings.std(0), LEAST_SPREAD).round(3).tolist())


def unlikeness(found: Spectrum, trained: tuple[Spectrum, Spectrum] | None) -> float | None:
    """How many typical deviations (root mean square over rings) a spectrum is from a training set's; None when unknown."""
    if trained is None or len(trained[0]) != len(found):
        return None
    mean, spread = (np.array(v) for v in trained)
    return float(np.sqrt(np.mean(((np.array(found) - mean) / spread) ** 2)))
