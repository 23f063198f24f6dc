"""The restoration head: a residual image from the finest features, optionally with more pixels. Knows no task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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

    def forward(self, finest: list[Tensor], x: Tensor) -> Tensor:
        """Finest maps per zoom [(B, C, Y / z, X / z)] and input (B, 1, Y, X) -> (B, 1, Y * factor, X * factor)."""
        shape = x.shape[-2:]
        maps = [f if f.shape[-2:] == shape else F.interpolate(f, shape, mode="bilinear") for f in finest]
        residual = F.pixel_shuffle(self.out(F.relu(self.join(torch.cat(maps, 1)))), self.factor)
        return enlarge(x, self.factor) + residual


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Bicubic interpolation that keeps the areas of pixels aligned (half-pixel centres)."""
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)
