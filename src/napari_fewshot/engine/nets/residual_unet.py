"""The residual U-Net generator's backbone: features at every decoder level. Knows nothing of tasks or heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.look import FeatureMap, Look, whole, zone_around
from napari_fewshot.engine.nets.backbone import MARGIN_PX, Backbone


class PixelGroupNorm(nn.Module):
    """Group norm (one group) whose statistics are those of one pixel's channels.

    Statistics over space, as in Wu & He 2018, would make a tile differ from the whole picture; over the channels of
    a pixel, as ConvNeXt and NAFNet do, tiled and untiled prediction are equal.
    """

    def __init__(self, channels: int, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), weight))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)  # (B, C, Y, X) -> (B, Y, X, C)
        return F.layer_norm(pixels, self.weight.shape, self.weight, self.bias).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Pre-activation residual block (He et al. 2016) with one norm, as in NAFNet: x + conv(relu(conv(norm(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            PixelGroupNorm(channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).add_(x)


class ResidualUNet(Backbone):
    """U-Net of residual blocks with added (not concatenated) skips.

    Parameters
    ----------
    widths : sequence of int
        Channels per level, finest first; level l has 1 / 2**l of the resolution.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        pairs = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        self.stem = nn.Conv2d(1, self.widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(ResidualBlock(c) for c in self.widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.decoder = nn.ModuleList(ResidualBlock(a) for a, _ in pairs)
        # coarse features start faint: on a few strokes a ridge would learn places from them instead of kinds
        self.last = nn.ModuleList(PixelGroupNorm(c, 0.5**level) for level, c in enumerate(self.widths))

    @property
    def align_px(self) -> int:
        return int(2 ** (len(self.widths) - 1))

    @property
    def radius_px(self) -> int:
        levels = len(self.widths)
        blocks = sum(2 * 2**level for level in range(levels)) + sum(2 * 2**level for level in range(levels - 1))
        return 1 + blocks + self.align_px - 1

    def forward(self, x: Tensor) -> list[Tensor]:
        return [seen.values for seen in self.around(x, whole(x))]

    def around(self, x: Tensor, box: Box) -> Look:
        zones = self._zones(box, whole(x))
        skips = []
        x = self.stem(x)
        for level, block in enumerate(self.encoder):
            x = block(x)
            skips.append(FeatureMap(x, zones[-1]))
            if level < len(self.down):
                x = self.down[level](x)
        seen = skips.pop()
        outputs = [seen.of(self.last[-1](x))]
        for level in reversed(range(len(self.up))):
            zone, step = zones[level], 2**level
            coarse = self.up[level](_part(seen, zone, 2 * step))
            x = _part(skips.pop(), zone, step) + F.interpolate(coarse, scale_factor=2.0, mode="nearest")
            seen = FeatureMap(self.decoder[level](x), zone)
            outputs.append(seen.of(self.last[level](seen.values)))
        return outputs[::-1]

    def _zones(self, box: Box, limits: Box) -> list[Box]:
        """What the decoder looks at on each level, finest first: its blocks reach 2 px of theirs. The coarsest is all."""
        zones, reach_px = [], MARGIN_PX
        for level in range(len(self.up)):
            box = zone_around(box, reach_px + 2 * 2**level, 2 ** (level + 1), limits)
            zones.append(box)
            reach_px = 0
        return [*zones, limits]


def _part(seen: FeatureMap, zone: Box, step: int) -> Tensor:
    """The values in a part of a map, each of which spans ``step`` px."""
    y, x = (
        slice((s.start - o.start) // step, (s.stop - o.start) // step) for s, o in zip(zone, seen.zone, strict=True)
    )
    return seen.values[..., y, x]
