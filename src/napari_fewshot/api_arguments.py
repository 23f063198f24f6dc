"""What users hand to the public functions, checked and turned into what the engine takes. Loads no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from numbers import Integral, Real

import numpy as np

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError, ModelError, PictureError, StrokesError
from napari_fewshot.core.job import Budget
from napari_fewshot.core.objects import Objects
from napari_fewshot.core.operating import NeverMiss
from napari_fewshot.core.picture import Picture, picture_of
from napari_fewshot.core.restoring import AS_TRAINED, STRENGTHS, Regions
from napari_fewshot.core.strokes import Painting, painting_of
from napari_fewshot.tasks import TASKS

DEFAULT_SECONDS = 10.0
Images = np.ndarray | Sequence[np.ndarray | Picture]  # a picture has a name to be called by
Others = np.ndarray | Sequence[np.ndarray | Picture | None]  # strokes or targets, None where an image has none


def budget_from(seconds: float | None, steps: int | None, started: float) -> Budget:
    """What is left of the given seconds, and the steps; 10 s when neither is given."""
    if seconds is not None and not seconds > 0:
        raise FewshotError(f"seconds must be positive, got {seconds}: 0 steps fit the head only")
    if steps is not None and steps < 0:
        raise FewshotError(f"steps must not be negative, got {steps}")
    if seconds is None and steps is None:
        seconds = DEFAULT_SECONDS
    left = None if seconds is None else max(seconds - (time.monotonic() - started), 1e-3)
    return Budget(left, steps)


def check_seed(seed: object) -> None:
    """Raise FewshotError for what random numbers cannot begin with."""
    if not isinstance(seed, Integral) or not 0 <= int(seed) < 2**63:
        raise FewshotError(f"the seed is a whole number from 0 on, got {seed!r}")


def wish_from(never_miss: tuple[int, float] | None, painting: Painting) -> NeverMiss | None:
    """The class and the share of it that is to be found."""
    if never_miss is None:
        return None
    try:
        wish = NeverMiss(*never_miss)
        is_one = wish.class_number in painting.classes and 0 < wish.recall <= 1
    except TypeError:
        is_one = False
    if not is_one:
        raise StrokesError(
            f"never_miss is {never_miss}: give one of the painted classes {painting.classes} and a share from 0 to 1"
        )
    return wish


def check_generator(generator: object) -> None:
    """Raise ModelError for a name where a generator is needed."""
    if not hasattr(generator, "card"):
        raise ModelError(f"{generator!r} is no generator: load it first, as in load('em-denoise')")


def check_first(card: ModelCard) -> None:
    """Raise ModelError unless a model can restore images for another one to look at."""
    if TASKS[card.task].needs_strokes or card.factor != 1:
        raise ModelError(f"'{card.name}' cannot restore images for another model: choose one that denoises")


def check_strength(strength: object, card: ModelCard, first: ModelCard | None) -> None:
    """Raise FewshotError for what is no number, or where nothing is restored; how large it may be `Restoring` knows."""
    if not isinstance(strength, Real):
        raise FewshotError(
            f"the strength of a restoration is a number, {STRENGTHS[0]} to {STRENGTHS[1]}, got {strength!r}"
        )
    if strength != AS_TRAINED.strength and TASKS[card.task].needs_strokes and first is None:
        raise ModelError(f"'{card.name}' does not restore: leave out the strength, or give a denoiser that goes first")


def objects_of(card: ModelCard, which: str, split: float) -> Objects:
    """What is asked of a segmentation that is to answer the objects of a class, given by name or number.

    Raises
    ------
    ModelError
        The model answers no such class.
    """
    names = {k: card.classes[k - 1].name for k in card.class_numbers if k <= len(card.classes)}
    found = [k for k in card.class_numbers if which in (str(k), names.get(k))]
    if not found:
        known = ", ".join(f"{k} ({names[k]})" if k in names else str(k) for k in card.class_numbers) or "no classes"
        raise ModelError(f"'{card.name}' does not answer a class '{which}': it answers {known}")
    return Objects(found[0], split, card.smallest_of(found[0]))


def painting_from(images: Images, painted: Others | None) -> Painting:
    """The painted planes of images, each with its strokes; other planes are not read."""
    if painted is None:
        raise StrokesError("a segmentation learns from strokes: give integer arrays, 0 = not painted, k >= 1 = class k")
    planes, labels = [], []
    for picture, strokes in _matched(images, painted, "strokes"):
        if strokes is None:
            continue
        if picture.shape != strokes.shape:
            raise StrokesError(
                f"the strokes have shape {strokes.shape}, '{picture.name}' has {picture.shape}: they must be equal"
            )
        picture.check_size()
        for index in picture.plane_indices():
            plane = strokes.take_plane(index)
            if plane.any():
                planes.append(picture.take_plane(index))
                labels.append(plane)
    painting = painting_of(planes, labels)
    painting.check()
    return painting


def pairs_from(images: Images, targets: Others | None, factor: int) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Planes with their targets, None where there are none."""
    if targets is None:
        targets = [None] * len(images) if isinstance(images, list | tuple) else [None]
    pairs: list[tuple[np.ndarray, np.ndarray | None]] = []
    for picture, target in _matched(images, targets, "targets"):
        picture.check_size()
        if target is None:
            pairs += [(picture.take_plane(i), None) for i in picture.plane_indices()]
            continue
        *leading, y, x = picture.shape
        fine = (y * factor, x * factor)
        if target.shape not in ((*leading, *fine), fine):
            raise PictureError(
                f"the target of '{picture.name}' has shape {target.shape}, it must be {(*leading, *fine)}, "
                f"or {fine} for all its planes"
            )
        is_one = target.shape == fine  # such as the mean of a series
        pairs += [(picture.take_plane(i), target.take_plane(() if is_one else i)) for i in picture.plane_indices()]
    return pairs


def regions_from(images: Images, regions: Others) -> list[tuple[np.ndarray, Regions]]:
    """Planes on which something is declared good, with their regions."""
    pairs = []
    for picture, labels in _matched(images, regions, "regions"):
        picture.check_size()
        if labels is None:
            continue
        if labels.shape != picture.shape:
            raise PictureError(f"the regions of '{picture.name}' have shape {labels.shape}, it has {picture.shape}")
        for index in picture.plane_indices():
            declared = labels.take_plane(index)
            if declared.any():
                pairs.append((picture.take_plane(index), Regions(declared)))
    if not pairs:
        raise PictureError("no good region is painted: paint background with 1, or structure with 2")
    return pairs


def _matched(images: Images, others: Others, what: str) -> Iterator[tuple[Picture, Picture | None]]:
    first, second = _pictures(images, "image"), _pictures(others, what)
    if len(first) != len(second):
        raise FewshotError(f"there are {len(first)} images and {len(second)} {what}: give one for each image")
    for i, (picture, other) in enumerate(zip(first, second, strict=True)):
        if picture is None:
            raise PictureError(f"image {i} is None: leave it out, with its {what}")
        yield picture, other


def _pictures(images: Others, what: str) -> list[Picture | None]:
    if not isinstance(images, list | tuple):
        return [picture_of(images, what)]
    if not images:
        raise PictureError("the list of images is empty: give at least one")
    return [
        image if image is None or isinstance(image, Picture) else picture_of(image, f"{what} {i}")
        for i, image in enumerate(images)
    ]
