"""Draws clean micrographs of atoms that never were: columns as a scanned probe sees them, or phase contrast. Knows no network and no noise.

Clean pictures at atomic resolution do not exist: the dose that they need destroys the specimen. Their image formation is
known, though (linear approximations as in Kirkland, Advanced Computing in Electron Microscopy, 2010, chapter 3).
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter

from napari_fewshot.engine.pretexts.scenes import draw_field, draw_layout, frequencies

Rng = np.random.Generator

PERIOD_PX = 2.5, 40.0
EVEN_SHARE = 0.3  # of the crystals fill the field without hills or wedges


def draw_atoms(side_px: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Draw a crystal, or particles of it, and a support.

    Returns
    -------
    specimen : ndarray
        (side_px, side_px) float32, most of it in 0 .. 1.
    support : ndarray
        (side_px, side_px) float32: what it adds to the picture.
    """
    low, high = np.log(PERIOD_PX)
    period = float(np.exp(low + (high - low) * rng.random() ** 1.5))  # fine ones are hard
    thickness = _thickness(side_px, rng)
    columns = _columns(side_px, period, thickness, rng)
    if rng.random() < 0.5:
        specimen, support = _scanned(columns, period, thickness, rng), _film(side_px, rng)
    else:
        specimen, support = _phase_contrast(columns, period, rng)
    return specimen.astype(np.float32), support.astype(np.float32)


def _thickness(side: int, rng: Rng) -> np.ndarray:
    """(side, side), 0 where nothing is, about 1 elsewhere: wedges, hills and terraces of a crystal, or of particles."""
    if rng.random() < EVEN_SHARE:
        return np.ones((side, side), np.float32)
    hills = rng.uniform(0, 0.35) * draw_field(side, rng.uniform(0.15, 0.5) * side, rng)
    y, x = np.mgrid[:side, :side] / side - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    wedge = rng.uniform(0, 0.8) * (y * np.sin(angle) + x * np.cos(angle))
    thickness = np.clip(1 + hills + wedge, 0, None)
    if rng.random() < 0.3:
        terraces = rng.integers(2, 6)
        thickness = np.round(thickness * terraces) / terraces
    if rng.random() < 0.5:
        thickness = thickness * (draw_layout(side, rng, ("particles", "grains")) == 2)
    return thickness.astype(np.float32)


def _columns(side: int, period: float, thickness: np.ndarray, rng: Rng) -> np.ndarray:
    """Weights of the columns of a random lattice, as points between pixels; some are of another kind, or missing."""
    turn, opening = rng.uniform(0, np.pi), np.deg2rad(rng.choice([60.0, 90.0, rng.uniform(60, 90)]))
    lengths = period * np.array([1.0, rng.choice([1.0, rng.uniform(1.0, 1.7)])])
    basis = lengths[:, None] * np.array([[np.sin(a), np.cos(a)] for a in (turn, turn + opening)])
    n = int(2 * side / period) + 2
    cells = np.stack(np.meshgrid(np.arange(-n, n), np.arange(-n, n), indexing="ij"), -1).reshape(-1, 2)
    weights = np.zeros((side + 1, side + 1))
    for _ in range(rng.integers(1, 4)):  # the kinds of columns in a cell
        place, weight = rng.choice([0.0, 0.5, rng.random()], 2), rng.uniform(0.2, 1.0)
        at = (cells + place) @ basis + side / 2 + rng.normal(0, rng.uniform(0, 0.03) * period, (len(cells), 2))
        at = at[((at >= 0) & (at < side - 1)).all(1)]
        of_each = np.full(len(at), weight)
        of_each[rng.random(len(at)) < rng.choice([0.0, 0.05])] *= rng.choice([0.0, 0.5, 1.6])
        corner = at.astype(int)
        of_each *= thickness[corner[:, 0], corner[:, 1]]
        part = at - corner
        for dy in (0, 1):
            for dx in (0, 1):
                share = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
                np.add.at(weights, (corner[:, 0] + dy, corner[:, 1] + dx), of_each * share)
    return weights[:side, :side].astype(np.float32)


def _scanned(columns: np.ndarray, period: float, thickness: np.ndarray, rng: Rng) -> np.ndarray:
    """Scattered to a wide ring (HAADF): columns as wide as the probe, and its tails."""
    sigma = max(min(0.7, 0.25 * period), period * rng.uniform(0.1, 0.3))
    probe = gaussian_filter(columns, sigma) + rng.uniform(0, 0.4) * gaussian_filter(columns, 3 * sigma)
    image = probe / max(float(np.quantile(probe, 0.995)), 1e-6)
    return rng.uniform(0.4, 0.9) * image + rng.uniform(0, 0.2) * thickness + rng.uniform(0.02, 0.15)


def _film(side: int, rng: Rng) -> np.ndarray:
    """What a film scatters to a wide ring: grains of it, and dirt that the beam gathered."""
    grains = rng.uniform(0, 0.04) * draw_field(side, rng.uniform(0.7, 3.0), rng)
    dirt = rng.uniform(0, 0.1) * draw_field(side, rng.uniform(0.1, 0.4) * side, rng)
    return grains + dirt + rng.uniform(0, 0.1)


def _phase_contrast(columns: np.ndarray, period: float, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Weak phases of columns, and of an amorphous support, through the transfer function of a lens (HRTEM)."""
    side = len(columns)
    q2 = frequencies(side)
    edge = min(rng.uniform(0.8, 2.2) / period, 0.45)  # cycles per px that the lens still resolves
    swings = rng.uniform(0.5, 2.5)  # of the transfer function up to there
    transfer = np.sin(np.pi * swings * q2 / edge**2) * np.exp(-((q2 / edge**2) ** 2))
    atoms = gaussian_filter(columns, max(0.5, 0.08 * period))
    seen = []
    for phases, contrast in (
        (atoms, rng.uniform(0.03, 0.18)),
        (rng.standard_normal((side, side)), rng.uniform(0, 0.06)),
    ):
        wave = irfft2(rfft2(phases - phases.mean()) * transfer, (side, side))
        seen.append(contrast * wave / max(float(wave.std()), 1e-6))
    thick = gaussian_filter(columns, 1.5 * period)
    absorbed = rng.uniform(0, 0.15) * thick / max(float(thick.max()), 1e-6)  # or scattered too far
    return seen[0] - absorbed + rng.uniform(0.3, 0.6), seen[1]
