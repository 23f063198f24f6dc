"""A generator: a network with its card, from and to files. Does not predict or train."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError
from napari_fewshot.core.shelf import ModelFile, can_be_name, export_model
from napari_fewshot.engine.classic import CLASSIC, ClassicNetwork
from napari_fewshot.engine.device import choose_device, place
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.network import Network


class Generator:
    """A pretrained or fine-tuned network and the card that describes it.

    Parameters
    ----------
    card : ModelCard
    network : Network
        In evaluation mode, on ``device``.
    device : str
    """

    def __init__(self, card: ModelCard, network: Network, device: str = "cpu") -> None:
        self.card = card
        self.device = device
        self.network = place(network, device).eval()

    @classmethod
    def from_file(cls, model: ModelFile, device: str = "cpu") -> Generator:
        """Build from a model file; weights are computed with as float32 whatever they are stored as.

        Raises
        ------
        ModelError
            The weights are no safetensors or do not fit the card.
        ComputeError
            The device does not exist.
        """
        device = choose_device(device)
        try:
            tensors = safetensors.torch.load(model.weights)
        except (safetensors.SafetensorError, ValueError) as error:
            raise ModelError(
                f"the weights of '{model.card.name}' are no safetensors ({error}): export the model again"
            ) from None
        build = ClassicNetwork if model.card.net.get("name") == CLASSIC else Network
        network = build.of_card(model.card)
        try:
            network.load_state_dict({k: v.float() for k, v in tensors.items()})
        except RuntimeError:
            raise ModelError(
                f"the weights of '{model.card.name}' do not fit the network its card describes: export the model again"
            ) from None
        return cls(model.card, network, device)

    @property
    def has_head(self) -> bool:
        """False for a segmentation model that has not seen any strokes."""
        return not isinstance(self.network.head, ClassesHead) or self.network.head.is_fitted

    def to_file(self) -> ModelFile:
        """Seal weights (float16 for the embedded size, float32 heads) and card together."""
        tensors = {k: _stored(k, v) for k, v in self.network.state_dict().items()}
        return ModelFile.sealed(self.card, safetensors.torch.save(tensors))

    def seal(self) -> None:
        """Round the weights to how they are stored, so that the model answers the same once it is read again."""
        stored = {k: _stored(k, v).float() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(stored)
        self.card = self.to_file().card

    def save(self, folder: str | os.PathLike[str]) -> ModelCard:
        """Write ``model.safetensors`` and ``card.json`` into a new folder, or a zip file when its name ends in ``.zip``.

        The model is called as its folder where that can be a name.

        Raises
        ------
        StorageError
            The folder exists, or the disk is full or read-only.
        """
        path = Path(folder)
        model, name = self.to_file(), path.stem if path.suffix.lower() == ".zip" else path.name
        if can_be_name(name):
            model = replace(model, card=model.card.renamed(name))
        export_model(model, path)
        self.card = model.card
        return model.card

    def __repr__(self) -> str:
        return f"Generator({self.card.name!r}, task={self.card.task!r}, device={self.device!r})"


def stamp(card: ModelCard, **changes: Any) -> ModelCard:
    """A card with ``changes``, the time of creation and the versions of what made it; hash and id are yet to come."""
    names = ("napari-fewshot", "torch", "numpy")
    versions = {n: version(n) for n in names}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return replace(card, id="", sha256="", created=now, versions=versions, **changes)


def _stored(name: str, value: torch.Tensor) -> torch.Tensor:
    dtype = torch.float32 if name.startswith("head.") else torch.float16
    return value.detach().to("cpu", dtype).contiguous()
