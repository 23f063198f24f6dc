"""A compact HRNet: all resolutions side by side, exchanged again and again. Knows nothing of tasks or heads."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.engine.nets.backbone import Backbone
from napari_fewshot.engine.nets.residual_unet import PixelGroupNorm, ResidualBlock


class Stage(nn.Module):
    """Residual blocks in every branch; then every branch gets the sum of all, brought to its own resolution."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(ResidualBlock(c) for _ in range(blocks))) for c in widths)
        self.roads = nn.ModuleDict(
            {f"{i}_{j}": _road(a, b, j - i) for i, a in enumerate(widths) for j, b in enumerate(widths)}
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(m) for branch, m in zip(self.branches, maps, strict=True)]
        return [
            functools.reduce(torch.add, [self._travel(m, i, j) for i, m in enumerate(maps)]) for j in range(len(maps))
        ]

    def _travel(self, m: Tensor, i: int, j: int) -> Tensor:
        m = self.roads[f"{i}_{j}"](m)
        return F.interpolate(m, scale_factor=2.0 ** (i - j), mode="nearest") if i > j else m


def _road(a: int, b: int, levels_down: int) -> nn.Module:
    """From ``a`` to ``b`` channels: a convolution of one pixel, or of the pixels that become one."""
    side = 2 ** max(0, levels_down)
    return nn.Conv2d(a, b, side, stride=side) if levels_down else nn.Identity()


class HRNet(Backbone):
    """High-resolution network (Wang et al. 2019) that stays at full resolution and starts a coarser branch per stage.

    Each stage is ``blocks`` residual blocks in every branch, then an exchange between all branches. The skip of a
    U-Net hands detail around the network; here it goes through every exchange.

    Parameters
    ----------
    widths : sequence of int
        Channels of each branch, finest first; branch l has 1 / 2**l of the resolution.
    blocks : int
        Residual blocks of a branch in one stage.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 128), blocks: int = 1) -> None:
        super().__init__()
        self.widths, self.blocks = tuple(widths), blocks
        self.stem = nn.Conv2d(1, self.widths[0], 3, padding=1)
        self.start = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(self.widths))
        self.stages = nn.ModuleList(Stage(self.widths[: n + 1], blocks) for n in range(len(self.widths)))
        # coarse features start faint, as in the residual U-Net
        self.last = nn.ModuleList(PixelGroupNorm(c, 0.5**level) for level, c in enumerate(self.widths))

    @property
    def align_px(self) -> int:
        return int(2 ** (len(self.widths) - 1))

    @property
    def radius_px(self) -> int:
        reach = [1]  # px beyond the block of input under a pixel of each branch
        for n in range(len(self.widths)):
            reach = reach + reach[-1:] if n else reach
            reach = [r + 2 * self.blocks * 2**i for i, r in enumerate(reach)]
            reach = [
                max(r + max(0, 2**i - 2**j) for i, r in enumerate(reach)) for j in range(len(reach))
            ]  # a pixel of branch j is under a pixel of branch i that reaches 2**i - 2**j further
        return reach[0]

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.stem(x)]
        for n, stage in enumerate(self.stages):
            if n:
                maps.append(self.start[n - 1](maps[-1]))
            maps = stage(maps)
        return [norm(m) for norm, m in zip(self.last, maps, strict=True)]
