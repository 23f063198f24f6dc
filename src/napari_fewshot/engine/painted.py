"""Features of painted pixels and of views, computed tile by tile and kept. Knows no loss and no training."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import View
from napari_fewshot.core.strokes import PaintedPlane, Painting
from napari_fewshot.core.tiles import Tile, plan_tiles
from napari_fewshot.engine.folds import HELD_OUT, chances, folds_of
from napari_fewshot.engine.heads.classes import VOICES
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.look import Look, features_at, pad_to_grid
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.tiled import SMALLEST_TILE_PX

CACHE_BYTES = 768 * 2**20
ROWS_BYTES = 256 * 2**20  # of single pixels: those of thousands of tiles
TILE_PX = 512
MAX_PER_CLASS = 1000  # painted pixels of a class that enter the head; more change nothing and cost time
MOST_PER_TILE = 1200  # of a class, that are seen: of a random share of 1000 there may be a few more
CELL_PX = 32
CELLS = 5.0  # some two strokes of a class, for which the ridge was learned
STRENGTHS = (0.05, 2.0)


class FeatureCache:
    """Feature maps by pixels, and features of single pixels of tiles, least recently used out first; guards its size in bytes.

    What is painted is seen once, on however many planes: its features stay when the maps they were taken from had to go.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.tile_px = TILE_PX
        self.kept: OrderedDict[tuple[object, ...], list[Look]] = OrderedDict()
        self.rows: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()

    def looks_at(self, network: Network, key: str, image: np.ndarray, intensity: Intensity, tile: Tile) -> list[Look]:
        """Looks at a tile, from memory or the network."""
        place = (fingerprint(network), *_place(key, image, tile))
        if place not in self.kept:
            x = pad_to_grid(intensity.to_unit(image[tile.outer]), network.align_px, _device(network))
            with torch.no_grad():
                self.kept[place] = network.look(x, tile.keep())
            self._make_room()
        self.kept.move_to_end(place)
        return self.kept[place]

    def rows_at(self, network: Network, plane: PaintedPlane, tile: Tile, yx: np.ndarray) -> Tensor:
        """(N, D) features of pixels (N, 2) of a painted plane in a tile, from memory or the network."""
        place = (fingerprint(network), *_place(plane.key, plane.image, tile), yx.tobytes())
        if place not in self.rows:
            looks = self.looks_at(network, plane.key, plane.image, plane.intensity, tile)
            at = torch.from_numpy(yx - np.array([s.start for s in tile.outer])).to(_device(network))
            self.rows[place] = features_at(looks, at)
            while len(self.rows) > 1 and sum(rows.nbytes for rows in self.rows.values()) > ROWS_BYTES:
                self.rows.popitem(last=False)
        self.rows.move_to_end(place)
        return self.rows[place]

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
        self.rows.clear()
        if self.tile_px // 2 < SMALLEST_TILE_PX:
            return False
        self.tile_px //= 2
        return True

    def _make_room(self) -> None:
        while len(self.kept) > 1 and sum(_bytes(looks) for looks in self.kept.values()) > self.limit_bytes:
            self.kept.popitem(last=False)


