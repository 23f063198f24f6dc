"""Which painted pixels are held out together. Knows no feature and no head."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_fewshot.core.strokes import Strokes

N_FOLDS = 4
HELD_OUT = 0  # the fold that layers are not trained on
NEVER_ASKED = -1  # of marks that a model made itself: they are learned from, and tell nothing of how good it is
CHUNK_PX = 40


def folds_of(strokes: Strokes, seed: int) -> np.ndarray:
    """(N,) fold of every painted pixel: strokes are dealt out whole, class by class; a lone stroke is cut to pieces.

    A stroke keeps its fold while others are painted or erased, so that what was learned from is not asked for later.
    """
    folds = np.full(len(strokes), NEVER_ASKED, np.int64)
    own = np.flatnonzero(~strokes.marks) if strokes.marks is not None else np.arange(len(strokes))
    if not len(own):
        return folds
    yx, classes = strokes.yx[own], strokes.classes[own]
    low = yx.min(0)
    canvas = np.zeros(yx.max(0) - low + 1, np.uint16)
    canvas[tuple((yx - low).T)] = classes
    for k in np.unique(classes):
        of_class = classes == k
        at = yx[of_class]
        pieces = ndimage.label(canvas == k, np.ones((3, 3)))[0][tuple((at - low).T)]
        chance = chances(at, seed)
        if len(np.unique(pieces)) < N_FOLDS:
            cells, pieces = np.unique(at // CHUNK_PX, axis=0, return_inverse=True)
            of_piece = chances(cells, seed)
        else:
            names, pieces = np.unique(pieces, return_inverse=True)
            of_piece = ndimage.minimum(chance, pieces, np.arange(len(names)))  # another pixel seldom changes it
            of_piece = chances((np.asarray(of_piece)[:, None] * 2**31).astype(np.int64), seed)
        folds[own[of_class]] = _dealt(of_piece)[pieces.ravel()]
    return folds


def chances(yx: np.ndarray, seed: int) -> np.ndarray:
    """A number in 0 .. 1 for each row of integers (N, D), the same for the same row and seed (splitmix64)."""
    mixed = np.full(len(yx), seed, np.uint64)
    for column in np.asarray(yx, np.int64).T.astype(np.uint64):
        mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed / 2.0**64


def _dealt(chance: np.ndarray) -> np.ndarray:
    """Folds of pieces by their chances (N,): some are held out, and not all; the others are dealt out evenly."""
    if len(chance) == 1:
        return np.ones(1, np.int64)
    out = chance < 1 / N_FOLDS
    out[np.argmin(chance)], out[np.argmax(chance)] = True, False
    learned = np.flatnonzero(~out)
    folds = np.full(len(chance), HELD_OUT, np.int64)
    folds[learned[np.argsort(chance[learned])]] = 1 + np.arange(len(learned)) % (N_FOLDS - 1)
    return folds
