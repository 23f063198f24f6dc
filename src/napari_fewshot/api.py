"""The public functions: arrays in, arrays and generators out. Loads torch when a generator is asked for, not before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from napari_fewshot.api_arguments import (
    Images,
    Others,
    budget_from,
    check_first,
    check_generator,
    check_strength,
    painting_from,
    pairs_from,
    regions_from,
    wish_from,
)
from napari_fewshot.api_objects import objects as objects
from napari_fewshot.compute.events import Event, Finished, Note, Progress
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError, PictureError, StrokesError, memory_errors_told
from napari_fewshot.core.guide import Spot, plan_looks, ranked, take_look
from napari_fewshot.core.job import STROKES_ALONE, Extras
from napari_fewshot.core.picture import Picture, PlaneIndex, picture_of
from napari_fewshot.core.restoring import Restoring
from napari_fewshot.core.shelf import NAME, ModelFile, Shelf, read_model
from napari_fewshot.engine.listen import Listener, Silent
from napari_fewshot.tasks import TASKS

if TYPE_CHECKING:
    from napari_fewshot.engine.generator import Generator

OnEvent = Callable[[Event], None]


def models() -> list[ModelCard]:
    """Cards of all models: the embedded ones first, then the user's versions, oldest first."""
    return Shelf().cards()


def read(model: str | os.PathLike[str]) -> ModelFile:
    """The file of a model given by name or by folder, without building it.

    Raises
    ------
    ModelError
        Unknown, unreadable, altered, or from a newer version.
    """
    if isinstance(model, str) and NAME.fullmatch(model):
        is_known = model in {card.name for card in models()}
        if is_known or not Path(model).is_dir():  # a name wins over a folder of that name in the working directory
            return Shelf().read(model)
    return read_model(model)


