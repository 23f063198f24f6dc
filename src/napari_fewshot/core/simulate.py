"""Strokes as a careful user would paint them inside known classes, for tests, demos and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_fewshot.core.tiles import Box

TRIES = 20  # starting points tried for a walk of at least half the wanted length


@dataclass(frozen=True)
class Brush:
    """How long and wide a simulated stroke is, px."""

    length_px: int = 60
    width_px: int = 3


def simulate_strokes(truth: np.ndarray, n_per_class: int, seed: int = 0, brush: Brush | None = None) -> np.ndarray:
    """Paint ``n_per_class`` strokes inside every class of ``truth``.

    A stroke is a smooth random walk that stays inside its class, drawn with a square brush and clipped to the class.
    Stroke j of class k depends on (truth, seed, k, j) only: more strokes or other classes leave it as it is.

    Parameters
    ----------
    truth : ndarray
        (Y, X) integers, class k >= 1 of each pixel; 0 is unknown and never painted.
    n_per_class : int
        Strokes of each class.
    seed : int
        The same seed paints the same strokes.
    brush : Brush, optional
        60 px long and 3 px wide by default.

    Returns
    -------
    ndarray
        (Y, X) uint16, 0 = not painted, k = class k.
    """
    brush = brush or Brush()
    painted = np.zeros(truth.shape, np.uint16)
    for k in np.unique(truth[truth > 0]):
        inside = truth == k
        for j in range(n_per_class):
            rng = np.random.default_rng([seed, int(k), j])
            _draw(painted, inside, _longest_walk(inside, brush.length_px, rng), brush.width_px, int(k))
    return painted


def simulate_correction(
    truth: np.ndarray, found: np.ndarray, box: Box, seed: int = 0, brush: Brush | None = None
) -> np.ndarray:
    """Paint one stroke inside ``box`` as a user would who corrects what is wrong there.

    Its class is the one of which most pixels are missed, and it starts on one of them; where nothing is wrong, it is
    the class that fills most of the box.

    Parameters
    ----------
    truth, found : ndarray
        (Y, X) integers, the class k >= 1 of each pixel (0 in ``truth`` is unknown) and the one it is taken for.
    box : tuple of slice
        Rows and columns the user looks at.
    seed : int
        The same seed paints the same stroke.
    brush : Brush, optional
        60 px long and 3 px wide by default.

    Returns
    -------
    ndarray
        (Y, X) uint16, 0 = not painted, k = class k; empty where all of the box is unknown.
    """
    brush, painted = brush or Brush(), np.zeros(truth.shape, np.uint16)
    known = truth[box] > 0
    wanted = known & (truth[box] != found[box])
    wanted = wanted if wanted.any() else known
    if wanted.any():
        k = int(np.bincount(truth[box][wanted]).argmax())
        inside, starts = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
        inside[box], starts[box] = truth[box] == k, wanted & (truth[box] == k)
        walk = _longest_walk(inside, brush.length_px, np.random.default_rng([seed, k]), starts)
        _draw(painted, inside, walk, brush.width_px, k)
    return painted


def _longest_walk(
    inside: np.ndarray, length_px: int, rng: np.random.Generator, where: np.ndarray | None = None
) -> list[tuple[int, int]]:
    starts = np.argwhere(inside if where is None else where)
    best: list[tuple[int, int]] = []
    for _ in range(TRIES):
        y, x = starts[rng.integers(len(starts))]
        track = _walk(inside, float(y), float(x), length_px, rng)
        best = max(best, track, key=len)
        if 2 * len(best) >= length_px:
            break
    return best


def _walk(inside: np.ndarray, y: float, x: float, length_px: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    angle = rng.uniform(0, 2 * np.pi)
    track = [(int(y), int(x))]
    for _ in range(2 * length_px):
        if len(track) >= length_px:
            break
        angle += rng.normal(0, 0.3)
        to_y, to_x = y + np.sin(angle), x + np.cos(angle)
        at = int(np.floor(to_y)), int(np.floor(to_x))
        if 0 <= at[0] < inside.shape[0] and 0 <= at[1] < inside.shape[1] and inside[at]:
            y, x = to_y, to_x
            track.append(at)
        else:
            angle += rng.uniform(1, 5)  # bounce off the border of the class
    return track


def _draw(painted: np.ndarray, inside: np.ndarray, track: list[tuple[int, int]], width_px: int, k: int) -> None:
    before, after = (width_px - 1) // 2, width_px // 2 + 1
    for y, x in track:
        box = slice(max(0, y - before), y + after), slice(max(0, x - before), x + after)
        painted[box][inside[box]] = k
