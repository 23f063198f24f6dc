"""What a backbone saw of a picture at one zoom, and where. Plain geometry on tensors; knows no network and no head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.core.tiles import Box


@dataclass(frozen=True, eq=False)
class Look:
    """Feature maps of all levels at one zoom.

    Parameters
    ----------
    maps : list of Tensor
        (B, C_l, y_l, x_l), finest first; all span ``zone``.
    zone : Box
        The part of the tile that was looked at, px of the tile.
    """

    maps: list[Tensor]
    zone: Box

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of the zone along Y and X."""
        return self.zone[0].stop - self.zone[0].start, self.zone[1].stop - self.zone[1].start

    def spread(self, values: Tensor, box: Box) -> Tensor:
        """Interpolate (B, C, y, x) values that span the zone to pixels, and cut out ``box`` of the tile."""
        if tuple(values.shape[-2:]) != self.shape:
            values = F.interpolate(values, self.shape, mode="bilinear", align_corners=False)
        a, b = (slice(s.start - z.start, s.stop - z.start) for s, z in zip(box, self.zone, strict=True))
        return values[..., a, b]

    def at(self, yx: Tensor) -> Tensor:
        """(N, sum of C_l) features of pixels ``yx`` (N, 2) of the tile: what `spread` would put there."""
        origin = torch.tensor([s.start for s in self.zone], device=yx.device)
        size = torch.tensor(self.shape, dtype=torch.float32, device=yx.device)
        grid = ((2 * (yx - origin).to(torch.float32) + 1) / size - 1).flip(1)[None, None]  # (N, 2) y, x -> (1, 1, N, 2)
        columns = [
            F.grid_sample(m, grid.to(m.dtype), mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T
            for m in self.maps
        ]
        return torch.cat(columns, 1)

    def first(self, n: int = 1) -> Look:
        """The look at the first ``n`` of the batch."""
        return Look([m[:n] for m in self.maps], self.zone)


def features_at(looks: Sequence[Look], yx: Tensor) -> Tensor:
    """(N, D) features of pixels over all zooms and levels, in the order in which a head's weights are stored."""
    return torch.cat([look.at(yx) for look in looks], 1)


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


def zone_around(box: Box, reach_px: int, align_px: int, limits: Box) -> Box:
    """``box`` grown by ``reach_px``, then out to multiples of ``align_px``, inside ``limits``."""
    return tuple(  # type: ignore[return-value]
        slice(
            max(limit.start, (s.start - reach_px) // align_px * align_px),
            min(limit.stop, -(-(s.stop + reach_px) // align_px) * align_px),
        )
        for s, limit in zip(box, limits, strict=True)
    )
