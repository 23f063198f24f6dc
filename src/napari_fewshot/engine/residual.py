"""What a restoration took away, judged: is there structure in it, and how much of a plane is a smooth background. Numpy only."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from napari_fewshot.core.tiles import middle_of
from napari_fewshot.engine.noise import Noise, middle

BACKGROUND = "remove_background"  # the task that takes away more than noise
LAGS_PX = (3, 6)  # further than any detector's noise is correlated, nearer than most structure is large
PROBE_PX = 512  # side of the noise that tells what is found by chance
BLURS_PX = np.arange(0, 2.05, 0.1)
BACKGROUND_PX = 12.0  # sigma of what counts as background in every direction
STREAK_PX = 40.0  # sigma along a streak or a curtain
REACH_PX = 160  # of the smoothing along a streak: four sigmas
BLOCKS_A_SIGMA = 4  # of which a wide Gaussian filter is made


def structure_left(residual: np.ndarray) -> float:
    """Autocorrelation (root mean square) of a (Y, X) residual at lags of 3 to 6 px: about 0 for noise, towards 1 for structure.

    The level is taken out first over some 30 px, so that an uneven background is not mistaken for structure; what
    finitely many pixels show by chance is subtracted.
    """
    x = np.nan_to_num(residual[middle(residual.shape)].astype(np.float64))
    x = x - gaussian_filter(x, 10.0)
    variance = float(np.mean(x**2))
    if variance <= 0:
        return 0.0
    lags = range(LAGS_PX[0], LAGS_PX[1] + 1)
    products = [np.mean(x[d:] * x[:-d]) for d in lags]
    products += [np.mean(x[:, d:] * x[:, :-d]) for d in lags]
    products += [np.mean(x[d:, d:] * x[:-d, :-d]) for d in lags]
    products += [np.mean(x[d:, :-d] * x[:-d, d:]) for d in lags]
    squared = float(np.mean(np.square(products))) / variance**2
    return float(np.sqrt(max(squared - 1 / x.size, 0.0)))


def blur_between(sharp: np.ndarray, given: np.ndarray) -> float:
    """Sigma, px, of the Gaussian that brings a sharpened picture (Y, X) nearest to what it was made of."""
    box = middle_of(sharp.shape, PROBE_PX)
    misfits = [float(np.mean((given[box] - gaussian_filter(sharp[box], sigma)) ** 2)) for sigma in BLURS_PX]
    return float(BLURS_PX[int(np.argmin(misfits))])


def structure_by_chance(noise: Noise, level: float) -> float:
    """What `structure_left` finds in noise alone that is correlated, or jumps from line to line, at one grey level."""
    flat = np.full((PROBE_PX, PROBE_PX), level, np.float32)
    return structure_left(noise.draw(flat, np.random.default_rng(0)))


def smooth_background(rest: np.ndarray, noise: Noise, level: float) -> np.ndarray:
    """What of ``rest`` = input - result is background: broad fields, and streaks or curtains where they exceed the noise.

    Parameters
    ----------
    rest : ndarray
        (Y, X), finite.
    noise : Noise
        Of the input, in the units of ``rest``.
    level : float
        Mean grey level of the input.

    Returns
    -------
    ndarray
        (Y, X) float32.
    """
    rest = rest.astype(np.float32)
    background = blurred(blurred(rest, BACKGROUND_PX, 0), BACKGROUND_PX, 1)
    for axis in (1, 0):  # charging streaks run along X, curtains along Y
        streaks = blurred(rest - background, STREAK_PX, axis)
        by_chance = noise.variance(np.array(level)) / (2 * np.sqrt(np.pi) * STREAK_PX)
        background += streaks * max(0.0, 1 - 2 * by_chance / max(float(streaks.var()), 1e-30))
    return background


def blurred(image: np.ndarray, sigma_px: float, axis: int) -> np.ndarray:
    """A Gaussian filter along one axis of a (Y, X) image, of blocks of pixels that are interpolated: faster by far."""
    lines = np.moveaxis(image, axis, 1)
    n, step = lines.shape[1], int(sigma_px / BLOCKS_A_SIGMA)
    starts = np.arange(0, n, step)
    sums, counts = np.add.reduceat(lines, starts, axis=1), np.minimum(step, n - starts).astype(np.float32)
    by_blocks = 1 / 12 + 1 / 6  # the variance, in blocks, that their width and the interpolation add
    sigma = np.sqrt(BLOCKS_A_SIGMA**2 - by_blocks)
    means = gaussian_filter1d(sums, sigma, axis=1) / gaussian_filter1d(counts, sigma)
    at = np.clip((np.arange(n) + 0.5) / step - 0.5, 0, len(starts) - 1)
    before = at.astype(int)
    after, share = np.minimum(before + 1, len(starts) - 1), (at - before).astype(np.float32)
    return np.moveaxis(means[:, before] * (1 - share) + means[:, after] * share, 1, axis)
