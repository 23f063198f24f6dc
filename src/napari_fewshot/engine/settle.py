"""What is held a restored plane to: the mean of its input, and what its input says of each pixel area. Runs no network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_fewshot.core.intensity import Intensity, limits_of
from napari_fewshot.engine.heads.image import enlarge
from napari_fewshot.engine.noise import Noise
from napari_fewshot.tasks.degrade import bin_down

CONSISTENT_SIGMAS = 1.0  # of the noise: how far the areas of a finer image may be from the pixels of its input
A_LITTLE_LESS = 0.98  # is aimed at, so that rounding to integers leaves it true
OUTLIERS = 0.009  # share of the pixels that may be further away: noise is, and to bring the furthest back draws specks
LEVEL_PX = 2.0  # sigma over which a noisy plane is averaged to tell the level of its noise
ROUNDS = 2
BALANCE_STEPS = 8
BAND_ROWS = 256  # of the input, enlarged at a time
MARGIN_PX = 4  # the reach of the bicubic kernel, rounded up


def level_off(answer: np.ndarray, plane: np.ndarray, intensity: Intensity) -> tuple[float, int]:
    """By how much an answer on the unit scale is below its plane, summed over the finite pixels of the plane; and their number."""
    seen, factor = finite_pixels(plane), len(answer) // len(plane)
    known = plane if seen is None else plane[seen]
    found = answer if seen is None else answer[seen.repeat(factor, 0).repeat(factor, 1)]
    if not known.size:
        return 0.0, 0
    wanted = (float(np.mean(known, dtype=np.float64)) - intensity.low) / intensity.span
    return known.size * (wanted - float(np.mean(found, dtype=np.float64))), known.size


def keep_mean(values: np.ndarray, plane: np.ndarray) -> None:
    """Shift a restored plane, in place, so that its mean is that of its input, integers by whole levels; finite pixels count."""
    off = mean_of(plane) - mean_of(values)
    if values.dtype.kind == "f":
        values += np.float32(off)
    elif values.dtype.kind in "ui" and (levels := round(off)):
        limits = limits_of(values.dtype)
        for rows in _rows(values):
            values[rows] = np.clip(values[rows].astype(np.float64) + levels, *limits)


def mean_of(plane: np.ndarray) -> float:
    """Mean of the finite pixels of a (Y, X) plane; 0 where there are none."""
    total, n = 0.0, 0
    for rows in _rows(plane):
        part, seen = plane[rows], finite_pixels(plane[rows])
        known = part if seen is None else part[seen]
        total, n = total + float(np.sum(known, dtype=np.float64)), n + known.size
    return total / max(n, 1)


def _rows(plane: np.ndarray) -> Iterator[slice]:
    return (slice(row, row + BAND_ROWS) for row in range(0, len(plane), BAND_ROWS))


def finite_pixels(plane: np.ndarray) -> np.ndarray | None:
    """(Y, X) bool; None where all are finite."""
    seen = np.isfinite(plane) if plane.dtype.kind == "f" else None
    return None if seen is None or seen.all() else seen


def keep_consistent(
    answer: np.ndarray, scaled: np.ndarray, factor: int, noise: Noise | None = None, sigmas: float = CONSISTENT_SIGMAS,
    seen: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Bring 99 % of the pixel areas of an answer to within ``sigmas`` of the noise of its input, in place, by back-projection.

    What is further away is added smoothly a few times (Irani & Peleg 1991), and what is left then, as it is; the furthest
    pixels are taken for noise. The mean of the answer becomes that of its input.

    Parameters
    ----------
    answer : ndarray
        (Y * factor, X * factor) float32 on the unit scale.
    scaled : ndarray
        (Y, X), the input on the same scale.
    noise : Noise or None
        Of ``scaled``; None measures it.
    seen : ndarray or None
        (Y, X) bool, the pixels whose mean counts; None for all.
    """
    noise = noise or Noise.measure(scaled)
    limit = sigmas * A_LITTLE_LESS * noise_std(scaled, noise)
    limit[_furthest(np.abs(scaled - bin_down(answer, factor)) / limit)] = np.inf
    for _ in range(ROUNDS):
        away = scaled - bin_down(answer, factor)
        _add_enlarged(answer, (away - np.clip(away, -limit, limit)).astype(np.float32), factor, smooth=True)
    away = scaled - bin_down(answer, factor)
    _add_enlarged(answer, (away - _balanced(away, limit, seen)).astype(np.float32), factor, smooth=False)


def _furthest(away: np.ndarray) -> np.ndarray:
    """Which pixels are outliers, (Y, X) bool, by how many limits they are away."""
    outliers: np.ndarray = away > max(1.0, float(np.quantile(away, 1 - OUTLIERS)))
    return outliers


def _balanced(away: np.ndarray, limit: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """Clip to +-``limit`` with the level moved such that the mean becomes zero: clipping skewed noise shifts it."""
    level, counted = 0.0, (away, limit) if seen is None else (away[seen], limit[seen])
    for _ in range(BALANCE_STEPS):
        level += float(np.mean(np.clip(counted[0] - level, -counted[1], counted[1])))
    return np.clip(away - level, -limit, limit)


def noise_std(scaled: np.ndarray, noise: Noise) -> np.ndarray:
    """Standard deviation of the noise of each pixel of a noisy plane, (Y, X)."""
    return np.sqrt(noise.variance(gaussian_filter(scaled, LEVEL_PX)))


def _add_enlarged(answer: np.ndarray, excess: np.ndarray, factor: int, smooth: bool) -> None:
    for row in range(0, len(excess), BAND_ROWS):
        first = max(0, row - MARGIN_PX)
        part = excess[first : row + BAND_ROWS + MARGIN_PX]
        if smooth:
            fine = enlarge(torch.from_numpy(part)[None, None], factor)[0, 0].numpy()
        else:
            fine = part.repeat(factor, 0).repeat(factor, 1)
        fine = fine[(row - first) * factor :][: BAND_ROWS * factor]
        answer[row * factor : row * factor + len(fine)] += fine
