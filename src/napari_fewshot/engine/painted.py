"""Features of painted pixels and of views, computed tile by tile and kept. Knows no loss and no training."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import View
from napari_fewshot.core.strokes import PaintedPlane, Painting, Strokes
from napari_fewshot.core.tiles import Tile, plan_tiles
from napari_fewshot.engine.heads.classes import VOICES
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.look import Look, features_at, pad_to_grid
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.tiled import SMALLEST_TILE_PX

CACHE_BYTES = 768 * 2**20
TILE_PX = 512
MAX_PER_CLASS = 1000  # painted pixels of a class that enter the head; more change nothing and cost time
CHUNK_PX = 40
CELL_PX = 32
CELLS = 5.0  # some two strokes of a class, for which the ridge was learned
STRENGTHS = (0.05, 2.0)
N_FOLDS = 4


class FeatureCache:
    """Feature maps by pixels, least recently used out first; guards its size in bytes."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.tile_px = TILE_PX
        self.kept: OrderedDict[tuple[object, ...], list[Look]] = OrderedDict()

    def looks_at(self, network: Network, key: str, image: np.ndarray, intensity: Intensity, tile: Tile) -> list[Look]:
        """Looks at a tile, from memory or the network."""
        place = (fingerprint(network), key, image.shape, *((s.start, s.stop) for s in (*tile.inner, *tile.outer)))
        if place not in self.kept:
            x = pad_to_grid(intensity.to_unit(image[tile.outer]), network.align_px, _device(network))
            with torch.no_grad():
                self.kept[place] = network.look(x, tile.keep())
            self._make_room()
        self.kept.move_to_end(place)
        return self.kept[place]

    def look_ahead(self, network: Network, view: View, painting: Painting, listener: Listener) -> None:
        """Look at a view and at what is painted before they are asked for, until the listener stops it."""
        tiles: list[tuple[View | PaintedPlane, Tile]] = [(view, tile) for tile in self.tiles_of(network, view.image)]
        tiles += [(p, tile) for p in painting.planes for tile, _ in self.painted_tiles(network, p, p.strokes.yx)]
        for seen, tile in tiles:
            if not listener.stopped():
                self.looks_at(network, seen.key, seen.image, seen.intensity, tile)

    def tiles_of(self, network: Network, image: np.ndarray) -> list[Tile]:
        """The tiles by which a (Y, X) image is looked at."""
        return plan_tiles((image.shape[0], image.shape[1]), self.tile_px, network.halo_px, network.align_px)

    def painted_tiles(self, network: Network, plane: PaintedPlane, yx: np.ndarray) -> Iterator[tuple[Tile, np.ndarray]]:
        """The tiles of a plane that hold some of the pixels ``yx`` (N, 2), and which, (N,) bool."""
        for tile in self.tiles_of(network, plane.image):
            low, high = (np.array([getattr(s, end) for s in tile.inner]) for end in ("start", "stop"))
            inside = np.all((yx >= low) & (yx < high), 1)
            if inside.any():
                yield tile, inside

    def shrink(self) -> bool:
        """Forget everything and look at smaller tiles from now on; False when they are as small as can be."""
        self.kept.clear()
        self.tile_px //= 2
        return self.tile_px >= SMALLEST_TILE_PX

    def _make_room(self) -> None:
        while len(self.kept) > 1 and sum(_bytes(looks) for looks in self.kept.values()) > self.limit_bytes:
            self.kept.popitem(last=False)


