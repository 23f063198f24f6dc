"""Grows the forest of a classic generator from strokes. Predicts nothing and knows no other generator."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from napari_fewshot.core.judge import Learn, cross_fit
from napari_fewshot.core.strokes import PaintedPlane, Painting
from napari_fewshot.core.tiles import plan_tiles
from napari_fewshot.engine.classic import CLASSIC, N_FEATURES, REACH_PX, ClassicNetwork, ForestHead, features_of
from napari_fewshot.engine.folds import folds_of
from napari_fewshot.engine.forest import KINDS, Forest

TILE_PX = 512
MAX_PER_CLASS = 20_000  # painted pixels that enter the forest


@dataclass(frozen=True, eq=False)
class PaintedPixels:
    """Painted pixels as a forest sees them: (N, D) features, (N,) positions in the sorted classes, (N,) folds."""

    x: np.ndarray
    y: np.ndarray
    fold: np.ndarray

    @classmethod
    def take(cls, painting: Painting, seed: int) -> PaintedPixels:
        """At most about `MAX_PER_CLASS` of each class."""
        x = np.concatenate([_features_at(p) for p in painting.planes])
        y = np.searchsorted(painting.classes, np.concatenate([p.strokes.classes for p in painting.planes]))
        fold = np.concatenate([folds_of(p.strokes, seed) for p in painting.planes])
        of_class = [np.flatnonzero(y == k) for k in range(len(painting.classes))]
        kept = np.concatenate([k[:: max(1, len(k) // MAX_PER_CLASS)] for k in of_class])
        return cls(x[kept], y[kept], fold[kept])


@dataclass(frozen=True, eq=False)
class FittedClassic:
    """A fitted network with the ``net`` of its card; ``score`` of strokes held out, None when too few are painted."""

    module: ClassicNetwork
    net: dict[str, str | int]
    score: float | None
    seconds: float


def fit_classic(painting: Painting, seed: int = 0) -> FittedClassic:
    """Fit a forest to all strokes; strokes held out choose extra-trees or a random forest."""
    started = time.perf_counter()
    pixels = PaintedPixels.take(painting, seed)
    scores = {}
    for kind in KINDS:
        held_out = cross_fit(pixels.x, pixels.y, pixels.fold, painting.classes, [0], learner(kind, seed))
        scores[kind] = held_out.confusion.mean_iou if held_out else None
    kind = max(KINDS, key=lambda k: scores[k] or 0.0)  # the first when none can be judged
    forest = _grow(kind, seed, pixels.x, pixels.y)
    net: dict[str, str | int] = {
        "name": CLASSIC,
        "kind": kind,
        "n_trees": len(forest.sizes),
        "n_nodes": len(forest.links),
    }
    module = ClassicNetwork(ForestHead.of_forest(forest))
    return FittedClassic(module, net, scores[kind], time.perf_counter() - started)


def learner(kind: str, seed: int) -> Learn:
    """What grows a forest of one kind and hands over its scores."""
    return lambda x, y: _grow(kind, seed, x, y).scores


def _grow(kind: str, seed: int, x: np.ndarray, y: np.ndarray) -> Forest:
    return Forest.grow(kind, x, y, seed, torch.get_num_threads())


def _features_at(plane: PaintedPlane) -> np.ndarray:
    """(N, D) features of the painted pixels of a plane, tile by tile."""
    yx, found = plane.strokes.yx, np.empty((len(plane.strokes), N_FEATURES), np.float32)
    shape = plane.image.shape
    for tile in plan_tiles((shape[0], shape[1]), TILE_PX, REACH_PX, 1):
        low, high = ([getattr(s, end) for s in tile.inner] for end in ("start", "stop"))
        inside = np.all((yx >= low) & (yx < high), 1)
        if inside.any():
            features = features_of(plane.intensity.to_unit(plane.image[tile.outer]))
            y, x = (yx[inside] - [s.start for s in tile.outer]).T
            found[inside] = features[y, x]
    return found
