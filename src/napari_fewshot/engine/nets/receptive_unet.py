"""The residual U-Nets of arXiv 2402.18286 with a chosen receptive field. Knows nothing of tasks or heads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.engine.nets.backbone import Backbone
from napari_fewshot.engine.nets.residual_unet import PixelGroupNorm

DILATIONS = {  # receptive field in px -> dilation of each level, finest first; n + 1 levels are n blocks
    44: (1, 1, 1),
    84: (2, 2, 2),
    116: (2, 2, 4),
    96: (1, 1, 1, 1),
    176: (1, 2, 2, 2),
    240: (1, 2, 2, 4),
    200: (1, 1, 1, 1, 1),
    360: (1, 1, 2, 2, 2),
    424: (1, 1, 2, 2, 3),
}
FIRST_WIDTH = 4  # of Sytwu et al., doubled at each level


class ShortcutBlock(nn.Module):
    """Two dilated 3 x 3 convolutions beside a 1 x 1 shortcut, norm before each ReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation),
            PixelGroupNorm(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation),
            PixelGroupNorm(outputs),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.body(x))


class ReceptiveUNet(Backbone):
    """U-Net with 2, 3 or 4 residual blocks, max-pooling and concatenated skips (Sytwu et al. 2022).

    Two 3 x 3 convolutions a level and pools of two make receptive fields of 44, 96 and 200 px; dilating the deeper
    levels makes the larger ones without a parameter more.

    Parameters
    ----------
    receptive_px : int
        44, 84, 116 (2 blocks), 96, 176, 240 (3 blocks), 200, 360 or 424 (4 blocks).
    widths : sequence of int or None
        Channels per level, finest first; None is 4, doubled at each level, as in Sytwu et al.

    Raises
    ------
    ValueError
        Another receptive field, or a number of widths that does not go with it.
    """

    def __init__(self, receptive_px: int = 96, widths: Sequence[int] | None = None) -> None:
        super().__init__()
        if receptive_px not in DILATIONS:
            raise ValueError(f"receptive_px is one of {', '.join(map(str, sorted(DILATIONS)))}")
        self.dilations = DILATIONS[receptive_px]
        self.widths = tuple(widths or (FIRST_WIDTH * 2**level for level in range(len(self.dilations))))
        if len(self.widths) != len(self.dilations):
            raise ValueError(f"a receptive field of {receptive_px} px needs {len(self.dilations)} widths")
        inputs = (1, *self.widths[:-1])
        self.encoder = nn.ModuleList(map(ShortcutBlock, inputs, self.widths, self.dilations))
        joined = [a + b for a, b in pairwise(self.widths)]
        self.decoder = nn.ModuleList(map(ShortcutBlock, joined, self.widths[:-1], self.dilations[:-1]))

    @property
    def align_px(self) -> int:
        return int(2 ** (len(self.widths) - 1))

    @property
    def radius_px(self) -> int:
        reach = [2 * dilation * 2**level for level, dilation in enumerate(self.dilations)]
        return int(2 * sum(reach[:-1]) + reach[-1] + self.align_px - 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        outputs = [x]
        for level in reversed(range(len(self.decoder))):
            x = torch.cat([skips[level], F.interpolate(x, scale_factor=2.0, mode="nearest")], 1)
            x = self.decoder[level](x)
            outputs.append(x)
        return outputs[::-1]
