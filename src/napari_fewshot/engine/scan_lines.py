"""How whole scan lines of a plane jump, in level and in place. Knows no other noise."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, minimum_filter

LINES_BAND = 0.1  # cycles/px along Y above which line levels are most of what the halves of lines have in common
JITTER_REACH_PX = 9  # of the smoothed slopes, across


def line_levels(x: np.ndarray, seen: np.ndarray) -> float:
    """Standard deviation of line levels: what the left and the right half of a line have in common, at most frequencies alike.

    Rows of a lattice have something in common too, but at a few frequencies only.
    """
    half, window = x.shape[1] // 2, np.hanning(len(x) + 2)[1:-1]
    parts = [(x[:, part], seen[:, part]) for part in (slice(half), slice(half, None))]
    levels = np.stack([(values * known).sum(1) / np.maximum(known.sum(1), 1) for values, known in parts])
    known = np.stack([known.any(1) for _, known in parts])
    levels = np.where(known, levels - (levels * known).sum(1, keepdims=True) / np.maximum(known.sum(1), 1)[:, None], 0)
    left, right = np.fft.rfft(levels * window)
    common = (left * right.conj()).real / np.sum(window**2)
    fine = np.fft.rfftfreq(len(x)) > LINES_BAND
    return float(np.sqrt(max(np.median(common[fine]) / np.log(2), 0.0)))


def line_shifts(x: np.ndarray, seen: np.ndarray, noise_std: float) -> float:
    """Standard deviation of line shifts, from how far each line fits better when shifted against its neighbours (px)."""
    smooth = gaussian_filter(x, 1.0)
    slope = np.gradient(smooth, axis=1)[1:-1] * minimum_filter(seen, JITTER_REACH_PX)[1:-1]
    step = x[1:-1] - (x[:-2] + x[2:]) / 2
    energy = np.sum(slope**2, 1)
    if energy.max() <= 0:
        return 0.0
    shift = np.sum(step * slope, 1) / np.maximum(energy, 1e-12)
    chance = 1.5 * noise_std**2 / np.maximum(energy, 1e-12)
    good = energy > np.median(energy) / 2
    return float(np.sqrt(max(np.mean(shift[good] ** 2 - chance[good]), 0.0) / 1.5))