@dataclass(frozen=True, eq=False)
class Samples:
    """Painted pixels as the head sees them.

    ``x`` (N, D) features; ``y`` (N,) positions in the sorted classes; ``fold`` (N,) 0 .. N_FOLDS - 1, whole strokes
    together, fold 0 is held out from training. ``strength`` is that of a head's ridges, see `strength_of`; ``voices`` are
    the weights of its parts, see `weighed`.
    """

    x: Tensor
    y: Tensor
    fold: Tensor
    strength: float = 1.0
    voices: tuple[float, ...] = VOICES

    def learned_from(self) -> Samples:
        """Without fold 0."""
        kept = self.fold != 0
        return replace(self, x=self.x[kept], y=self.y[kept], fold=self.fold[kept])

    def thinned(self, per_class: int) -> Samples:
        """At most about ``per_class`` pixels of each class, evenly taken."""
        of_class = [(self.y == k).nonzero()[:, 0] for k in range(int(self.y.max()) + 1)]
        kept = torch.cat([k[:: max(1, len(k) // per_class)] for k in of_class])
        return replace(self, x=self.x[kept], y=self.y[kept], fold=self.fold[kept])


def sample(network: Network, painting: Painting, cache: FeatureCache, seed: int) -> Samples:
    """Features of at most ``MAX_PER_CLASS`` painted pixels of each class over all planes."""
    classes = np.array(painting.classes)
    chosen = _choose(painting, classes, np.random.default_rng(seed))
    rows, y, folds = [], [], []
    for plane, keep in zip(painting.planes, chosen, strict=True):
        if not len(keep):
            continue
        fold = folds_of(plane.strokes, seed)[keep]
        yx, of_class = plane.strokes.yx[keep], plane.strokes.classes[keep]
        for tile, inside in cache.painted_tiles(network, plane, yx):
            looks = cache.looks_at(network, plane.key, plane.image, plane.intensity, tile)
            at = torch.from_numpy(yx[inside] - np.array([s.start for s in tile.outer])).to(_device(network))
            rows.append(features_at(looks, at))
            y.append(np.searchsorted(classes, of_class[inside]))
            folds.append(fold[inside])
    device = _device(network)
    return Samples(
        torch.cat(rows),
        torch.from_numpy(np.concatenate(y)).to(device),
        torch.from_numpy(np.concatenate(folds)).to(device),
        strength_of(painting),
    )


def strength_of(painting: Painting) -> float:
    """How strong a head's ridges are to be: the more is painted, the less is to be taken from what is known beforehand.

    Pixels of a stroke tell the same; what is counted are the cells of ``CELL_PX`` in which a class is painted, in the geometric
    mean over classes.
    """
    cells: dict[int, int] = {}
    for plane in painting.planes:
        row, column = plane.strokes.yx.T // CELL_PX
        place = row * (plane.image.shape[1] // CELL_PX + 1) + column
        for k in painting.classes:
            there = int(np.count_nonzero(np.bincount(place[plane.strokes.classes == k])))
            cells[k] = cells.get(k, 0) + there
    return float(np.clip(CELLS / np.exp(np.mean(np.log(list(cells.values())))), *STRENGTHS))


def fingerprint(network: Network) -> tuple[float, ...]:
    """Differs between any two states of training; costs a fraction of a millisecond."""
    with torch.no_grad():
        return tuple(float(p.double().sum()) for p in network.backbone.parameters())


def folds_of(strokes: Strokes, seed: int) -> np.ndarray:
    """(N,) fold of every painted pixel: strokes are dealt out whole, class by class; a lone stroke is cut to pieces."""
    folds = np.zeros(len(strokes), np.int64)
    if not len(strokes):
        return folds
    low = strokes.yx.min(0)
    canvas = np.zeros(strokes.yx.max(0) - low + 1, np.uint16)
    y, x = (strokes.yx - low).T
    canvas[y, x] = strokes.classes
    rng = np.random.default_rng(seed)
    for k in np.unique(strokes.classes):
        of_class = strokes.classes == k
        pieces = ndimage.label(canvas == k, np.ones((3, 3)))[0][y[of_class], x[of_class]]
        if len(np.unique(pieces)) < N_FOLDS:
            cell = strokes.yx[of_class] // CHUNK_PX
            pieces = np.unique(np.column_stack([pieces, cell]), axis=0, return_inverse=True)[1]
        names, pieces = np.unique(pieces, return_inverse=True)
        dealt = rng.permutation(len(names)) % N_FOLDS if len(names) > 1 else np.ones(1, np.int64)
        folds[of_class] = dealt[pieces.ravel()]
    return folds


def _choose(painting: Painting, classes: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Which painted pixels of each plane are used: all, or an even random share of a class with too many."""
    keep = [np.ones(len(p.strokes), bool) for p in painting.planes]
    for k in classes:
        n = sum(int(np.sum(p.strokes.classes == k)) for p in painting.planes)
        if n > MAX_PER_CLASS:
            for mask, plane in zip(keep, painting.planes, strict=True):
                at = plane.strokes.classes == k
                mask[at] = rng.random(int(at.sum())) < MAX_PER_CLASS / n
    return [np.flatnonzero(m) for m in keep]


def _device(network: Network) -> str:
    return str(next(network.parameters()).device)


def _bytes(looks: list[Look]) -> int:
    return sum(m.values.numel() * m.values.element_size() for look in looks for m in look)
