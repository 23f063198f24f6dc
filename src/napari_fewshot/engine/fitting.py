"""The head of a segmentation as it fits one plane: brought to it where it looks unlike the painted ones. Draws no tiles."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.tiles import Box, Tile, plan_tiles
from napari_fewshot.engine.classic import ForestHead
from napari_fewshot.engine.edges import REACH_PX, classes_of
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.heads.solved import Solved
from napari_fewshot.engine.look import Look, features_at, pad_to_grid, whole, zone_around

CELL_PX, MOST_CELLS = 1024, 8  # of a plane of several tiles, in the middle of which it is asked how the plane looks
CROP_PX = 512  # that is read there; the middle half of it is asked, the rest is what the network needs around it
PIXELS_A_SIDE = 48


class FittingHead:
    """Guards that all tiles of a (Y, X) plane are answered by one head, see `ClassesHead.aligned`."""

    def __init__(self, generator: Generator, plane: np.ndarray, intensity: Intensity, tile_px: int) -> None:
        self.network, self.device = generator.network, generator.device
        self.plane, self.intensity, self.offsets = plane, intensity, offsets_of(generator)
        head = self.network.head
        self.head = head if isinstance(head, ClassesHead) and not isinstance(head, ForestHead) else None
        self.solved: Solved | None = None  # a plane of one tile is asked how it looks when its tile is looked at
        if self.head is not None and max(plane.shape) > tile_px:
            self.solved = self.head.aligned(self.head.solved, self._seen())

    @torch.inference_mode()
    def classes(self, tile: Tile) -> tuple[np.ndarray, Tensor]:
        """Indices (y, x) of the classes in the inner box of a tile, and logits (K, y, x)."""
        x, box = self._read(tile.outer), tile.keep()
        if self.head is None:
            logits = self.network(x, box)[0] + (0.0 if self.offsets is None else self.offsets[:, None, None])
            return logits.cpu().numpy().argmax(0), logits
        wide = zone_around(box, REACH_PX, 2, whole(x))
        looks = self.network.look(x, wide)
        solved = self.solved or self.head.aligned(self.head.solved, self._features(looks, box))
        logits = self.head.scores(looks, wide, solved)[0]
        found, logits = classes_of(logits, x[0, 0][wide].cpu().numpy(), self.offsets)
        inner = Tile(box, wide).keep()
        return found[inner], logits[:, *inner]

    @torch.inference_mode()
    def _seen(self) -> Tensor:
        """(N, D) features of pixels of crops that are spread over the plane, one a megapixel."""
        cells = plan_tiles((self.plane.shape[0], self.plane.shape[1]), CELL_PX, 0, 1)
        rows = []
        for cell in cells[:: -(-len(cells) // MOST_CELLS)]:
            crop, inner = _middle(cell.inner, CROP_PX), _middle(cell.inner, CROP_PX // 2)
            box = Tile(inner, crop).keep()
            rows.append(self._features(self.network.look(self._read(crop), box), box))
        return torch.cat(rows)

    def _features(self, looks: list[Look], box: Box) -> Tensor:
        """(N, D) features of pixels that are evenly spread over a box, some thousand."""
        lines = [torch.arange(s.start, s.stop, max(1, (s.stop - s.start) // PIXELS_A_SIDE)) for s in box]
        return features_at(looks, torch.cartesian_prod(*lines).to(self.device))

    def _read(self, box: Box) -> Tensor:
        return pad_to_grid(self.intensity.to_unit(self.plane[box]), self.network.align_px, self.device)


def offsets_of(generator: Generator) -> Tensor | None:
    """What is added to the logits of a segmentation of which one class is never to be missed, (K,)."""
    point = generator.card.never_miss
    if point is None or not point.n_pixels:  # a wish that waits for strokes asks for nothing yet
        return None
    return torch.from_numpy(point.offsets(generator.card.class_numbers)).to(generator.device)


def _middle(box: Box, side_px: int) -> Box:
    """The middle of a box, ``side_px`` a side where it is that large."""
    y, x = (slice(max(s.start, at := (s.start + s.stop - side_px) // 2), min(s.stop, at + side_px)) for s in box)
    return y, x
