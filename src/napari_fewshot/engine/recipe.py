"""What a pretraining is to do, and all that can be wrong with it. Reads no picture and trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_fewshot.core.errors import ModelError, StorageError
from napari_fewshot.core.job import Budget
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.engine.checkpoint import check_room, find_checkpoint
from napari_fewshot.engine.crew import ALONE, Crew
from napari_fewshot.engine.logbook import check_log
from napari_fewshot.engine.nets import NETS
from napari_fewshot.engine.pretexts import PRETEXTS
from napari_fewshot.engine.pretexts.pretext import LabelledSet, Pretext, Shared
from napari_fewshot.engine.pretexts.restore import FIDELITIES, MODELS, Restore
from napari_fewshot.engine.schedule import Schedule

NET: dict[str, Any] = {"name": "residual-unet", "widths": [16, 32, 64, 128]}
SEGMENT = "em-segment"
SNAPSHOT_BYTES = 40  # per parameter: weights, their mean, the best, two moments of Adam, twice while it is replaced
MODEL_BYTES = 4  # per parameter
MAX_BATCH = 1024


@dataclass(frozen=True, eq=False)
class Recipe:
    """What to pretrain on and how.

    Parameters
    ----------
    pictures : tuple of Picture
        Unlabelled images; those that cannot be read are named and left out.
    labelled : tuple of LabelledSet
        Sets with dense labels for the few-shot episodes; may be empty.
    seconds : float
        Wall time of the training.
    pretexts : mapping of str to float
        Names with weights. ``restore`` makes the restoration models, all others ``em-segment``.
    steps : int or None
        Instead of a wall time.
    start : tuple of ModelFile
        Models of an earlier pretraining to begin with, of as many channels or of a divisor of them; their steps and
        seconds are counted in.
    resume : Path or None
        Folder of a pretraining that was stopped, to go on with as if it had not.
    adversarial : float
        Weight of the LSGAN term beside 100 L1 in ``restore``; 0 leaves the discriminator, 60 % of the time, out.
    net : dict
        Architecture and size, as in a card.
    batch : int
        How many times as much is drawn for a step as suits a CPU.
    in_bfloat16 : bool or None
        Compute the backbone in bfloat16; None does so on a GPU.
    n_loaders : int
        That draw patches in the background: 1 is a thread, more are processes; 0 draws in between.
    log : Path or None
        Folder for TensorBoard.
    command, licence : str
        For the cards.
    restorations : tuple of str
        The models that ``restore`` makes; fewer get more steps each, and the backbone to themselves.
    rate : float
        Peak learning rate of Adam; a third of the usual one suits weights that have learned much already.
    fidelity : {"l1", "psnr"}
        What ``restore`` minimises beside the LSGAN term: 100 L1, or the logarithm of the squared error.
    """

    pictures: tuple[Picture, ...]
    labelled: tuple[LabelledSet, ...] = ()
    seconds: float = 3600.0
    pretexts: Mapping[str, float] = field(default_factory=lambda: {"restore": 1.0, "episodic": 1.0})
    steps: int | None = None
    start: tuple[ModelFile, ...] = ()
    resume: Path | None = None
    seed: int = 0
    device: str = "auto"
    adversarial: float = 1.0
    net: dict[str, Any] = field(default_factory=lambda: dict(NET))
    batch: int = 1
    in_bfloat16: bool | None = None
    n_loaders: int = 1
    log: Path | None = None
    command: str = ""
    licence: str = "BSD-3-Clause"
    restorations: tuple[str, ...] = tuple(MODELS)
    rate: float = 1e-3
    fidelity: str = "l1"

    @property
    def models(self) -> list[str]:
        """The model folders that come of it."""
        return [
            *(self.restorations if "restore" in self.pretexts else ()),
            *([SEGMENT] if set(self.pretexts) != {"restore"} else ()),
        ]

    def identity(self, device: str) -> dict[str, Any]:
        """What must not change between a stop and going on; JSON values."""
        return {
            "end": f"{self.seconds:g} s" if self.steps is None else f"{self.steps} steps",
            "precision": "bfloat16" if self.computes_in_bfloat16(device) else "float32",
            "start": [model.card.id for model in self.start],
            "net": self.net,
            "pretexts": dict(self.pretexts),
            "seed": self.seed,
            "rate": self.rate,
            "adversarial": self.adversarial,
            "fidelity": self.fidelity,
            "restorations": list(self.restorations),
            "batch": self.batch,
            "pictures": [f"{p.name} {p.shape}" for p in self.pictures],
            "labelled": [s.name for s in self.labelled],
        }

    def computes_in_bfloat16(self, device: str) -> bool:
        return device.startswith("cuda") if self.in_bfloat16 is None else self.in_bfloat16

    @property
    def schedule(self) -> Schedule:
        """Warm-up and averaging of long trainings; at most a tenth of short ones, which would else hardly leave the start."""
        if self.steps is None:
            budget, warm_steps, average = Budget(seconds=self.seconds), 200, 0.998
        else:
            tenth = max(1, self.steps // 10)
            budget, warm_steps, average = Budget(steps=self.steps), min(200, tenth), 1 - 1 / min(500, tenth + 1)
        return Schedule(budget, rate=self.rate, warm_steps=warm_steps, average=average, look_s=120)

    def make_pretexts(self, device: str, crew: Crew) -> dict[Pretext, float]:
        """The pretexts with their weights."""
        made: dict[Pretext, float] = {}
        for name, weight in self.pretexts.items():
            pretext = PRETEXTS[name](device) if name != Restore.name else self._restore(device, crew)
            pretext.batch *= self.batch
            made[pretext] = weight
        return made

    def _restore(self, device: str, crew: Crew) -> Restore:
        models, fidelity = self.restorations, self.fidelity
        return Restore(device, adversarial=self.adversarial, crew=crew, models=models, fidelity=fidelity)


def check_recipe(recipe: Recipe, out: Path) -> None:
    """Find everything that can be wrong before pictures are read and hours are spent.

    Raises
    ------
    ModelError
        An unknown pretext or network, or an option that makes no training.
    StorageError
        A model folder exists already, or the disk is full or read-only.
    ComputeError
        An extra that was asked for is not installed.
    """
    _check_choices(recipe)
    _check_numbers(recipe)
    _check_net(recipe.net)
    for model in recipe.models:
        if (out / model).exists():
            raise StorageError(
                f"{out / model} exists already: choose another folder (a saved model is never overwritten)"
            )
    if recipe.resume:
        find_checkpoint(recipe.resume)
    if recipe.log:
        check_log(recipe.log)
    check_room(out, (SNAPSHOT_BYTES + MODEL_BYTES * len(recipe.models)) * _n_parameters(recipe))


def _check_choices(recipe: Recipe) -> None:
    unknown = set(recipe.pretexts) - PRETEXTS.keys()
    if unknown or not recipe.pretexts:
        raise ModelError(f"there is no pretext {', '.join(sorted(unknown))!r}: choose from {', '.join(PRETEXTS)}")
    models = recipe.restorations
    if not models or set(models) - MODELS.keys() or len(set(models)) < len(models):
        raise ModelError(f"'restore' makes {', '.join(MODELS)}: choose any of them once, not {', '.join(models)!r}")
    if Restore.name not in recipe.pretexts and set(models) != MODELS.keys():
        raise ModelError(f"{', '.join(models)} comes of 'restore': add it to the pretexts, or name no models")
    if recipe.fidelity not in FIDELITIES:
        raise ModelError(f"there is no fidelity {recipe.fidelity!r}: choose from {', '.join(FIDELITIES)}")


def _check_numbers(recipe: Recipe) -> None:
    least = {
        "steps": recipe.steps or 0,
        "seed": recipe.seed,
        "loaders": recipe.n_loaders,
        "adversarial": recipe.adversarial,
    }
    for name, value in least.items():
        if not 0 <= value < inf:
            raise ModelError(f"{name} cannot be {value:g}: choose 0 or more")
    above = {"seconds": recipe.seconds} | {f"the weight of {name}": value for name, value in recipe.pretexts.items()}
    for name, value in above.items():
        if not 0 < value < inf:
            raise ModelError(f"{name} cannot be {value:g}: choose more than 0, or leave it out")
    if not 0 < recipe.rate < 1:
        raise ModelError(
            f"a learning rate of {recipe.rate:g} learns nothing: 0.001 is usual, 0.0003 for a second training"
        )
    if not 1 <= recipe.batch <= MAX_BATCH:
        raise ModelError(f"a batch of {recipe.batch} makes no training: choose 1 to {MAX_BATCH}, 8 to 32 for a GPU")


def _check_net(net: dict[str, Any]) -> None:
    name, options = net["name"], {k: v for k, v in net.items() if k != "name"}
    if name not in NETS:
        raise ModelError(f"there is no network {name!r}: choose from {', '.join(NETS)}")
    widths = options.get("widths", [1])
    if not widths or min(widths) < 1:
        raise ModelError(f"widths cannot be {widths}: give the channels of each level, 1 or more, finest first")
    try:
        with torch.device("meta"):
            NETS[name](**options)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{name} cannot be made so ({error}): check --net, --widths and --receptive-px") from None


def _n_parameters(recipe: Recipe) -> int:
    """Of the network, all heads and the discriminator; nothing of theirs is made."""
    pretexts = recipe.make_pretexts("meta", ALONE)
    with torch.device("meta"):
        modules: list[Any] = [Shared(recipe.net, {p.name: p for p in pretexts})]
    modules += [thing for p in pretexts for thing in p.state().values() if isinstance(thing, nn.Module)]
    return sum(p.numel() for module in modules for p in module.parameters())
