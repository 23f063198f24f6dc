"""Feature maps of a picture and where they lie on it. Plain geometry on tensors; knows no network and no head."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.core.tiles import Box


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Values on a grid that spans a part of a tile.

    Parameters
    ----------
    values : Tensor
        (B, C, y, x).
    zone : Box
        The part, px of the tile; its sides are multiples of y and x.
    """

    values: Tensor
    zone: Box

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of the zone along Y and X."""
        return self.zone[0].stop - self.zone[0].start, self.zone[1].stop - self.zone[1].start

    def of(self, values: Tensor) -> FeatureMap:
        """Other values on the same grid."""
        return FeatureMap(values, self.zone)

    def spread(self, box: Box) -> Tensor:
        """Interpolate to the pixels of ``box`` of the tile, (B, C, Y, X), looking no further."""
        grid = self.values.shape[-2:]
        steps = [n // m for n, m in zip(self.shape, grid, strict=True)]
        inner = [slice(s.start - z.start, s.stop - z.start) for s, z in zip(box, self.zone, strict=True)]
        if steps == [1, 1]:
            return self.values[..., inner[0], inner[1]]
        used = [
            slice(max(0, s.start // step - 1), min(n, -(-s.stop // step) + 1))
            for s, step, n in zip(inner, steps, grid, strict=True)
        ]
        size = [(u.stop - u.start) * step for u, step in zip(used, steps, strict=True)]
        fine = F.interpolate(self.values[..., used[0], used[1]], size, mode="bilinear", align_corners=False)
        a, b = (
            slice(s.start - u.start * step, s.stop - u.start * step)
            for s, u, step in zip(inner, used, steps, strict=True)
        )
        return fine[..., a, b]

    def at(self, yx: Tensor) -> Tensor:
        """(N, C) values at pixels ``yx`` (N, 2) of the tile, what `spread` would put there; of the first of the batch."""
        grid = torch.tensor(self.values.shape[-2:], device=yx.device)
        inside = yx - torch.tensor([s.start for s in self.zone], device=yx.device)
        # as F.grid_sample without align_corners, but without its copies of large maps
        at = (inside + 0.5) * (grid / torch.tensor(self.shape, device=yx.device)) - 0.5
        at = at.clamp(min=0).minimum(grid - 1)
        low = at.floor().long()
        high = (low + 1).minimum(grid - 1)
        share = (at - low).to(self.values.dtype)
        rows = torch.cat([low[:, 0], low[:, 0], high[:, 0], high[:, 0]])
        columns = torch.cat([low[:, 1], high[:, 1], low[:, 1], high[:, 1]])
        corners = self.values[0].permute(1, 2, 0)[rows, columns].view(4, len(yx), -1)
        top, bottom = (corners[i].lerp(corners[i + 1], share[:, 1:]) for i in (0, 2))
        return top.lerp(bottom, share[:, :1])

    def halved(self) -> FeatureMap:
        """The same in pixels twice as large; where the grid is as fine as the old ones, it gets coarser with them."""
        is_fine = tuple(self.values.shape[-2:]) == self.shape
        return FeatureMap(F.avg_pool2d(self.values, 2) if is_fine else self.values, halved(self.zone))


Look = list[FeatureMap]
"""What was seen at one zoom: maps of all levels, finest first."""


def spanning(values: Iterable[Tensor], zone: Box) -> Look:
    """Maps that all span one zone."""
    return [FeatureMap(v, zone) for v in values]


def features_at(looks: Sequence[Look], yx: Tensor) -> Tensor:
    """(N, D) features of pixels over all zooms and levels, in the order in which a head's weights are stored."""
    return torch.cat([seen.at(yx) for look in looks for seen in look], 1)


def spread_sum(maps: Iterable[FeatureMap], box: Box) -> Tensor:
    """The sum of what all would `FeatureMap.spread`; those on one grid are added before."""
    on_grid: dict[tuple[int, ...], FeatureMap] = {}
    for one in maps:
        grid = *(n for s in one.zone for n in (s.start, s.stop)), *one.values.shape[-2:]
        on_grid[grid] = one.of(one.values + on_grid[grid].values) if grid in on_grid else one
    return functools.reduce(torch.add, [one.spread(box) for one in on_grid.values()])


def pad_to_grid(unit: np.ndarray, align_px: int, device: str) -> Tensor:
    """(Y, X) -> (1, 1, Y', X') with Y and X filled up to multiples of ``align_px`` by the nearest pixel."""
    x = torch.from_numpy(unit)[None, None].to(device)
    fill_y, fill_x = (-unit.shape[0]) % align_px, (-unit.shape[1]) % align_px
    if fill_y or fill_x:
        x = F.pad(x, (0, fill_x, 0, fill_y), mode="replicate")
    return x.contiguous(memory_format=torch.channels_last)


def whole(x: Tensor) -> Box:
    """The box of all pixels of a (B, C, Y, X) tensor."""
    return slice(0, x.shape[-2]), slice(0, x.shape[-1])


def halved(box: Box) -> Box:
    """The box in pixels twice as large; it starts and ends on them."""
    return slice(box[0].start // 2, box[0].stop // 2), slice(box[1].start // 2, box[1].stop // 2)


def zone_around(box: Box, reach_px: int, align_px: int, limits: Box) -> Box:
    """``box`` grown by ``reach_px``, then out to multiples of ``align_px``, inside ``limits``."""
    return tuple(  # type: ignore[return-value]
        slice(
            max(limit.start, (s.start - reach_px) // align_px * align_px),
            min(limit.stop, -(-(s.stop + reach_px) // align_px) * align_px),
        )
        for s, limit in zip(box, limits, strict=True)
    )
