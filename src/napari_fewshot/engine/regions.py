"""What is to be learned from regions that somebody declared good. Knows no network."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.restoring import GOOD_BACKGROUND, GOOD_STRUCTURE, Regions

EVEN_PX = 8.0  # sigma over which good background is averaged where it may rise and fall slowly


def check_regions(image: np.ndarray, regions: Regions, factor: int) -> None:
    """Raise PictureError when nothing can be learned from ``regions`` of an image (Y, X)."""
    labels = regions.labels
    if factor > 1:
        raise PictureError("regions tell nothing of finer pixels: give a super-resolution a finer image as its target")
    if labels.shape != image.shape or labels.dtype.kind not in "bui":
        raise PictureError(
            f"the regions are {labels.dtype} of shape {labels.shape}: they must be integers of the image's shape {image.shape}"
        )
    if not np.isin(labels, (GOOD_BACKGROUND, GOOD_STRUCTURE)).any():
        raise PictureError(
            f"no good region is painted: paint background with {GOOD_BACKGROUND}, or structure with {GOOD_STRUCTURE}"
        )


def wanted_of(image: np.ndarray, regions: Regions, has_background: bool) -> np.ndarray:
    """What an answer should be where something was declared, NaN elsewhere, (Y, X) float32 in the units of the image.

    Good structure stays as it is, and good background becomes even: of one level where a background is taken away, else of
    the level around each pixel.
    """
    seen = np.isfinite(image)
    wanted = np.full(image.shape, np.nan, np.float32)
    even = (regions.labels == GOOD_BACKGROUND) & seen
    if even.any():
        values, share = (gaussian_filter(np.where(even, x, 0.0), EVEN_PX) for x in (image.astype(np.float64), 1.0))
        level = np.mean(image[even], dtype=np.float64) if has_background else values[even] / share[even]
        wanted[even] = level
    stays = (regions.labels == GOOD_STRUCTURE) & seen
    wanted[stays] = image[stays]
    return wanted
