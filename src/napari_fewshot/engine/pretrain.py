"""Pretraining from unlabelled pictures to model folders. Reads no files; knows the order of the pretexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError
from napari_fewshot.core.job import Budget
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.engine.device import choose_device, place
from napari_fewshot.engine.fit import Fitted, Schedule, fit
from napari_fewshot.engine.generator import Generator, stamp
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.patches import Patches
from napari_fewshot.engine.pretexts import PRETEXTS
from napari_fewshot.engine.pretexts.episodic import Episodic, LabelledSet
from napari_fewshot.engine.pretexts.restore import Restore, Restorers
from napari_fewshot.tasks import TASKS

NET = {"name": "residual-unet", "widths": [16, 32, 64, 128]}
SEGMENT = "em-segment"
RESTORE_SHARE = 0.4  # of the seconds, when restoring is followed by episodes
CURVE_POINTS = 200


@dataclass(frozen=True, eq=False)
class Recipe:
    """What to pretrain on and how.

    Parameters
    ----------
    pictures : tuple of Picture
        Unlabelled images, one source each.
    labelled : tuple of LabelledSet
        Sets with dense labels for the few-shot episodes; may be empty.
    seconds : float
        Wall time for all pretexts together.
    steps : int or None
        Steps of each pretext, instead of a wall time.
    pretexts : tuple of str
        ``restore`` makes the four restoration models; ``episodic`` after it makes ``em-segment``.
    start : tuple of ModelFile
        Models of an earlier pretraining to go on from; their steps and seconds are counted in.
    adversarial : float
        Weight of the LSGAN term beside 100 L1 in ``restore``; 0 leaves the discriminator, 60 % of the time, out.
    data, command, licence : str
        For the cards.
    """

    pictures: tuple[Picture, ...]
    labelled: tuple[LabelledSet, ...] = ()
    seconds: float = 3600.0
    pretexts: tuple[str, ...] = ("restore", "episodic")
    steps: int | None = None
    start: tuple[ModelFile, ...] = ()
    seed: int = 0
    device: str = "auto"
    adversarial: float = 1.0
    data: str = ""
    command: str = ""
    licence: str = "BSD-3-Clause"


def pretrain(recipe: Recipe, out: Path, listener: Listener = SILENT) -> list[ModelCard]:
    """Pretrain and write one model folder for each embedded model; a stop keeps what was learned until then.

    Raises
    ------
    PictureError
        No image is large enough.
    ModelError
        An unknown pretext.
    StorageError
        A model folder exists already, or the disk is full or read-only.
    """
    unknown = set(recipe.pretexts) - PRETEXTS.keys()
    if unknown or not recipe.pretexts:
        raise ModelError(f"there is no pretext {', '.join(sorted(unknown))!r}: choose from {', '.join(PRETEXTS)}")
    device = choose_device(recipe.device)
    rng = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    patches, held_out = Patches(recipe.pictures), Patches(recipe.pictures, held_out=True)
    cards, start = [], None
    if "restore" in recipe.pretexts:
        share = RESTORE_SHARE if "episodic" in recipe.pretexts else 1.0
        restore = Restore(NET, patches, held_out, adversarial=recipe.adversarial, device=device)
        for model in recipe.start:
            if model.card.name in restore.module.heads:
                restore.resume(Generator.from_file(model, device))
        restored = fit(restore, _schedule(recipe, share), listener, rng)
        cards += _save_restorers(recipe, restore, restored, out)
        start = restored.module.backbone.state_dict()
    if "episodic" in recipe.pretexts and not listener.stopped():
        share = 1 - RESTORE_SHARE if "restore" in recipe.pretexts else 1.0
        episodic = Episodic(NET, patches, held_out, recipe.labelled, start=start, device=device)
        for model in recipe.start:
            if model.card.name == SEGMENT and start is None:
                episodic.module.load_state_dict(Generator.from_file(model, device).network.state_dict(), strict=False)
        fitted = fit(episodic, _schedule(recipe, share), listener, rng)
        card = _card(recipe, SEGMENT, "segment", fitted, {"episode mean IoU": fitted.best or 0.0})
        cards.append(Generator(card, place(fitted.module, "cpu")).save(out / card.name))
    return cards


def _schedule(recipe: Recipe, share: float) -> Schedule:
    budget = Budget(seconds=share * recipe.seconds) if recipe.steps is None else Budget(steps=recipe.steps)
    return Schedule(budget, rate=1e-3, warm_steps=200, average=0.998, look_s=120)


def _save_restorers(recipe: Recipe, restore: Restore, fitted: Fitted[Restorers], out: Path) -> list[ModelCard]:
    errors = restore.errors(fitted.module)
    cards = []
    for model in restore.module.heads:
        task = next(t for t in TASKS.values() if model in t.models)
        card = _card(recipe, model, task.name, fitted, {"held-out L1": errors[model]})
        network = Network.of_card(card)
        network.load_state_dict(_states(fitted.module, model))
        cards.append(Generator(card, network).save(out / model))
    return cards


def _states(module: Restorers, model: str) -> dict[str, Tensor]:
    backbone = {f"backbone.{k}": v for k, v in module.backbone.state_dict().items()}
    return backbone | {f"head.{k}": v for k, v in module.heads[model].state_dict().items()}


def _card(recipe: Recipe, name: str, task: str, fitted: Fitted[Any], scores: dict[str, float]) -> ModelCard:
    card = ModelCard(name, task, NET, factor=TASKS[task].models[name], zooms=TASKS[task].zooms)
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
