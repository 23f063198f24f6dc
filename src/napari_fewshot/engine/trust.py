"""How far a restoration may be off: the same network asked again about planes that would look just as noisy. No GUI."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.engine.blend import Blend
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.predict import restore_unit

N_DRAWS = 4
SPREAD_PX = 1.5  # over which squared errors of the few draws are averaged, px of the input
SCALE = 1.0  # predicted to true error; benchmarks/restoration.py prints how many true values the intervals cover
FLOOR = 0.02  # of the unit scale: nobody is surer than that of a pixel


def draw_errors(
    generator: Generator,
    answer: np.ndarray,
    level: np.ndarray,
    noise: Noise,
    n: int = N_DRAWS,
    *,
    strength: float = 1.0,
    blend: Blend | None = None,
    seed: int = 0,
    listener: Listener = SILENT,
) -> list[np.ndarray]:
    """Errors that the network makes where the truth is known: a parametric bootstrap (Efron 1979) of the plane.

    The answer takes the place of the truth, noise as measured is put on it, every second time mirrored, and the
    network restores it again.

    Parameters
    ----------
    answer : ndarray
        (Y * factor, X * factor) on the unit scale.
    level : ndarray
        (Y, X), what the input would be without noise, on the same scale.
    noise : Noise
        On the same scale.
    n : int
        Planes that are restored.

    Returns
    -------
    list of ndarray
        ``n`` errors, float32, shape of ``answer``.
    """
    rng, same = np.random.default_rng(seed), Intensity(0.0, 1.0)
    errors = []
    for i in range(n):
        again = (level + noise.draw(np.clip(level, -0.2, 1.3), rng)).astype(np.float32)
        flip = slice(None, None, -1 if i % 2 else 1)
        found = restore_unit(generator, again[flip], same, strength=strength, blend=blend, listener=listener)[flip]
        errors.append(found - answer)
    return errors


def uncertainty(errors: list[np.ndarray], factor: int) -> np.ndarray:
    """One standard deviation of the error of each pixel, float32 on the scale of ``errors``; the bias counts too."""
    mean = np.mean([e**2 for e in errors], 0)
    return np.sqrt(SCALE**2 * gaussian_filter(mean, SPREAD_PX * factor) + FLOOR**2).astype(np.float32)
