"""A backbone at one or more zooms with the head of one task: tensors in, tensors out. Knows no files or pictures."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError
from napari_fewshot.core.tiles import Box, Tile
from napari_fewshot.engine.handmade import ALIGN_PX, REACH_PX, handmade
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.heads.image import ImageHead
from napari_fewshot.engine.look import FeatureMap, Look, spanning, whole, zone_around
from napari_fewshot.engine.nets import build_net
from napari_fewshot.engine.nets.backbone import MARGIN_PX, Backbone
from napari_fewshot.tasks import TASKS


class Network(nn.Module):
    """Generator network of one task.

    Parameters
    ----------
    net : dict
        The ``net`` entry of a card.
    zooms : tuple of int
        The backbone also looks at the input reduced by these factors.
    answer : "classes" or "image"
    factor, n_classes : int
        Of an image answer and of a classes answer.
    """

    def __init__(
        self, net: dict[str, Any], zooms: tuple[int, ...], answer: str, factor: int = 1, n_classes: int = 0
    ) -> None:
        super().__init__()
        self.backbone = build_net(net)
        self.zooms = zooms
        self.factor = factor
        widths = self.backbone.widths
        self.head: ClassesHead | ImageHead
        if answer == "classes":
            self.head = ClassesHead(sum(widths) * len(zooms), n_classes)
        else:
            self.head = ImageHead(widths[0], len(zooms), factor)

    @classmethod
    def of_card(cls, card: ModelCard) -> Network:
        """Build what a card describes.

        Raises
        ------
        ModelError
            Unknown task or network.
        """
        if card.task not in TASKS:
            raise ModelError(
                f"the model does the task '{card.task}', known are {', '.join(TASKS)}: update napari-fewshot"
            )
        return cls(card.net, card.zooms, TASKS[card.task].answer, card.factor, len(card.class_numbers))

    @property
    def align_px(self) -> int:
        """Tiles start on multiples of this, and Y and X are padded to it."""
        of_backbone = int(self.backbone.align_px) * max(self.zooms)
        return math.lcm(of_backbone, ALIGN_PX) if isinstance(self.head, ClassesHead) else of_backbone

    @property
    def halo_px(self) -> int:
        """Receptive field beyond a pixel over all zooms, with the reach of the head."""
        of_backbone = (self.backbone.radius_px + MARGIN_PX) * max(self.zooms)
        return max(of_backbone, REACH_PX) if isinstance(self.head, ClassesHead) else of_backbone

    def look(self, x: Tensor, box: Box | None = None) -> list[Look]:
        """Look at a tile (B, 1, Y, X) at every zoom, as far around ``box`` as what it needs reaches; None is all.

        For classes also the hand-made way, last.
        """
        box = box or whole(x)
        looks = look(self.backbone, self.zooms, x, box)
        if isinstance(self.head, ClassesHead):
            zone = zone_around(box, REACH_PX, ALIGN_PX, whole(x))
            looks.append(spanning(handmade(x[..., zone[0], zone[1]]), zone))
        return looks

    def forward(self, x: Tensor, box: Box | None = None) -> Tensor:
        """Answer for ``box`` of a tile.

        Parameters
        ----------
        x : Tensor
            (B, 1, Y, X), multiples of ``align_px``.
        box : Box or None
            The part that is wanted, (y, x) pixels; None is all.

        Returns
        -------
        Tensor
            Logits (B, K, y, x) or an image (B, 1, y * factor, x * factor).
        """
        box = box or whole(x)
        looks = self.look(x, box)
        return self.head(looks, box) if isinstance(self.head, ClassesHead) else self.head(looks, x, box)


def look(backbone: Backbone, zooms: tuple[int, ...], x: Tensor, box: Box) -> list[Look]:
    """Look around ``box`` of a tile (B, 1, Y, X) at each zoom, no further than the receptive field reaches there."""
    looks = []
    for zoom in zooms:
        zone = zone_around(box, (backbone.radius_px + MARGIN_PX) * zoom, backbone.align_px * zoom, whole(x))
        part = x[..., zone[0], zone[1]]
        inner = _times(zone_around(Tile(box, zone).keep(), 0, zoom, whole(part)), 1 / zoom)
        maps = backbone.around(F.avg_pool2d(part, zoom) if zoom > 1 else part, inner)
        looks.append([FeatureMap(m.values, _times(m.zone, zoom, zone)) for m in maps])
    return looks


def _times(box: Box, factor: float, within: Box = (slice(0, 0), slice(0, 0))) -> Box:
    """A box in pixels of another size, counted from the corner of what it lies ``within``."""
    return tuple(  # type: ignore[return-value]
        slice(round(s.start * factor) + w.start, round(s.stop * factor) + w.start)
        for s, w in zip(box, within, strict=True)
    )
