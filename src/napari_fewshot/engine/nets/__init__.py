"""Backbones by name. A new architecture is one file here and one line in ``NETS``."""

from typing import Any

from napari_fewshot.core.errors import ModelError
from napari_fewshot.engine.nets.backbone import Backbone
from napari_fewshot.engine.nets.hrnet import HRNet
from napari_fewshot.engine.nets.receptive_unet import ReceptiveUNet
from napari_fewshot.engine.nets.residual_unet import ResidualUNet

NETS: dict[str, type[Backbone]] = {
    "residual-unet": ResidualUNet,
    "receptive-unet": ReceptiveUNet,
    "hrnet": HRNet,
}


def build_net(description: dict[str, Any]) -> Backbone:
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
        raise ModelError(
            f"the network '{name}' cannot be built as its card says ({error}): export the model again"
        ) from None