def load(model: str | os.PathLike[str], device: str = "cpu") -> Generator:
    """Load a generator.

    Parameters
    ----------
    model : str or path
        A name that `models` lists, or a model folder.
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
    drawn_in: bool = False,
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
    contrast, drawn_in, rank : bool
        What the layers of a segmentation learn from beside the strokes: pixels of a class are to look alike in all painted images,
        objects that strokes grow to are to be found where they are drawn in, and pixels of the class of ``never_miss`` are to
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
    how |= {"extras": Extras(contrast, drawn_in, rank), "regions": regions}
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
        raise PictureError("contrast, drawn_in and rank are for segmentations: leave them out for a restoration")
    if regions is not None and painted is not None:
        raise PictureError("give a restoration targets or regions, not both")
    if regions is None:
        pairs: Sequence[Any] = pairs_from(images, painted, generator.card.factor)
    else:
        pairs = regions_from(images, regions)
    return fine_tune_restore(generator, pairs, budget_from(seconds, steps, started), seed=seed, listener=listener)


@overload
def predict(generator: Generator, image: Sequence[np.ndarray], *, on_event: OnEvent | None = ...) -> list[Any]: ...
@overload
def predict(generator: Generator, image: np.ndarray, *, on_event: OnEvent | None = ...) -> np.ndarray: ...
@overload
def predict(
    generator: Generator, image: Any, *, uncertainty: bool = ..., strength: float = ..., first: Generator | None = ...,
    on_event: OnEvent | None = ...,
) -> Any: ...  # fmt: skip


@memory_errors_told()
def predict(
    generator: Generator,
    image: Any,
    *,
    uncertainty: bool = False,
    strength: float = 1.0,
    first: Generator | None = None,
    on_event: OnEvent | None = None,
) -> Any:
    """Apply a generator plane by plane.

    Parameters
    ----------
    generator : Generator
        A segmentation needs strokes first: see `fine_tune`.
    image : array or list of arrays
        (Y, X), (Z, Y, X) or with T and C in front; lazy arrays are read plane by plane. A list gives a list.
    uncertainty : bool
        Also return a map of how unsure each pixel is.
    strength : float
        Of a restoration, 0.5 to 2: more takes away more noise and more detail; before a segmentation, that of ``first``.
    first : Generator, optional
        A restoration of the same size that each plane goes through before ``generator`` sees it.
    on_event : callable, optional
        Gets a `Progress` after each plane, and a `Note` where there is something to say, such as that a plane is left out.

    Returns
    -------
    ndarray, or (ndarray, ndarray)
        Segmentation: classes 1..K as the smallest unsigned dtype. Restoration: the image's dtype and range (floats as
        float32), its mean, and ``factor`` times as large along Y and X. The uncertainty map is float32: 0 (sure) to 1 for
        classes, one standard deviation of the error in the units of the image for a restoration. Of a stack, a plane without a
        finite pixel is left out: NaN, or 0 where the result is of integers.

    Raises
    ------
    PictureError
        Too small, too many axes, no finite pixel in any plane.
    ModelError
        A segmentation model that has not been fine-tuned, or a ``first`` that is no restoration of the same size.
    """
    check_generator(generator)
    check_strength(strength)
    if first is not None:
        check_first(first.card)
    if isinstance(image, list | tuple):
        how: dict[str, Any] = {"uncertainty": uncertainty, "strength": strength, "first": first, "on_event": on_event}
        return [predict(generator, one, **how) for one in image]
    picture, is_segmentation = picture_of(image), TASKS[generator.card.task].needs_strokes
    picture.check_size()
    started, listener = time.monotonic(), Teller(on_event) if on_event else Silent()
    rooms: list[np.ndarray | None] = []
    left_out: dict[PlaneIndex, PictureError] = {}
    for done, index in enumerate(picture.plane_indices(), start=1):
        plane = picture.take_plane(index)
        try:
            if first is not None:
                plane, _ = _answer(first, plane, False, strength if is_segmentation else 1.0, listener)
            answers = _answer(generator, plane, uncertainty, strength, listener)
        except PictureError as error:
            left_out[index] = error
            if picture.n_planes > 1:
                listener.note(f"plane {', '.join(map(str, index))} is left out: {error}")
        else:
            rooms = rooms or [None if a is None else _room(picture, a) for a in answers]
            _write(rooms, index, answers)
        seconds = time.monotonic() - started
        listener.progress(done, picture.n_planes, seconds, seconds / done * (picture.n_planes - done), {}, None)
    if not rooms:
        raise next(iter(left_out.values()))
    for index in left_out:
        _write(rooms, index, [np.nan if r is not None and r.dtype.kind == "f" else 0 for r in rooms])
    return tuple(rooms) if uncertainty else rooms[0]


def _room(picture: Picture, answer: np.ndarray) -> np.ndarray:
    """Room for the answers for all planes of a picture: no more than that answer if it is the only one."""
    shape = (*picture.shape[:-2], *answer.shape)
    return answer.reshape(shape) if picture.n_planes == 1 else np.empty(shape, answer.dtype)


def _write(rooms: Sequence[np.ndarray | None], index: PlaneIndex, answers: Sequence[np.ndarray | float | None]) -> None:
    for room, answer in zip(rooms, answers, strict=True):
        if room is not None:
            room[index] = answer


def _answer(
    generator: Generator, plane: np.ndarray, uncertainty: bool, strength: float, listener: Listener
) -> tuple[np.ndarray, np.ndarray | None]:
    """The answer for a (Y, X) plane, and how unsure it is when that is asked for."""
    from napari_fewshot.engine.predict import predict_plane
    from napari_fewshot.engine.restoration import restore_plane

    if TASKS[generator.card.task].needs_strokes:
        values, sure = predict_plane(generator, plane, confidence=uncertainty)
        return values, None if sure is None else 1 - sure
    restored = restore_plane(generator, plane, Restoring(strength, uncertainty), listener=OnlyNotes(listener))
    return restored.values, restored.maps.get("uncertainty")


def suggest(
    generator: Generator,
    image: Any,
    painted: Images | None = None,
    *,
    seconds: float = 4.0,
    seed: int = 0,
    on_event: OnEvent | None = None,
) -> list[Spot]:
    """Where in an image the next stroke of a segmentation helps most: unsure, and unlike anything painted.

    Parameters
    ----------
    generator : Generator
        Its last layer is fitted to ``painted`` first, if given; else it must have been fine-tuned.
    image : array
        As for `predict`. Slices are looked at coarse to fine until the time is over, so a stack may be of any size.
    painted : ndarray, optional
        Integers of the image's shape, 0 = not painted, k >= 1 = class k.
    seconds : float
        To look around, from the first look on; the current strokes' features come on top.

    Returns
    -------
    list of (index, box, gain)
        The best first: ``index`` of a plane, ``box`` of two slices along its Y and X, and what a stroke is expected to
        gain there, comparable within one call.

    Raises
    ------
    FewshotError
        The image or the strokes cannot be used, or the generator has not seen any.
    """
    from napari_fewshot.engine.guide import Guide, look_over
    from napari_fewshot.engine.painted import FeatureCache

    check_generator(generator)
    if not TASKS[generator.card.task].needs_strokes:
        raise ModelError(f"'{generator.card.name}' needs no strokes: suggest is for segmentation models")
    picture, listener = picture_of(image), Teller(on_event) if on_event else Silent()
    picture.check_size()
    painting = None if painted is None else painting_from(image, painted)
    guide = Guide.of(generator, painting, FeatureCache(), seed)
    began, looks, seen = time.monotonic(), plan_looks(picture), []
    for look in looks:
        with suppress(PictureError):  # a plane without a finite pixel shows nothing to paint on
            seen.append(look_over(guide, look, *take_look(picture, look)))
        spent = time.monotonic() - began
        listener.progress(len(seen), len(looks), spent, max(0.0, seconds - spent), {}, None)
        if spent > seconds:
            break
    return ranked(seen)


class OnlyNotes(Silent):
    """Hands on what is said, not how far each plane is."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def note(self, message: str) -> None:
        self._listener.note(message)


class Teller(Silent):
    """A listener that turns what it hears into events with an empty job id."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event

    def progress(
        self,
        done: int,
        total: int | None,
        seconds: float,
        seconds_left: float | None,
        losses: dict[str, float],
        score: float | None,
    ) -> None:
        self.on_event(Progress("", done, total, seconds, seconds_left, losses, score))

    def note(self, message: str) -> None:
        self.on_event(Note("", message))
