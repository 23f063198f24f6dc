"""The public functions: arrays in, arrays and generators out. Loads torch when a generator is asked for, not before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from napari_fewshot.compute.events import Event, Finished, Note, Progress
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError, PictureError, StrokesError
from napari_fewshot.core.job import Budget
from napari_fewshot.core.picture import Picture, picture_of
from napari_fewshot.core.shelf import NAME, ModelFile, Shelf, read_model
from napari_fewshot.core.strokes import Painting, painting_of
from napari_fewshot.engine.listen import Silent
from napari_fewshot.tasks import TASKS

if TYPE_CHECKING:
    from napari_fewshot.engine.generator import Generator

DEFAULT_SECONDS = 10.0
OnEvent = Callable[[Event], None]
Images = np.ndarray | Sequence[np.ndarray]


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
    painted: Images | None = None,
    *,
    seconds: float | None = None,
    steps: int | None = None,
    seed: int = 0,
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
        Restoration: the target images (``factor`` times as large for super-resolution); None adapts to the images alone.
    seconds, steps : float, int, optional
        Stop after this wall time including set-up, or this many steps, whichever comes first; 10 s when neither is
        given. ``steps=0`` fits a segmentation's head only.
    seed : int
        Same seed, same inputs, same machine and ``steps``: same result on a CPU.
    on_event : callable, optional
        Gets `Progress`, `Note` and a final `Finished`, all of `napari_fewshot.compute.events`, with an empty job id.

    Raises
    ------
    FewshotError
        The images, the strokes or the budget cannot be used; the message names the cure.
    """
    from napari_fewshot.engine.fine_tune import fine_tune_restore, fine_tune_segment

    started = time.monotonic()
    listener = Teller(on_event) if on_event else Silent()
    if TASKS[generator.card.task].needs_strokes:
        painting = _painting(images, painted)
        tuned = fine_tune_segment(generator, painting, _budget(seconds, steps, started), seed=seed, listener=listener)
    else:
        pairs = _targets(images, painted, generator.card.factor)
        tuned = fine_tune_restore(generator, pairs, _budget(seconds, steps, started), seed=seed, listener=listener)
    if on_event:
        on_event(Finished("", tuned.to_file()))
    return tuned


@overload
def predict(generator: Generator, image: Sequence[np.ndarray], *, on_event: OnEvent | None = ...) -> list[Any]: ...
@overload
def predict(generator: Generator, image: np.ndarray, *, on_event: OnEvent | None = ...) -> np.ndarray: ...
@overload
def predict(generator: Generator, image: Any, *, uncertainty: bool, on_event: OnEvent | None = ...) -> Any: ...


def predict(generator: Generator, image: Any, *, uncertainty: bool = False, on_event: OnEvent | None = None) -> Any:
    """Apply a generator plane by plane.

    Parameters
    ----------
    generator : Generator
        A segmentation needs strokes first: see `fine_tune`.
    image : array or list of arrays
        (Y, X), (Z, Y, X) or with T and C in front; lazy arrays are read plane by plane. A list gives a list.
    uncertainty : bool
        Also return a map of how unsure each pixel is.
    on_event : callable, optional
        Gets a `Progress` after each plane.

    Returns
    -------
    ndarray, or (ndarray, ndarray)
        Segmentation: classes 1..K as the smallest unsigned dtype. Restoration: the image's dtype and range (floats as
        float32), ``factor`` times as large along Y and X. The uncertainty map is float32, 0 (sure) to 1.

    Raises
    ------
    PictureError
        Too small, too many axes, no finite pixel.
    ModelError
        A segmentation model that has not been fine-tuned.
    """
    if isinstance(image, list | tuple):
        return [predict(generator, one, uncertainty=uncertainty, on_event=on_event) for one in image]
    from napari_fewshot.engine.predict import predict_plane

    picture = picture_of(image)
    started, listener = time.monotonic(), Teller(on_event) if on_event else Silent()
    values: np.ndarray | None = None
    doubt: np.ndarray | None = None
    for done, index in enumerate(picture.plane_indices(), start=1):
        plane, sure = predict_plane(generator, picture.take_plane(index), confidence=uncertainty)
        if values is None:
            values = np.empty((*picture.shape[:-2], *plane.shape), plane.dtype)
            doubt = np.empty(values.shape, np.float32) if sure is not None else None
        values[index] = plane
        if doubt is not None and sure is not None:
            doubt[index] = 1 - sure
        seconds = time.monotonic() - started
        listener.progress(done, picture.n_planes, seconds, seconds / done * (picture.n_planes - done), {}, None)
    if values is None:
        raise PictureError("the image has no plane (one of its axes is empty): choose another one")
    return (values, doubt) if uncertainty else values


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


def _budget(seconds: float | None, steps: int | None, started: float) -> Budget:
    if seconds is not None and not seconds > 0:
        raise FewshotError(f"seconds must be positive, got {seconds}: use steps=0 to fit the head only")
    if steps is not None and steps < 0:
        raise FewshotError(f"steps must not be negative, got {steps}")
    if seconds is None and steps is None:
        seconds = DEFAULT_SECONDS
    left = None if seconds is None else max(seconds - (time.monotonic() - started), 1e-3)
    return Budget(left, steps)


def _painting(images: Images, painted: Images | None) -> Painting:
    if painted is None:
        raise StrokesError("a segmentation learns from strokes: give integer arrays, 0 = not painted, k >= 1 = class k")
    planes, labels = [], []
    for picture, strokes in _matched(images, painted, "strokes"):
        if picture.shape != strokes.shape:
            raise StrokesError(
                f"the strokes have shape {strokes.shape}, '{picture.name}' has {picture.shape}: they must be equal"
            )
        picture.check_size()
        for index in picture.plane_indices():
            plane = strokes.take_plane(index)
            if plane.any():  # planes without paint need not be read
                planes.append(picture.take_plane(index))
                labels.append(plane)
    painting = painting_of(planes, labels)
    painting.check()
    return painting


def _targets(images: Images, targets: Images | None, factor: int) -> list[tuple[np.ndarray, np.ndarray | None]]:
    if targets is None:
        return [(p.take_plane(i), None) for p in _checked(images) for i in p.plane_indices()]
    pairs: list[tuple[np.ndarray, np.ndarray | None]] = []
    for picture, target in _matched(images, targets, "targets"):
        *leading, y, x = picture.shape
        if target.shape != (*leading, y * factor, x * factor):
            raise PictureError(
                f"the target of '{picture.name}' has shape {target.shape}, "
                f"it must be {(*leading, y * factor, x * factor)}"
            )
        picture.check_size()
        pairs += [(picture.take_plane(i), target.take_plane(i)) for i in picture.plane_indices()]
    return pairs


def _matched(images: Images, others: Images, what: str) -> Iterator[tuple[Picture, Picture]]:
    first, second = _pictures(images, "image"), _pictures(others, what)
    if len(first) != len(second):
        raise FewshotError(f"there are {len(first)} images and {len(second)} {what}: give one for each image")
    return zip(first, second, strict=True)


def _checked(images: Images) -> list[Picture]:
    pictures = _pictures(images, "image")
    for picture in pictures:
        picture.check_size()
    return pictures


def _pictures(images: Images, what: str) -> list[Picture]:
    if not isinstance(images, list | tuple):
        return [picture_of(images, what)]
    if not images:
        raise PictureError("the list of images is empty: give at least one")
    return [picture_of(image, f"{what} {i}") for i, image in enumerate(images)]
