"""What a pretext is to the training that combines several over one backbone. Knows no single pretext."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_fewshot.engine.look import Look, whole
from napari_fewshot.engine.nets import build_net
from napari_fewshot.engine.network import look
from napari_fewshot.engine.patches import Patches

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Images of one kind with dense labels 0 .. K - 1, all planes (Y, X)."""

    name: str
    images: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Sources:
    """What pretexts draw from: unlabelled patches and, where there are any, sets with labels."""

    patches: Patches
    labelled: tuple[LabelledSet, ...] = ()


class Shared(nn.Module):
    """One backbone and, for each pretext, the parts that it alone trains.

    Parameters
    ----------
    net : dict
        The ``net`` entry of a card.
    pretexts : mapping of str to Pretext
    in_bfloat16 : bool
        The backbone, where nearly all of the time goes, computes in bfloat16; heads and losses stay in float32.
    """

    def __init__(self, net: dict[str, Any], pretexts: Mapping[str, Pretext], in_bfloat16: bool = False) -> None:
        super().__init__()
        self.backbone = build_net(net)
        self.parts = nn.ModuleDict({name: p.parts(self.backbone.widths) for name, p in pretexts.items()})
        self.in_bfloat16 = in_bfloat16

    def look(self, x: Tensor, zooms: tuple[int, ...]) -> list[Look]:
        """Look at all of a tile (B, 1, Y, X) at every zoom; float32 maps."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            looks = look(self.backbone, zooms, x, whole(x))
        return [[m.of(m.values.float()) for m in one] for one in looks]


class Pretext(ABC):
    """Something to learn without, or with foreign, labels.

    Attributes
    ----------
    name : str
        The key of its parts.
    material : str
        Pretexts of one material learn from the same draw, and share what the backbone sees of it.
    device : str
    batch : int
        How much is drawn for a step.
    uses_labels : bool
        Whether it learns from labelled sets, where there are any.
    """

    uses_labels = False
    name: str
    material: str
    device: str
    batch: int

    @abstractmethod
    def parts(self, widths: tuple[int, ...]) -> nn.Module:
        """What only this pretext trains, for a backbone of ``widths``."""

    @abstractmethod
    def draw(self, sources: Sources, step: int, rng: Rng) -> Any:
        """What a step learns from; runs in a background thread, so numpy only."""

    @abstractmethod
    def judged_on(self, held_out: Sources, rng: Rng) -> Any:
        """What `scores` is given, drawn once."""

    @abstractmethod
    def losses(self, shared: Shared, drawn: Any) -> dict[str, Tensor]:
        """Terms of one step, in units that make a weight of 1 compare with a cross-entropy."""

    @abstractmethod
    def scores(self, shared: Shared, judged: Any) -> dict[str, float]:
        """Quality on what was held out."""

    @abstractmethod
    def sample(self, shared: Shared, judged: Any) -> np.ndarray:
        """(Y, X) float32, 0 to 1: what was given, wanted and answered, side by side."""

    def after_step(self) -> None:
        """Whatever follows an optimiser step (the discriminator's own)."""
        return

    def state(self) -> dict[str, Any]:
        """What has a ``state_dict`` beside the shared module, by name."""
        return {}


def tensor(planes: np.ndarray, device: str) -> Tensor:
    """(B, Y, X) -> (B, 1, Y, X) on a device, in the layout that convolutions are fastest with."""
    return torch.from_numpy(planes[:, None]).to(device, memory_format=torch.channels_last)


def side_by_side(*planes: Tensor) -> np.ndarray:
    """(Y, X) tensors on the unit scale -> (Y, n * X) float32 within 0 .. 1."""
    return torch.cat([p.detach().float().cpu().clamp(0, 1) for p in planes], 1).numpy()


def grey(classes: Tensor) -> Tensor:
    """Classes -1 .. K - 1 as grey levels."""
    return (classes + 1).float() / (classes.max() + 1).clamp(min=1)
