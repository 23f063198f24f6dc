"""Draws clean micrographs that never were, with the class of every pixel. Knows no network and no noise.

Real micrographs are noisy themselves and few of them are labelled; a drawn scene is clean and labelled to the pixel, and
its kinds (grains, particles, cells, fibres, layers) times its textures (smooth, rough, lattice, stripes) are without end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

Rng = np.random.Generator


def draw_scene(side_px: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Draw one scene.

    Returns
    -------
    image : ndarray
        (side_px, side_px) float32, most of it in 0 .. 1.
    classes : ndarray
        (side_px, side_px) uint8, 1 .. K; K is 2 to 4.
    """
    classes = draw_layout(side_px, rng)
    if rng.random() < 0.25:  # things inside things
        inner = draw_layout(side_px, rng)
        classes = np.where((classes == classes.max()) & (inner == 2), classes.max() + 1, classes)
    n = int(classes.max())
    greys = _greys(n, rng)
    image = np.zeros((side_px, side_px), np.float32)
    blurred = rng.uniform(0.0, 1.2)
    for k in range(1, n + 1):
        share = gaussian_filter((classes == k).astype(np.float32), blurred) if blurred > 0.3 else classes == k
        image += share * (greys[k - 1] + _texture(side_px, rng))
    if rng.random() < 0.2:  # the bright edges of secondary electrons
        image += rng.uniform(0.1, 0.4) * np.exp(-_edge_distance(classes) / rng.uniform(1, 4))
    return image.astype(np.float32), classes.astype(np.uint8)


def draw_layout(side_px: int, rng: Rng, names: Sequence[str] | None = None) -> np.ndarray:
    """(side_px, side_px) uint8 classes 1 .. K of one of the `LAYOUTS`, or of those that are named."""
    known = list(names or LAYOUTS)
    return LAYOUTS[known[rng.integers(len(known))]](side_px, rng)


def _greys(n: int, rng: Rng) -> np.ndarray:
    """Grey level of each class; at times two share one and only texture or shape tells them apart."""
    greys = rng.permutation(np.linspace(rng.uniform(0.1, 0.35), rng.uniform(0.6, 0.9), n)) + rng.normal(0, 0.05, n)
    if rng.random() < 0.2:
        greys[rng.integers(n)] = greys[rng.integers(n)]
    return greys.astype(np.float32)


def _grains(side: int, rng: Rng) -> np.ndarray:
    """Phases of an alloy: level sets of a smooth random field."""
    field = draw_field(side, float(np.exp(rng.uniform(np.log(2.5), np.log(24)))), rng)
    n = int(rng.integers(2, 4))
    cuts = np.sort(rng.uniform(-1.3, 1.3, n - 1))
    return np.digitize(field, cuts).astype(np.uint8) + 1


def _particles(side: int, rng: Rng) -> np.ndarray:
    """Ellipses on a ground, some with a rim."""
    radius = float(np.exp(rng.uniform(np.log(3.0), np.log(40.0))))
    n = int(np.clip(rng.uniform(0.1, 0.6) * side**2 / (np.pi * radius**2), 1, 150))
    y, x = np.mgrid[:side, :side].astype(np.float32)
    depth = np.full((side, side), -np.inf, np.float32)  # px inside the nearest rim
    for _ in range(n):
        a, b = radius * np.exp(rng.normal(0, 0.35, 2))
        cy, cx = rng.uniform(0, side, 2)
        angle = rng.uniform(0, np.pi)
        reach = int(max(a, b)) + 2
        box = slice(max(0, int(cy) - reach), int(cy) + reach), slice(max(0, int(cx) - reach), int(cx) + reach)
        dy, dx = y[box] - cy, x[box] - cx
        u, v = dy * np.cos(angle) + dx * np.sin(angle), dx * np.cos(angle) - dy * np.sin(angle)
        depth[box] = np.maximum(depth[box], (1 - np.sqrt((u / a) ** 2 + (v / b) ** 2)) * min(a, b))
    if rng.random() < 0.3:
        return np.digitize(depth, [0.0, rng.uniform(1.5, max(2.0, radius / 3))]).astype(np.uint8) + 1
    return (depth > 0).astype(np.uint8) + 1


