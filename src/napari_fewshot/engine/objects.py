"""Cuts a class of one plane into objects: where it narrows, watershed lines run. Knows no slices beside it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_fewshot.core.objects import Objects
from napari_fewshot.core.strokes import Painting

SMOOTH_PX = 1.0  # of the distance to the border, so that a rough border is no row of necks
SPECK_SHARE = 0.5  # of the smallest painted stroke


def separate(classes: np.ndarray, wanted: Objects) -> np.ndarray:
    """Outlines of the objects of one plane.

    The distance to the border is flooded from its maxima (Beucher and Lantuejoul 1979). A maximum counts as an object
    when the pass to a higher one is less than ``wanted.split`` of its own height: maxima of the logarithm by their
    dynamics (Grimaud 1992), so that the rule is the same for large and small objects, and needs no length.

    Parameters
    ----------
    classes : ndarray
        (Y, X) class numbers.

    Returns
    -------
    ndarray
        (Y, X) int32, 1 .. n, 0 where the class is not.
    """
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    mask = classes == wanted.class_number
    pieces, n = ndimage.label(mask, np.ones((3, 3)))
    if n and wanted.split > 0:
        border = np.pad(mask, 1)  # what the picture's border cuts ends there
        distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(border)[1:-1, 1:-1], SMOOTH_PX)
        height = np.log(np.maximum(distance, 0.5)).astype(np.float32)
        depth = np.float32(max(-np.log(min(wanted.split, 1.0)), 1e-3))
        sea = height[mask].min() - 2 * depth  # also the lowest object rises out of it
        flooded = reconstruction(np.where(mask, height - depth, sea), np.where(mask, height, sea))
        tops, _ = ndimage.label(local_maxima(flooded) & mask, np.ones((3, 3)))
        pieces = watershed(-distance, tops, mask=mask)
    return _without_specks(pieces, wanted.smallest_px)


def smallest_strokes(painting: Painting) -> tuple[int, ...]:
    """For each painted class the size below which an object would be smaller than anything painted, px."""
    least = dict.fromkeys(painting.classes, np.inf)
    for plane in painting.planes:
        low = plane.strokes.yx.min(0)
        canvas = np.zeros(plane.strokes.yx.max(0) - low + 1, np.uint16)
        canvas[tuple((plane.strokes.yx - low).T)] = plane.strokes.classes
        for k in np.unique(plane.strokes.classes):
            sizes = np.bincount(ndimage.label(canvas == k, np.ones((3, 3)))[0].ravel())[1:]
            least[int(k)] = min(least[int(k)], sizes.min())
    return tuple(max(1, int(SPECK_SHARE * n)) for n in least.values())


def _without_specks(pieces: np.ndarray, smallest_px: int) -> np.ndarray:
    sizes = np.bincount(pieces.ravel())
    kept = sizes >= smallest_px
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[pieces]
