"""The command that makes the embedded generators. Reads files; the training is the engine's."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from napari_fewshot.api_listeners import Teller
from napari_fewshot.cli_files import KEPT_OPEN, Files, list_pictures, open_pictures
from napari_fewshot.cli_labelled import read_labelled
from napari_fewshot.cli_speech import describe, show
from napari_fewshot.cli_stop import stoppable
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError, PictureError
from napari_fewshot.core.shelf import CARD, ModelFile, read_model

Widths = Annotated[list[int] | None, Parameter(consume_multiple=True)]


def pretrain(
    *,
    data: Files,
    out: Path,
    labelled: Files | None = None,
    leave_out: str = "",
    pretexts: str = "restore,episodic",
    models: str = "",
    start: Path | None = None,
    resume: Path | None = None,
    seconds: float = 3600.0,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    loaders: int = 1,
    batch: int = 1,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    net: str = "residual-unet",
    widths: Widths = None,
    receptive_px: int | None = None,
    adversarial: float = 1.0,
    fidelity: Literal["l1", "psnr"] = "l1",
    rate: float = 1e-3,
    log: Path | None = None,
    licence: str = "BSD-3-Clause",
) -> list[ModelCard]:
    """Pretrain the embedded models from unlabelled pictures; Ctrl-C ends early and keeps what was learned.

    On several GPUs: accelerate launch --num_processes 2 -m napari_fewshot.cli pretrain ...

    Parameters
    ----------
    data
        Picture files, or folders of them.
    out
        Gets one model folder for each embedded model and, until it is done, a checkpoint.
    labelled
        Folders with images/ and labels/ of the same file names, for the few-shot episodes.
    leave_out
        Files whose name contains this are not used.
    pretexts
        Any of restore (makes the restoration models), episodic, inpaint, hybrid and contrast (make em-segment),
        with commas, each with its weight after a colon if it is not 1: restore,inpaint:0.5,episodic,contrast:0.1
    models
        Of the restoration models those to make, with commas (em-denoise,em-sharpen); all when empty. One alone gets more
        steps, and the backbone to itself.
    start
        Model folder, or folder of those of an earlier pretraining, to begin with; of these widths or of a divisor of each.
    resume
        Folder of a pretraining that was stopped, to go on with as if it had not; the other options stay the same.
    seconds
        Wall time of the training.
    steps
        Instead of a wall time.
    seed
        For everything random.
    device
        auto, cpu, cuda:0, mps.
    threads
        Of the CPU; without it all cores but one.
    loaders
        Draw patches while the network computes: 1 is a thread, more are processes; 0 draws in between.
    batch
        How many times as much a step learns from as suits a CPU; some 8 to 32 keep a GPU busy.
    precision
        Of the backbone; auto is bfloat16 on a GPU and float32 elsewhere.
    net
        residual-unet, receptive-unet (the paper's) or hrnet.
    widths
        Channels per level, finest first.
    receptive_px
        Receptive field of a receptive-unet: 44, 84, 116, 96, 176, 240, 200, 360 or 424.
    adversarial
        Weight of the adversarial loss of "restore" beside the fidelity; 0 leaves it out.
    fidelity
        Of "restore": 100 L1, or the logarithm of the squared error, which a mean PSNR counts.
    rate
        Peak learning rate of Adam; some 0.0003 spares weights that were begun with.
    log
        Folder for losses, scores and sample pictures; tensorboard --logdir shows them.
    licence
        What the cards say of the models.
    """
    command = command_of(locals())  # before anything else is named
    from napari_fewshot.engine.device import use_threads
    from napari_fewshot.engine.listen import StopRequested
    from napari_fewshot.engine.pretexts.restore import MODELS
    from napari_fewshot.engine.pretrain import pretrain as run
    from napari_fewshot.engine.recipe import NET, Recipe, check_recipe

    for name, value in (("threads", threads), ("steps", steps)):
        if value is not None and value < 1:
            raise ModelError(f"--{name} {value} makes no training: choose 1 or more, or leave it out")
    given = {"name": net, "widths": widths, "receptive_px": receptive_px}
    description = {k: v for k, v in given.items() if v is not None}
    recipe = Recipe(
        pictures=(),
        seconds=seconds,
        pretexts=parse_pretexts(pretexts),
        steps=steps,
        start=read_models(start) if start else (),
        resume=resume,
        seed=seed,
        device=device,
        adversarial=adversarial,
        net=NET if description == {"name": NET["name"]} else description,
        batch=batch,
        in_bfloat16=None if precision == "auto" else precision == "bfloat16",
        n_loaders=loaders,
        log=log,
        command=command,
        licence=licence,
        restorations=tuple(name.strip() for name in models.split(",")) if models else tuple(MODELS),
        rate=rate,
        fidelity=fidelity,
    )
    check_recipe(recipe, out)
    use_threads(threads)
    paths = [p for p in list_pictures(data) if not leave_out or leave_out not in p.name]
    with ExitStack() as files:
        pictures = open_pictures(paths, files, Teller(show).note, 0 if loaders > 1 else KEPT_OPEN)
        if not pictures:
            raise PictureError("there is no picture to learn from: check --data and --leave-out")
        sets = tuple(read_labelled(folder) for folder in labelled or ())
        listener = files.enter_context(stoppable())
        try:
            cards = run(replace(recipe, pictures=tuple(pictures), labelled=sets), out, listener)
        except StopRequested:
            raise KeyboardInterrupt("stopped before anything was learned: no model is saved") from None
    for card in cards:
        describe(card)
    return cards


def command_of(given: Mapping[str, Any]) -> str:
    """The command line that asks `pretrain` for what it was given, whoever called it."""
    words = ["napari-fewshot", "pretrain"]
    for name, parameter in inspect.signature(pretrain).parameters.items():
        if given[name] != parameter.default:
            values = given[name] if isinstance(given[name], list | tuple) else [given[name]]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def read_models(folder: Path) -> tuple[ModelFile, ...]:
    """The model in a folder, or those in its folders.

    Raises
    ------
    ModelError
        There is none.
    """
    found = sorted(p.parent for p in (*folder.glob(CARD), *folder.glob(f"[!.]*/{CARD}")))
    if not found:
        raise ModelError(
            f"no model is in {folder}: --start takes the --out of an earlier pretraining, or a model folder"
        )
    return tuple(map(read_model, found))


def parse_pretexts(text: str) -> dict[str, float]:
    """``restore:1,contrast:0.1`` as names with weights.

    Raises
    ------
    ModelError
        A weight that is no number, or a name that is there twice.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        if name in found:
            raise ModelError(f"--pretexts has {name} twice: give it one weight")
        try:
            found[name] = float(weight or 1)
        except ValueError:
            raise ModelError(f"'{weight}' is not a weight: write --pretexts like restore:1,contrast:0.1") from None
    return found
