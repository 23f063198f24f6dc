"""Folders of images with dense labels, read and checked for the few-shot episodes of a pretraining."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_fewshot.cli_files import list_pictures, read_labels, read_whole
from napari_fewshot.core.errors import PictureError, StrokesError

if TYPE_CHECKING:
    from napari_fewshot.engine.pretexts.pretext import LabelledSet


def read_labelled(folder: Path) -> LabelledSet:
    """All planes of a folder with images/ and labels/ of the same file names.

    Raises
    ------
    PictureError
        There is no image, or one without a finite pixel.
    StrokesError
        Labels that do not fit their image, that are no classes, or all of one class.
    """
    from napari_fewshot.engine.pretexts.pretext import LabelledSet

    paths = list_pictures([folder / "images"]) if (folder / "images").is_dir() else []
    if not paths:
        raise PictureError(f"no picture is in {folder / 'images'}: --labelled takes folders with images/ and labels/")
    images, labels = zip(*(pair for path in paths for pair in _labelled_planes(path)), strict=True)
    if len(set().union(*map(np.unique, labels))) < 2:
        raise StrokesError(f"{folder / 'labels'} has one class only: label two or more, or leave the folder out")
    return LabelledSet(folder.name, images, labels)


def _labelled_planes(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each plane (Y, X) of an image, and its classes as uint8."""
    partner = path.parents[1] / "labels" / path.name
    image, labels = (a.reshape(-1, *a.shape[-2:]) for a in (read_whole(path), read_labels(partner)))
    if image.shape != labels.shape:
        raise StrokesError(f"{partner} is {labels.shape}, but its image {image.shape}: give both the same shape")
    with np.errstate(invalid="ignore"):  # NaN becomes a number, and differs from it
        classes = labels.astype(np.uint8)
    if not np.array_equal(classes, labels):
        raise StrokesError(f"{partner} holds other values than 0, 1, 2 ... 255: save the number of each pixel's class")
    if not np.isfinite(image).any((1, 2)).all():
        raise PictureError(f"{path} has a plane without a finite pixel: leave it out")
    yield from zip(image, classes, strict=True)
