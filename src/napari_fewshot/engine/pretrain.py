"""Pretraining from unlabelled pictures to model folders. Reads no picture files; knows no single pretext's workings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError, StorageError
from napari_fewshot.core.job import Budget
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.engine.checkpoint import Checkpoint, check_room
from napari_fewshot.engine.crew import ALONE, Crew, Together, n_processes
from napari_fewshot.engine.device import choose_device
from napari_fewshot.engine.fit import Fitted, Schedule, fit
from napari_fewshot.engine.generator import Generator, stamp
from napari_fewshot.engine.listen import SILENT, Listener, Silent, StopRequested
from napari_fewshot.engine.logbook import Logbook
from napari_fewshot.engine.nets import build_net
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.patches import Patches
from napari_fewshot.engine.pretexts import PRETEXTS
from napari_fewshot.engine.pretexts.combined import Combined
from napari_fewshot.engine.pretexts.pretext import LabelledSet, Pretext, Shared, Sources
from napari_fewshot.engine.pretexts.restore import FIDELITIES, MODELS, Restore
from napari_fewshot.engine.spectra import training_spectrum
from napari_fewshot.engine.widen import take_over
from napari_fewshot.engine.windows import find_windows, hold_out
from napari_fewshot.tasks import TASKS

NET: dict[str, Any] = {"name": "residual-unet", "widths": [16, 32, 64, 128]}
SEGMENT = "em-segment"
NOTHING_LEARNED = "stopped before anything was learned: no model is saved"
CURVE_POINTS = 200
BYTES_PER_PARAMETER = 48  # a snapshot: weights, their mean, the best, two moments of Adam, twice while it is replaced


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
        Names with weights. ``restore`` makes the four restoration models, all others ``em-segment``.
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
    data, command, licence : str
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
    data: str = ""
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


class Deputy(Silent):
    """Listens for a stop and leaves the talking to the first process."""

    def __init__(self, listener: Listener) -> None:
        self.stopped = listener.stopped  # type: ignore[method-assign]


def pretrain(recipe: Recipe, out: Path, listener: Listener = SILENT) -> list[ModelCard]:
    """Pretrain and write one model folder for each embedded model; a stop keeps what was learned until then, if anything.

    While it runs, and after a stop, ``out`` also holds a checkpoint with which another call can ``resume``.

    Raises
    ------
    PictureError
        No image is large enough and shows some structure.
    ModelError
        An unknown pretext or network, or nothing to resume.
    StorageError
        A model folder exists already, or the disk is full or read-only.
    ComputeError
        The device does not exist, or an extra that was asked for is not installed.
    """
    _check(recipe, out)
    crew = Together(recipe.device == "cpu") if n_processes() > 1 else ALONE
    device = crew.device if isinstance(crew, Together) else choose_device(recipe.device)
    listener = Deputy(listener) if crew.rank else listener
    try:
        parts = hold_out(find_windows(recipe.pictures, listener))
    except StopRequested:
        listener.note(NOTHING_LEARNED)
        return []
    train, held_out = (Sources(Patches(part), recipe.labelled) for part in parts)
    logbook = Logbook(recipe.log) if recipe.log and crew.rank == 0 else None
    torch.manual_seed(recipe.seed)
    in_bfloat16 = device.startswith("cuda") if recipe.in_bfloat16 is None else recipe.in_bfloat16
    objective = Combined(
        recipe.net, _pretexts(recipe, device, crew), train, held_out, recipe.seed + 7919 * crew.rank, device, in_bfloat16,
        recipe.n_loaders, logbook,
    )  # fmt: skip
    for model in sorted(recipe.start, key=lambda m: (m.card.name in recipe.models, m.card.name == SEGMENT)):
        _begin_with(objective.module, model)
    checkpoint = Checkpoint(out, _identity(recipe), objective, recipe.resume)
    try:
        rng = np.random.default_rng(recipe.seed)
        fitted = fit(objective, _schedule(recipe), listener, rng, keeper=checkpoint, crew=crew)
    finally:
        objective.close()
        if logbook:
            logbook.close()
    if crew.rank:
        return []
    if fitted.stopped and not fitted.steps:
        listener.note(NOTHING_LEARNED)
        return []
    cards = _save(recipe, fitted, objective.latest, train.patches, out)
    if not fitted.stopped:
        checkpoint.remove()
    return cards


def _check(recipe: Recipe, out: Path) -> None:
    """Everything that can be wrong is found before pictures are read and hours are spent."""
    unknown = set(recipe.pretexts) - PRETEXTS.keys()
    if unknown or not recipe.pretexts:
        raise ModelError(f"there is no pretext {', '.join(sorted(unknown))!r}: choose from {', '.join(PRETEXTS)}")
    if not recipe.restorations or set(recipe.restorations) - MODELS.keys():
        raise ModelError(
            f"'restore' makes {', '.join(MODELS)}: choose any of them, not {', '.join(recipe.restorations)!r}"
        )
    if recipe.fidelity not in FIDELITIES:
        raise ModelError(f"there is no fidelity {recipe.fidelity!r}: choose from {', '.join(FIDELITIES)}")
    if not 0 < recipe.rate < 1:
        raise ModelError(
            f"a learning rate of {recipe.rate:g} learns nothing: 0.001 is usual, 0.0003 for a second training"
        )
    if recipe.batch < 1:
        raise ModelError(f"a batch of {recipe.batch} is empty: choose 1 or more")
    if not all(weight > 0 for weight in recipe.pretexts.values()):
        raise ModelError("the weight of a pretext must be larger than 0: leave it out instead")
    for model in recipe.models:
        if (out / model).exists():
            raise StorageError(
                f"{out / model} exists already: choose another folder (a saved model is never overwritten)"
            )
    n_parameters = sum(p.numel() for p in build_net(recipe.net).parameters())
    check_room(out, BYTES_PER_PARAMETER * n_parameters)


def _pretexts(recipe: Recipe, device: str, crew: Crew) -> dict[Pretext, float]:
    made: dict[Pretext, float] = {}
    for name, weight in recipe.pretexts.items():
        is_gan = name == Restore.name
        pretext = (
            Restore(
                device, adversarial=recipe.adversarial, crew=crew, models=recipe.restorations, fidelity=recipe.fidelity
            )
            if is_gan
            else PRETEXTS[name](device)
        )
        pretext.batch *= recipe.batch
        made[pretext] = weight
    return made


def _identity(recipe: Recipe) -> dict[str, Any]:
    """What must not change between a stop and going on."""
    return {
        "net": recipe.net,
        "pretexts": dict(recipe.pretexts),
        "seed": recipe.seed,
        "rate": recipe.rate,
        "adversarial": recipe.adversarial,
        "fidelity": recipe.fidelity,
        "restorations": list(recipe.restorations),
        "batch": recipe.batch,
        "pictures": [f"{p.name} {p.shape}" for p in recipe.pictures],
        "labelled": [s.name for s in recipe.labelled],
    }


def _schedule(recipe: Recipe) -> Schedule:
    """Warm-up and averaging of long trainings; at most a tenth of short ones, which would else hardly leave the start."""
    if recipe.steps is None:
        return Schedule(Budget(seconds=recipe.seconds), rate=recipe.rate, warm_steps=200, average=0.998, look_s=120)
    tenth = max(1, recipe.steps // 10)
    budget = Budget(steps=recipe.steps)
    return Schedule(
        budget, rate=recipe.rate, warm_steps=min(200, tenth), average=1 - 1 / min(500, tenth + 1), look_s=120
    )


def _begin_with(module: Shared, model: ModelFile) -> None:
    """Take over the backbone, whichever comes last, and the head where there is one for it."""
    network = Generator.from_file(model).network
    head = _head_of(module, model.card.name)
    try:
        take_over(module.backbone, network.backbone.state_dict())
        if head is not None:
            take_over(head, network.head.state_dict())
    except ValueError:
        raise ModelError(
            f"'{model.card.name}' is of another network than --net and --widths describe: give those of its card, "
            "or multiples of its widths"
        ) from None


def _head_of(module: Shared, model: str) -> nn.Module | None:
    """The head that a pretext trained for a model."""
    parts: dict[str, Any] = dict(module.parts.items())
    if model == SEGMENT:
        hybrid = parts.get("hybrid")
        return parts.get("episodic") or (hybrid["classes"] if hybrid is not None else None)
    return parts["restore"][model] if "restore" in parts and model in parts["restore"] else None


def _save(
    recipe: Recipe, fitted: Fitted[Shared], scores: dict[str, float], patches: Patches, out: Path
) -> list[ModelCard]:
    cards, rng = [], np.random.default_rng(recipe.seed)
    for model in recipe.models:
        task = next(t for t in TASKS.values() if model in t.models)
        mine = {"held-out L1": scores[f"{model} L1"]} if model in MODELS else _others(scores)
        card = _card(recipe, model, task.name, fitted, mine)
        if task.corrupt:
            card = replace(card, spectrum=training_spectrum(task.name, card.factor, patches, rng))
        network = Network.of_card(card)
        network.load_state_dict(_states(fitted.module, model), strict=_head_of(fitted.module, model) is not None)
        cards.append(Generator(card, network).save(out / model))
    return cards


def _others(scores: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if name.removesuffix(" L1") not in MODELS}


def _states(module: Shared, model: str) -> dict[str, Tensor]:
    head = _head_of(module, model)
    states = {f"backbone.{k}": v for k, v in module.backbone.state_dict().items()}
    return states | ({f"head.{k}": v for k, v in head.state_dict().items()} if head is not None else {})


def _card(recipe: Recipe, name: str, task: str, fitted: Fitted[Any], scores: dict[str, float]) -> ModelCard:
    card = ModelCard(name, task, recipe.net, factor=TASKS[task].models[name], zooms=TASKS[task].zooms)
    card = replace(card, data=recipe.data, command=recipe.command, licence=recipe.licence, seed=recipe.seed)
    before = next((m.card for m in recipe.start if m.card.name == name), None)
    return stamp(
        card,
        steps=fitted.steps + (before.steps if before else 0),
        seconds=round(fitted.seconds + (before.seconds if before else 0.0), 1),
        scores=scores,
        losses=curve([*(before.losses if before else ()), *curve(fitted.losses)]),
    )


def curve(losses: Sequence[float]) -> tuple[float, ...]:
    """At most ``CURVE_POINTS`` means of consecutive losses: what a card keeps of a history."""
    if not losses:
        return ()
    parts = np.array_split(np.asarray(losses), min(CURVE_POINTS, len(losses)))
    return tuple(round(float(p.mean()), 5) for p in parts)
