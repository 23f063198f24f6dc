"""Keeps a denoised plane to its input: what was taken away may look like noise only. Knows no network.

A network that is shown what it never learned, such as a lattice finer than any it saw, may answer anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import uniform_filter

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.strength import N_SCALES, Taken, change_in_bands, starlet

LEAST = 1.4  # standard deviations of the noise at its scale that energy around a pixel may have before it counts as structure
AROUND_PX = 8  # of the finest scale
HALO_PX = 2**N_SCALES * (2 + AROUND_PX // 4)
TINY = 1e-20  # keeps a division by no energy at all away
PROBE_PX = 256  # side of the noise that tells what is left of it at each scale
SALT = 1951


def give_back(answer: np.ndarray, plane: np.ndarray, intensity: Intensity, noise: Noise) -> None:
    """Add to ``answer``, in place, what was taken away and is too strong to be noise.

    What was taken away is split into scales ("starlet"), and what stands out at one of them of the noise that was measured on
    the plane, correlated and jumping from line to line as that is, is given back, its noise with it.

    Parameters
    ----------
    answer : ndarray
        (Y, X) float32 on the unit scale.
    plane : ndarray
        (Y, X), what was denoised; pixels that are not finite give nothing back.
    noise : Noise
        Of the plane on the unit scale.
    """
    sigmas = expected_sigmas(noise, float(answer.mean()))

    def change(rest: np.ndarray, level: np.ndarray) -> np.ndarray:
        details, smooth = starlet(rest)
        allowed, found = LEAST**2 * noise.variance(level), np.zeros_like(rest)
        for scale, (part, sigma) in enumerate(zip((*details, smooth), sigmas, strict=True)):
            around_px = AROUND_PX * 2 ** min(scale, N_SCALES - 1) + 1
            energy = uniform_filter(part**2, around_px, mode="nearest")
            found += part * np.clip(1 - sigma**2 * allowed / np.maximum(energy, TINY), 0, 1)
        return found

    change_in_bands(answer, Taken(plane, intensity, 1, noise), change, HALO_PX)


def expected_sigmas(noise: Noise, level: float) -> Sequence[float]:
    """Standard deviation of noise at each scale, the smooth rest last, as a share of that of a pixel at ``level``."""
    flat = np.full((PROBE_PX, PROBE_PX), level, np.float32)
    drawn = noise.draw(flat, np.random.default_rng(SALT)) / np.float32(noise.std_at(level))
    details, smooth = starlet(drawn)
    return [float(part.std()) for part in (*details, smooth)]
