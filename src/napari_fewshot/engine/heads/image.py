"""The restoration head: a residual image from the finest features, optionally with more pixels. Knows no task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.core.tiles import Box, Tile
from napari_fewshot.engine.look import Look, whole, zone_around

REACH_PX = 2  # of the bicubic kernel; the 3 x 3 convolution reaches 1


class ImageHead(nn.Module):
    """Adds a predicted residual to the (interpolated) input; sub-pixel convolution for more pixels (Shi et al. 2016).

    Parameters
    ----------
    channels : int
        Channels of the finest feature map.
    n_zooms : int
        Number of zooms whose finest maps are joined.
    factor : int
        How many times finer the answer is than the input.
    """

    def __init__(self, channels: int, n_zooms: int = 1, factor: int = 1) -> None:
        super().__init__()
        self.factor = factor
        self.join = nn.Conv2d(channels * n_zooms, 2 * channels, 1)
        self.out = nn.Conv2d(2 * channels, factor**2, 3, padding=1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, looks: Sequence[Look], x: Tensor, box: Box) -> Tensor:
        """Looks at a tile and the tile (B, 1, Y, X) -> (B, 1, y * factor, x * factor), the answer for a box of it."""
        margin = zone_around(box, REACH_PX, 1, whole(x))
        maps = [look[0].spread(margin) for look in looks]
        joined = pointwise(self.join, torch.cat(maps, 1) if len(maps) > 1 else maps[0])
        residual = F.pixel_shuffle(self.out(F.relu(joined, inplace=True)), self.factor)
        answer = enlarge(x[..., margin[0], margin[1]], self.factor) + residual
        return answer[(..., *Tile(box, margin).keep(self.factor))]


def pointwise(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1 x 1 convolution of (B, C, Y, X) as a product of matrices, which it is not for torch on a CPU with one thread."""
    pixels = x.permute(0, 2, 3, 1)  # (B, C, Y, X) -> (B, Y, X, C)
    return F.linear(pixels, convolution.weight[:, :, 0, 0], convolution.bias).permute(0, 3, 1, 2)


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Bicubic interpolation that keeps the areas of pixels aligned (half-pixel centres)."""
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)
