"""What prediction and training need to know of an architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.look import Look, spanning, whole

MARGIN_PX = 4  # what interpolation and heads reach beyond the box they answer for


class Backbone(nn.Module, ABC):
    """Maps (B, 1, Y, X) to feature maps, finest first, level l at 1 / 2**l of the resolution.

    Attributes
    ----------
    widths : tuple of int
        Channels of each level.
    """

    widths: tuple[int, ...]

    @property
    @abstractmethod
    def align_px(self) -> int:
        """Y and X of the input must be multiples of this."""

    @property
    @abstractmethod
    def radius_px(self) -> int:
        """Pixels beyond which the input cannot change an output pixel: the halo that a tile needs."""

    @abstractmethod
    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 1, Y, X) -> [(B, widths[l], Y / 2**l, X / 2**l) for each level l]."""

    def around(self, x: Tensor, box: Box) -> Look:
        """The maps of `forward`, right in a box of ``x`` and `MARGIN_PX` around it; what lies further may be left out."""
        return spanning(self(x), whole(x))
