"""Pretraining from unlabelled pictures to model folders. Reads no picture files; knows no single pretext's workings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError, StorageError
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.spectrum import Spectrum
from napari_fewshot.engine.checkpoint import Checkpoint
from napari_fewshot.engine.crew import ALONE, Together, n_processes
from napari_fewshot.engine.device import choose_device
from napari_fewshot.engine.fit import Fitted, fit
from napari_fewshot.engine.generator import Generator, stamp
from napari_fewshot.engine.listen import SILENT, Listener, Silent, StopRequested
from napari_fewshot.engine.logbook import Logbook
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.patches import Patches
from napari_fewshot.engine.pretexts.combined import Combined
from napari_fewshot.engine.pretexts.pretext import Pretext, Shared, Sources
from napari_fewshot.engine.pretexts.restore import MODELS
from napari_fewshot.engine.recipe import SEGMENT, Recipe, check_recipe
from napari_fewshot.engine.spectra import training_spectrum
from napari_fewshot.engine.widen import take_over
from napari_fewshot.engine.windows import Windows, described, find_windows, hold_out
from napari_fewshot.tasks import TASKS

CURVE_POINTS = 200


class Deputy(Silent):
    """Listens for a stop and leaves the talking to the first process."""

    def __init__(self, listener: Listener) -> None:
        self.stopped = listener.stopped  # type: ignore[method-assign]


class Undisturbed(Silent):
    """Talks, and hears no stop: a process that left a step would let the others of its crew wait for ever."""

    def __init__(self, listener: Listener) -> None:
        self.note = listener.note  # type: ignore[method-assign]


@dataclass(frozen=True, eq=False)
class Facts:
    """What cards tell beside the recipe; ``score`` is the name of a restoration's, ``spectra`` its inputs', by model."""

    data: str
    score: str
    spectra: dict[str, tuple[Spectrum, Spectrum]]


def pretrain(recipe: Recipe, out: Path, listener: Listener = SILENT) -> list[ModelCard]:
    """Pretrain and write one model folder for each embedded model; a stop keeps what was learned until then.

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
    StopRequested
        The listener asked to stop before anything was learned.

    Whatever ends it after some steps is raised when the models of these steps are saved.
    """
    check_recipe(recipe, out)
    crew = Together(recipe.device == "cpu") if n_processes() > 1 else ALONE
    device = crew.device if isinstance(crew, Together) else choose_device(recipe.device)
    listener = Deputy(listener) if crew.rank else listener
    drawing = listener if crew is ALONE else Undisturbed(listener)
    windows = find_windows(recipe.pictures, listener)
    train, held_out = hold_out(windows)
    if not held_out:
        listener.note("too few planes to hold one out: the scores are of images that are trained on")
    train_on, judge_on = (Sources(Patches(part, drawing), recipe.labelled) for part in (train, held_out or train))
    torch.manual_seed(recipe.seed)
    pretexts = recipe.make_pretexts(device, crew)
    score = "held-out L1" if held_out else "training L1"
    facts = Facts(_data(recipe, windows, pretexts), score, _spectra(recipe, train_on.patches))
    logbook = Logbook(recipe.log, listener) if recipe.log and crew.rank == 0 else None
    objective = Combined(
        recipe.net, pretexts, train_on, judge_on, recipe.seed + 7919 * crew.rank, device,
        recipe.computes_in_bfloat16(device), recipe.n_loaders, logbook, drawing,
    )  # fmt: skip
    for model in sorted(recipe.start, key=lambda m: (m.card.name in recipe.models, m.card.name == SEGMENT)):
        _begin_with(objective.module, model)
    checkpoint = Checkpoint(out, recipe.identity(device), objective, recipe.resume, listener)
    try:
        rng = np.random.default_rng(recipe.seed)
        fitted = fit(objective, recipe.schedule, listener, rng, keeper=checkpoint, crew=crew)
    finally:
        objective.close()
        if logbook:
            logbook.close()
    if fitted.stopped and not fitted.steps:
        raise StopRequested
    cards = _finish(recipe, fitted, objective.latest, facts, checkpoint) if crew.rank == 0 else []
    if fitted.error:
        listener.note(f"{out} has the models of {fitted.steps} steps, and a checkpoint with which to --resume")
        raise fitted.error
    return cards


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


def _data(recipe: Recipe, windows: Windows, pretexts: Iterable[Pretext]) -> str:
    """What was learned from, for the cards."""
    sets = [s.name for s in recipe.labelled] if any(p.uses_labels for p in pretexts) else []
    return described(windows) + (f"; label maps of {', '.join(sets)}" if sets else "")


def _spectra(recipe: Recipe, patches: Patches) -> dict[str, tuple[Spectrum, Spectrum]]:
    """Of what each restoration model is given; measured at the beginning, when the images can be read."""
    rng = np.random.default_rng(recipe.seed)
    wanted = {model: MODELS[model] for model in recipe.models if model in MODELS}
    return {model: training_spectrum(t.name, t.models[model], patches, rng) for model, t in wanted.items()}


def _finish(
    recipe: Recipe, fitted: Fitted[Shared], scores: dict[str, float], facts: Facts, checkpoint: Checkpoint
) -> list[ModelCard]:
    """Save the models; a checkpoint with nothing more to learn is removed."""
    out = checkpoint.path.parent
    try:
        cards = _save(recipe, fitted, scores, facts, out)
    except StorageError as error:
        cure = f"; what was learned is in {checkpoint.path}: --resume {out} saves it into another --out"
        raise StorageError(f"{error}{cure if checkpoint.path.is_file() else ''}") from None
    if not (fitted.stopped or fitted.error):
        checkpoint.remove()
    return cards


def _save(recipe: Recipe, fitted: Fitted[Shared], scores: dict[str, float], facts: Facts, out: Path) -> list[ModelCard]:
    cards = []
    for model in recipe.models:
        task = next(t for t in TASKS.values() if model in t.models)
        mine = {facts.score: scores[f"{model} L1"]} if model in MODELS else _others(scores)
        card = replace(
            _card(recipe, model, task.name, fitted, mine), data=facts.data, spectrum=facts.spectra.get(model)
        )
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
    card = replace(card, command=recipe.command, licence=recipe.licence, seed=recipe.seed)
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
