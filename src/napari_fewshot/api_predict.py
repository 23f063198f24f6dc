"""The public function that applies a generator: arrays in, arrays out. Loads torch when it is called, not before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from napari_fewshot.api_arguments import check_first, check_generator, check_strength
from napari_fewshot.api_listeners import OnEvent, OnlyNotes, Teller
from napari_fewshot.core.errors import PictureError, memory_errors_told
from napari_fewshot.core.picture import Picture, PlaneIndex, picture_of
from napari_fewshot.core.restoring import Restoring
from napari_fewshot.engine.listen import Listener, Silent
from napari_fewshot.tasks import TASKS

if TYPE_CHECKING:
    from napari_fewshot.engine.generator import Generator


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
        A segmentation model that has not been fine-tuned, a ``first`` that is no restoration of the same size, or a ``strength``
        where nothing is restored.
    """
    check_generator(generator)
    check_strength(strength, generator.card, first.card if first is not None else None)
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