@dataclass(frozen=True, eq=False)
class Samples:
    """Painted pixels as the head sees them.

    ``x`` (N, D) features; ``y`` (N,) positions in the sorted classes; ``fold`` (N,) 0 .. N_FOLDS - 1, whole strokes
    together, fold 0 is held out from training, and -1 never asked for, see `folds`. ``strength`` is that of a head's ridges, see `strength_of`; ``voices`` are
    the weights of its parts, see `weighed`.
    """

    x: Tensor
    y: Tensor
    fold: Tensor
    strength: float = 1.0
    voices: tuple[float, ...] = VOICES

    def learned_from(self) -> Samples:
        """Without what is held out."""
        kept = self.fold != HELD_OUT
        return replace(self, x=self.x[kept], y=self.y[kept], fold=self.fold[kept])

    def thinned(self, per_class: int) -> Samples:
        """At most about ``per_class`` pixels of each class, evenly taken."""
        of_class = [(self.y == k).nonzero()[:, 0] for k in range(int(self.y.max()) + 1)]
        kept = torch.cat([k[:: max(1, len(k) // per_class)] for k in of_class])
        return replace(self, x=self.x[kept], y=self.y[kept], fold=self.fold[kept])


def sample(network: Network, painting: Painting, cache: FeatureCache, seed: int) -> Samples:
    """Features of at most about ``MAX_PER_CLASS`` painted pixels of each class over all planes.

    Which these are, does not change with what is painted elsewhere but by their number.
    """
    classes = np.array(painting.classes)
    numbers = [p.strokes.classes for p in painting.planes if len(p.strokes)]
    shares = MAX_PER_CLASS / np.bincount(np.searchsorted(classes, np.concatenate(numbers)), minlength=len(classes))
    rows, y, folds = [], [], []
    for plane in painting.planes:
        if not len(plane.strokes):
            continue
        fold, chance = folds_of(plane.strokes, seed), chances(plane.strokes.yx, seed)
        of_class = np.searchsorted(classes, plane.strokes.classes)
        for tile, inside in cache.painted_tiles(network, plane, plane.strokes.yx):
            seen = _likeliest(np.flatnonzero(inside), of_class, chance)
            kept = chance[seen] < shares[of_class[seen]]
            rows.append(cache.rows_at(network, plane, tile, plane.strokes.yx[seen])[torch.from_numpy(kept)])
            y.append(of_class[seen[kept]])
            folds.append(fold[seen[kept]])
    device = _device(network)
    return Samples(
        torch.cat(rows),
        torch.from_numpy(np.concatenate(y)).to(device),
        torch.from_numpy(np.concatenate(folds)).to(device),
        strength_of(painting),
    )


def _likeliest(inside: np.ndarray, of_class: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Positions (M,) of those ``inside`` (N,), at most `MOST_PER_TILE` of a class, that would be chosen first; in their order."""
    kept = []
    for k in np.unique(of_class[inside]):
        of = inside[of_class[inside] == k]
        kept.append(of[np.argsort(chance[of], kind="stable")[:MOST_PER_TILE]] if len(of) > MOST_PER_TILE else of)
    return np.sort(np.concatenate(kept))


def strength_of(painting: Painting) -> float:
    """How strong a head's ridges are to be: the more is painted, the less is to be taken from what is known beforehand.

    Pixels of a stroke tell the same; what is counted are the cells of ``CELL_PX`` in which a class is painted, in the geometric
    mean over classes; marks do not count, as they are what was known beforehand.
    """
    cells: dict[int, int] = {}
    for plane in painting.planes:
        own = plane.strokes if plane.strokes.marks is None else plane.strokes.only(~plane.strokes.marks)
        row, column = own.yx.T // CELL_PX
        place = row * (plane.image.shape[1] // CELL_PX + 1) + column
        for k in painting.classes:
            there = int(np.count_nonzero(np.bincount(place[own.classes == k])))
            cells[k] = cells.get(k, 0) + there
    return float(np.clip(CELLS / np.exp(np.mean(np.log(np.maximum(list(cells.values()), 1)))), *STRENGTHS))


def fingerprint(network: Network) -> tuple[float, ...]:
    """Differs between any two states of training; costs a fraction of a millisecond."""
    with torch.no_grad():
        return tuple(float(p.cpu().double().sum()) for p in network.backbone.parameters())


def _place(key: str, image: np.ndarray, tile: Tile) -> tuple[object, ...]:
    return key, image.shape, *((s.start, s.stop) for s in (*tile.inner, *tile.outer))


def _device(network: Network) -> str:
    return str(next(network.parameters()).device)


def _bytes(looks: list[Look]) -> int:
    return sum(m.values.numel() * m.values.element_size() for look in looks for m in look)
