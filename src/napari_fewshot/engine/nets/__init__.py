"""Backbones by name. A new architecture is one file here and one line in ``NETS``.

A backbone maps (B, 1, Y, X) to a list of feature maps, finest first, level l at 1 / 2**l of the resolution, and
knows its ``widths`` (channels per level), ``align_px`` (Y and X must be multiples of it) and ``radius_px``
(receptive field beyond a pixel, which is the halo that a tile needs).
"""

from typing import Any, Protocol

from torch import Tensor, nn

from napari_fewshot.core.errors import ModelError
from napari_fewshot.engine.nets.residual_unet import ResidualUNet


class Backbone(Protocol):
    """What prediction and training need to know of a network."""

    widths: tuple[int, ...]
    align_px: int
    radius_px: int

    def __call__(self, x: Tensor) -> list[Tensor]: ...


NETS: dict[str, type[nn.Module]] = {"residual-unet": ResidualUNet}


def build_net(description: dict[str, Any]) -> nn.Module:
    """Build a backbone from the ``net`` entry of a card: its registered name and the arguments of its constructor.

    Raises
    ------
    ModelError
        Unknown name or arguments.
    """
    arguments = dict(description)
    name = arguments.pop("name", "")
    if name not in NETS:
        raise ModelError(f"the model uses the network '{name}', known are {', '.join(NETS)}: update napari-fewshot")
    try:
        return NETS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(f"the network '{name}' cannot be built as its card says ({error}): export the model again") from None
