"""The public functions: arrays in, arrays and generators out. Loads torch when a generator is asked for, not before."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_fewshot.api_arguments import (
    Images,
    Others,
    budget_from,
    check_generator,
    check_seed,
    painting_from,
    pairs_from,
    regions_from,
    wish_from,
)
from napari_fewshot.api_listeners import OnEvent, Teller
from napari_fewshot.api_objects import objects as objects
from napari_fewshot.api_predict import predict as predict
from napari_fewshot.api_suggest import suggest as suggest
from napari_fewshot.compute.events import Finished
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import PictureError, StrokesError, memory_errors_told
from napari_fewshot.core.job import STROKES_ALONE, Extras
from napari_fewshot.core.shelf import NAME, ModelFile, Shelf, read_model
from napari_fewshot.engine.listen import Listener, Silent
from napari_fewshot.tasks import TASKS

if TYPE_CHECKING:
    from napari_fewshot.engine.generator import Generator


def models() -> list[ModelCard]:
    """Cards of all models: the embedded ones first, then the user's versions, oldest first."""
    return Shelf().cards()


def read(model: str | os.PathLike[str]) -> ModelFile:
    """The file of a model given by name, folder or zip file, without building it.

    Raises
    ------
    ModelError
        Unknown, unreadable, altered, or from a newer version.
    """
    if isinstance(model, str) and NAME.fullmatch(model):
        is_known = model in {card.name for card in models()}
        if is_known or not Path(model).exists():  # a name wins over a folder of that name in the working directory
            return Shelf().read(model)
    return read_model(model)


def load(model: str | os.PathLike[str], device: str = "cpu") -> Generator:
    """Load a generator.

    Parameters
    ----------
    model : str or path
        A name that `models` lists, or a model folder or zip file.
    device : str
        ``"cpu"``, ``"cuda:0"``, ``"mps"``, or ``"auto"`` for the best there is.

    Raises
    ------
    ModelError
        Unknown, unreadable, altered, or from a newer version.
    ComputeError
        The device does not exist.
    """
    from napari_fewshot.engine.generator import Generator

    return Generator.from_file(read(model), device)


def fine_tune(
    generator: Generator,
    images: Images,
    painted: Others | None = None,
    *,
    seconds: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    never_miss: tuple[int, float] | None = None,
    contrast: bool = False,
    copy_paste: bool = False,
    rank: bool = False,
    regions: Images | None = None,
    on_event: OnEvent | None = None,
) -> Generator:
    """Adapt a generator to a few images; the given one stays as it is.

    Parameters
    ----------
    generator : Generator
        From `load` or an earlier call.
    images : ndarray or list of ndarray
        (Y, X) or (Z, Y, X) each, any real dtype.
    painted : ndarray or list of ndarray, optional
        Segmentation: integers of the images' shapes, 0 = not painted, k >= 1 = class k.
        Restoration: the target images (``factor`` times as large for super-resolution), or one for all planes of a stack,
        such as the mean of a series, on any grey scale; None, also for some images of a list, adapts to the images alone.
    seconds, steps : float, int, optional
        Stop after this wall time including set-up, or this many steps, whichever comes first; 10 s when neither is
        given. ``steps=0`` fits a segmentation's head only.
    seed : int
        Same seed, same inputs, same machine and ``steps``: same result on a CPU.
    never_miss : (int, float), optional
        A class of a segmentation and the share of it, 0 to 1, that is to be found at least; what that costs, by strokes
        held out, stands on the card as ``never_miss``. None keeps to what was asked for the given generator.
    contrast, copy_paste, rank : bool
        What the layers of a segmentation learn from beside the strokes: pixels of a class are to look alike in all painted images,
        objects that strokes grow to are to be found where they are pasted, and pixels of the class of ``never_miss`` are to
        score above all others.
    regions : ndarray or list of ndarray, optional
        For a restoration, instead of targets: integers of the images' shapes, 1 = good background, to become even, 2 = good
        structure, to stay as it is, 0 = says nothing.
    on_event : callable, optional
        Gets `Progress`, `Note` and a final `Finished`, all of `napari_fewshot.compute.events`, with an empty job id.

    Raises
    ------
    FewshotError
        The images, the strokes or the budget cannot be used; the message names the cure.
    """
    how: dict[str, Any] = {"seconds": seconds, "steps": steps, "seed": seed, "never_miss": never_miss}
    how |= {"extras": Extras(contrast, copy_paste, rank), "regions": regions}
    found = tuned(generator, images, painted, Teller(on_event) if on_event else Silent(), **how)
    if on_event:
        on_event(Finished("", found.to_file()))
    return found


@memory_errors_told()
def tuned(
    generator: Generator,
    images: Images,
    painted: Others | None,
    listener: Listener,
    *,
    seconds: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    never_miss: tuple[int, float] | None = None,
    extras: Extras = STROKES_ALONE,
    regions: Images | None = None,
) -> Generator:
    """What `fine_tune` answers, with a listener that may stop it: the best so far then."""
    started = time.monotonic()
    from napari_fewshot.engine.fine_tune import fine_tune_restore, fine_tune_segment

    check_generator(generator)
    check_seed(seed)
    if TASKS[generator.card.task].needs_strokes:
        if regions is not None:
            raise StrokesError("regions are for restorations: give a segmentation its strokes as 'painted'")
        painting = painting_from(images, painted)
        wish = wish_from(never_miss, painting)
        if extras.rank and wish is None and generator.card.never_miss is None:
            raise StrokesError("rank is for a class that may hardly be missed: give never_miss=(class, share) with it")
        budget = budget_from(seconds, steps, started)
        return fine_tune_segment(
            generator, painting, budget, seed=seed, listener=listener, never_miss=wish, extras=extras
        )
    if extras != STROKES_ALONE:
        raise PictureError("contrast, copy_paste and rank are for segmentations: leave them out for a restoration")
    if regions is not None and painted is not None:
        raise PictureError("give a restoration targets or regions, not both")
    if regions is None:
        pairs: Sequence[Any] = pairs_from(images, painted, generator.card.factor)
    else:
        pairs = regions_from(images, regions)
    return fine_tune_restore(generator, pairs, budget_from(seconds, steps, started), seed=seed, listener=listener)