def _cells(side: int, rng: Rng) -> np.ndarray:
    """Cells with membranes between them, some of the cells of a third kind."""
    size = rng.uniform(10, 60)
    points = rng.uniform(-size, side + size, (max(6, int(((side + 2 * size) / size) ** 2)), 2))
    warp = size * rng.uniform(0, 0.3)
    at = np.stack([g + warp * draw_field(side, size / 3, rng) for g in np.mgrid[:side, :side]], -1)
    distance, nearest = cKDTree(points).query(at, k=2)
    wall = distance[..., 1] - distance[..., 0] < rng.uniform(2.0, 6.0)
    filled = (rng.random(len(points)) < rng.choice([0.0, 0.25]))[nearest[..., 0]]
    return np.where(wall, 2, np.where(filled, 3, 1)).astype(np.uint8) if filled.any() else wall.astype(np.uint8) + 1


def _fibres(side: int, rng: Rng) -> np.ndarray:
    """Winding bands of about one width: where a smooth field crosses zero."""
    field = draw_field(side, rng.uniform(5, 25), rng)
    dy, dx = np.gradient(field)
    return (np.abs(field) < rng.uniform(1.0, 5.0) * np.sqrt(dy**2 + dx**2) + 1e-6).astype(np.uint8) + 1


def _layers(side: int, rng: Rng) -> np.ndarray:
    """Strata with rough borders, as in a coating's cross section."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side]
    height = y * np.cos(angle) + x * np.sin(angle)
    height = height + rng.uniform(1, 8) * draw_field(side, rng.uniform(4, 20), rng)
    n = int(rng.integers(2, 5))
    cuts = np.sort(rng.uniform(height.min(), height.max(), n - 1))
    return np.digitize(height, cuts).astype(np.uint8) % n + 1


LAYOUTS: dict[str, Callable[[int, Rng], np.ndarray]] = {
    "grains": _grains,
    "particles": _particles,
    "cells": _cells,
    "fibres": _fibres,
    "layers": _layers,
}


def _texture(side: int, rng: Rng) -> np.ndarray:
    """(side, side) grey levels to be added inside a class, zero mean."""
    kind, strength = rng.random(), rng.uniform(0.02, 0.15)
    if kind < 0.3:
        return np.zeros((side, side), np.float32)
    if kind < 0.65:
        return strength * draw_field(side, float(np.exp(rng.uniform(np.log(0.7), np.log(8)))), rng)
    y, x = np.mgrid[:side, :side]
    period, angle, phase = rng.uniform(3.5, 14), rng.uniform(0, np.pi), rng.uniform(0, 6.28, 2)
    turn = rng.choice([np.pi / 3, np.pi / 2])
    waves = [
        np.cos(2 * np.pi / period * (y * np.sin(angle + i * turn) + x * np.cos(angle + i * turn)) + phase[i])
        for i in range(2)
    ]
    if kind < 0.78:  # lattice fringes
        return (strength * waves[0]).astype(np.float32)
    spots = np.exp(rng.uniform(0.5, 3) * (waves[0] + waves[1] - 2))  # atomic columns
    return (3 * strength * (spots - spots.mean())).astype(np.float32)


def draw_field(side: int, sigma_px: float, rng: Rng) -> np.ndarray:
    """A Gaussian random field of unit variance and zero mean; periodic."""
    spectrum = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32))
    field = np.fft.irfft2(spectrum * np.exp(-2 * (np.pi * sigma_px) ** 2 * frequencies(side)), (side, side))
    return ((field - field.mean()) / (field.std() + 1e-9)).astype(np.float32)


@lru_cache(4)
def frequencies(side: int) -> np.ndarray:
    """Squared frequencies of `np.fft.rfft2`, (side, side // 2 + 1), in cycles per px."""
    f2: np.ndarray = np.fft.fftfreq(side)[:, None] ** 2 + np.fft.rfftfreq(side)[None] ** 2
    return f2


def _edge_distance(classes: np.ndarray) -> np.ndarray:
    border = np.zeros(classes.shape, bool)
    border[1:] |= classes[1:] != classes[:-1]
    border[:, 1:] |= classes[:, 1:] != classes[:, :-1]
    return distance_transform_edt(~border) if border.any() else np.full(classes.shape, 1e3)
