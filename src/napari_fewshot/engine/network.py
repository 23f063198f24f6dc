"""A backbone at one or more zooms with the head of one task: tensors in, tensors out. Knows no files or pictures."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.heads.image import ImageHead
from napari_fewshot.engine.nets import build_net
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
        return cls(card.net, card.zooms, TASKS[card.task].answer, card.factor, card.n_classes)

    @property
    def align_px(self) -> int:
        """Tiles start on multiples of this, and Y and X are padded to it."""
        return int(self.backbone.align_px) * max(self.zooms)

    @property
    def halo_px(self) -> int:
        """Receptive field beyond a pixel over all zooms, with the reach of the head."""
        return (int(self.backbone.radius_px) + 1) * max(self.zooms) + 1

    def look(self, x: Tensor) -> list[list[Tensor]]:
        """(B, 1, Y, X) -> for each zoom the maps of all levels, finest first."""
        return [self.backbone(x if z == 1 else F.avg_pool2d(x, z)) for z in self.zooms]

    def features(self, x: Tensor) -> list[Tensor]:
        """All maps of all zooms in the order in which a head's weights are stored."""
        return [f for levels in self.look(x) for f in levels]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, Y, X), multiples of ``align_px`` -> logits (B, K, Y, X) or an image (B, 1, Y * factor, X * factor)."""
        if isinstance(self.head, ClassesHead):
            return self.head(self.features(x), tuple(x.shape[-2:]))
        return self.head([levels[0] for levels in self.look(x)], x)
