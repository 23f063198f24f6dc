"""How an electron microscope spoils a picture: dose, detector, scan lines, defocus, charging, curtains, background.

All functions take and return (Y, X) float32; grey level 1 is the brightest structure.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

Rng = np.random.Generator
DOSES = 4.0, 400.0  # electrons per pixel at grey level 1


def add_noise(clean: np.ndarray, rng: Rng) -> np.ndarray:
    """Shot noise of a random dose, then what a random detector adds: a camera (TEM) or a scanned beam (SEM, STEM)."""
    dose = float(np.exp(rng.uniform(*np.log(DOSES))))
    level = 0.06 + 0.75 * clean  # leaves room below and above, as a micrograph does
    noisy = camera(level, dose, rng) if rng.random() < 0.5 else scanned_beam(level, dose, rng)
    return ((noisy - 0.06) / 0.75).astype(np.float32)


def camera(level: np.ndarray, dose: float, rng: Rng) -> np.ndarray:
    """Shot noise, correlated by the point spread of the scintillator, and the noise of reading it out."""
    noisy = gaussian_filter(count_electrons(level, dose, rng), rng.uniform(0.0, 0.8))
    return noisy + rng.normal(0, rng.uniform(0, 0.03), level.shape)


def scanned_beam(level: np.ndarray, dose: float, rng: Rng) -> np.ndarray:
    """Shot noise along scan lines that jitter, glow after and flicker, and the noise of the amplifier."""
    if rng.random() < 0.5:
        level = jitter_rows(level, rng.uniform(0.2, 0.7), rng)
    noisy = after_glow(count_electrons(level, dose, rng), rng.uniform(0.0, 0.35))
    noisy = noisy * (1 + rng.normal(0, rng.uniform(0, 0.03), (len(noisy), 1)))
    return noisy + rng.normal(0, rng.uniform(0, 0.03), level.shape)


def count_electrons(level: np.ndarray, dose: float, rng: Rng) -> np.ndarray:
    """Poisson counts of ``dose`` electrons per pixel at level 1, brought back to levels."""
    return rng.poisson(np.clip(level, 0, None) * dose) / dose


def after_glow(image: np.ndarray, share: float) -> np.ndarray:
    """Each pixel keeps ``share`` of its predecessor on the scan line: a detector slower than the beam."""
    out = image.copy()
    out[:, 1:] = (1 - share) * image[:, 1:] + share * image[:, :-1]
    return out


def blur(image: np.ndarray, sigma_px: float, rng: Rng) -> np.ndarray:
    """Defocus with a little astigmatism: a Gaussian up to a third wider along one axis than along the other."""
    stretch = float(np.exp(rng.uniform(-0.15, 0.15)))
    return gaussian_filter(image, (sigma_px * stretch, sigma_px / stretch))


def jitter_rows(image: np.ndarray, sigma_px: float, rng: Rng) -> np.ndarray:
    """Shift each scan line by a smooth random walk of ``sigma_px``."""
    shift = gaussian_filter1d(rng.normal(0, 1, len(image)), 1.0)
    shift *= sigma_px / (shift.std() + 1e-6)
    y, x = np.indices(image.shape, dtype=np.float32)
    return map_coordinates(image, [y, x + shift[:, None]], order=1, mode="nearest")


def background_field(shape: tuple[int, int], rng: Rng) -> np.ndarray:
    """A smooth second-order field, broad blobs, and at random charging streaks or curtains; zero mean."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    y, x = y[:, None], x[None]
    a = rng.normal(0, 1, 5)
    field = a[0] * y + a[1] * x + a[2] * x * y + a[3] * (y**2 - 1 / 3) + a[4] * (x**2 - 1 / 3)
    field *= rng.uniform(0.05, 0.2) / (field.std() + 1e-6)
    for _ in range(rng.integers(0, 4)):
        cy, cx, width = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.15, 0.7)
        field = field + rng.choice([-1, 1]) * rng.uniform(0.1, 0.35) * np.exp(
            -((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2)
        )
    if rng.random() < 0.3:
        field = field + charging(shape, rng)
    elif rng.random() < 0.3:
        field = field + curtains(shape, rng)
    return (field - field.mean()).astype(np.float32)


def charging(shape: tuple[int, int], rng: Rng) -> np.ndarray:
    """Streaks along the scan lines that fade until the line's end, and a few spots with long tails."""
    streaks = _stripes(shape[0], rng)[:, None] * np.linspace(1, rng.uniform(0.3, 1), shape[1])[None]
    x = np.arange(shape[1])
    for _ in range(rng.integers(0, 4)):
        row, start, length = rng.integers(shape[0]), rng.integers(shape[1]), rng.uniform(0.1, 0.5) * shape[1]
        tail = np.where(x >= start, np.exp(-np.maximum(x - start, 0) / length), 0)
        streaks[row : row + rng.integers(1, 5)] += rng.choice([-1, 1]) * rng.uniform(0.05, 0.25) * tail
    return streaks.astype(np.float32)


def curtains(shape: tuple[int, int], rng: Rng) -> np.ndarray:
    """Vertical stripes that an ion beam mills below hard grains; they grow or fade with depth."""
    depth = np.linspace(rng.uniform(0.3, 1), rng.uniform(0.3, 1), shape[0])[:, None]
    return (depth * _stripes(shape[1], rng)[None]).astype(np.float32)


def bin_down(image: np.ndarray, factor: int) -> np.ndarray:
    """Area-average ``factor`` x ``factor`` pixels into one; rows and columns that do not fill one are cut off."""
    h, w = (n // factor * factor for n in image.shape)
    return image[:h, :w].reshape(h // factor, factor, w // factor, factor).mean((1, 3), dtype=np.float32)


def _stripes(n: int, rng: Rng) -> np.ndarray:
    lines = gaussian_filter1d(rng.normal(0, 1, n), rng.uniform(1, 6))
    return lines * rng.uniform(0.02, 0.1) / (lines.std() + 1e-6)
