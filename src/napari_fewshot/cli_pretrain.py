"""The command that makes the embedded generators. Reads files; the training is the engine's."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from napari_fewshot.cli_files import Files, list_pictures, read_whole
from napari_fewshot.cli_speech import describe, show
from napari_fewshot.core.errors import PictureError

if TYPE_CHECKING:
    from napari_fewshot.engine.pretexts.episodic import LabelledSet


def pretrain(
    *,
    data: Files,
    out: Path,
    labelled: Files | None = None,
    leave_out: str = "",
    pretexts: str = "restore,episodic",
    start: Path | None = None,
    seconds: float = 3600.0,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    adversarial: float = 1.0,
    licence: str = "BSD-3-Clause",
) -> None:
    """Pretrain the embedded models from unlabelled pictures; Ctrl-C ends early and keeps what was learned.

    Parameters
    ----------
    data
        Picture files, or folders of them.
    out
        Gets one model folder for each embedded model.
    labelled
        Folders with images/ and labels/ of the same file names, for the few-shot episodes.
    leave_out
        Files whose name contains this are not used.
    pretexts
        restore (makes the four restoration models), episodic (makes em-segment), or both with a comma.
    start
        Folder of model folders of an earlier pretraining to go on from.
    seconds
        Wall time in all.
    steps
        Of each pretext, instead of a wall time.
    seed
        For everything random.
    device
        auto, cpu, cuda:0, mps.
    threads
        Of the CPU; without it all cores but one.
    adversarial
        Weight of the adversarial loss of "restore" beside 100 L1; 0 leaves it out.
    licence
        What the cards say of the models.
    """
    from napari_fewshot.api import Teller
    from napari_fewshot.batch.formats import open_picture
    from napari_fewshot.core.shelf import read_model
    from napari_fewshot.engine.device import use_threads
    from napari_fewshot.engine.pretrain import Recipe
    from napari_fewshot.engine.pretrain import pretrain as run

    class Stoppable(Teller):
        is_stopped = False

        def stopped(self) -> bool:
            return self.is_stopped

    def stop(*_: object) -> None:
        listener.is_stopped = True

    use_threads(threads)
    listener = Stoppable(show)
    paths = [p for p in list_pictures(data) if not leave_out or leave_out not in p.name]
    if not paths:
        raise PictureError("there is no picture to learn from: check --data and --leave-out")
    with ExitStack() as files:
        pictures = tuple(files.enter_context(open_picture(p)).picture for p in paths)
        sets = tuple(_labelled_set(folder) for folder in labelled or ())
        planes = f"{sum(p.n_planes for p in pictures)} planes of {', '.join(p.stem for p in paths)}"
        recipe = Recipe(
            pictures,
            sets,
            seconds,
            tuple(pretexts.split(",")),
            steps,
            tuple(read_model(folder) for folder in sorted(start.iterdir())) if start else (),
            seed,
            device,
            adversarial,
            planes + ("; label maps of " + ", ".join(s.name for s in sets) if sets else ""),
            " ".join(["napari-fewshot", *sys.argv[1:]]),
            licence,
        )
        before = signal.signal(signal.SIGINT, stop)
        try:
            cards = run(recipe, out, listener)
        finally:
            signal.signal(signal.SIGINT, before)
        for card in cards:
            describe(card)


def _labelled_set(folder: Path) -> LabelledSet:
    from napari_fewshot.engine.pretexts.episodic import LabelledSet

    images = list_pictures([folder / "images"])
    labels = [folder / "labels" / path.name for path in images]
    return LabelledSet(folder.name, tuple(read_whole(p) for p in images), tuple(read_whole(p) for p in labels))
