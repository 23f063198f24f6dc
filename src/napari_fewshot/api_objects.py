"""The public function that turns classes into objects: arrays in, ids and a table out. Loads no torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_fewshot.core.errors import FewshotError, PictureError, memory_errors_told
from napari_fewshot.core.joiner import Joiner
from napari_fewshot.core.measures import Columns, Grid
from napari_fewshot.core.objects import OBJECT, SPLIT, Objects
from napari_fewshot.core.picture import picture_of


@memory_errors_told()
def objects(
    labels: Any,
    class_number: int = OBJECT,
    *,
    image: Any = None,
    split: float = SPLIT,
    smallest_px: int = 1,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    unit: str = "px",
) -> tuple[np.ndarray, Columns]:
    """Tell the objects of one class apart, with ids that go on along Z, and measure them.

    Planes are taken one after the other, so ``labels`` and ``image`` may be lazy arrays.

    Parameters
    ----------
    labels : array
        (Y, X), (Z, Y, X) or with T and C in front: class numbers, as `predict` answers.
    class_number : int
        The class whose objects are wanted.
    image : array, optional
        Of the same shape, for the mean brightness of each object.
    split : float
        0 cuts nothing apart that touches, 1 cuts at every neck; see `napari_fewshot.core.objects.Objects`.
    smallest_px : int
        Smaller outlines are specks and left out.
    spacing : tuple of float
        Size of a pixel along Z, Y and X in ``unit``; without a Z axis two numbers will do.
    unit : str
        Such as ``"nm"``; sizes and lengths come in it too.

    Returns
    -------
    ids : ndarray
        int32, shape of ``labels``; 0 where there is no object.
    table : dict of str to ndarray
        One row an object, ``index`` is its id; columns are named as `skimage.measure.regionprops_table` does.

    Raises
    ------
    FewshotError
        The image has another shape, ``split`` is not between 0 and 1, or ``spacing`` does not fit the axes.
    """
    from napari_fewshot.engine.objects import separate

    wanted, picture = Objects(class_number, split, smallest_px), picture_of(labels, "labels")
    grey = picture if image is None else picture_of(image)
    if grey.shape != picture.shape:
        raise PictureError(f"the image has shape {grey.shape}, the labels {picture.shape}: they must be equal")
    grid = _grid(spacing, unit, "Z" in picture.leading)
    joiner, ids = Joiner(picture), np.zeros(picture.shape, np.int32)
    for index in picture.plane_indices():
        ids[index] = joiner.join(index, separate(picture.take_plane(index), wanted), grey.take_plane(index))
    return ids, joiner.measures.table(grid)


def _grid(spacing: tuple[float, ...], unit: str, is_stack: bool) -> Grid:
    n = np.size(spacing)
    if n != 3 and (is_stack or n != 2):
        wanted = "Z, Y and X" if is_stack else "Y and X"
        raise FewshotError(f"spacing needs a number for each of {wanted}, got {n}")
    steps = spacing if len(spacing) == 3 else (1.0, *spacing)
    return Grid((steps[0], steps[1], steps[2]), unit)
