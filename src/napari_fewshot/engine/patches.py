"""Draws augmented patches of unlabelled pictures, balanced by source. Knows no pretext."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import Picture
from napari_fewshot.tasks.degrade import bin_down

EMPTY_STD = 0.03  # of the unit scale; below, a patch shows nothing
TRIES = 20
MINIMUM_PX = 64
HOLD_EVERY = 20

Rng = np.random.Generator


class Patches:
    """Square patches on the unit scale from many pictures.

    Parameters
    ----------
    pictures : sequence of Picture
        One source each; a source is drawn in proportion to the square root of its planes.
    held_out : bool
        Draw from every twentieth plane, which the others never draw from.

    Raises
    ------
    PictureError
        No picture is large enough for any patch.
    """

    def __init__(self, pictures: Sequence[Picture], held_out: bool = False) -> None:
        large = [p for p in pictures if min(p.plane_shape) >= MINIMUM_PX]
        if not large:
            raise PictureError(f"no image is at least {MINIMUM_PX} px in Y and X: add larger images to the folder")
        planes = [(p, i) for p in large for i in p.plane_indices()]
        chosen = planes[HOLD_EVERY // 2 :: HOLD_EVERY] if held_out else planes
        if not held_out and len(planes) > HOLD_EVERY:
            chosen = [pair for n, pair in enumerate(planes) if n % HOLD_EVERY != HOLD_EVERY // 2]
        chosen = chosen or planes[:1]  # a handful of planes: too few to hold any out
        self.pictures = [p for p in large if any(p is q for q, _ in chosen)]
        self.indices = [[i for q, i in chosen if q is p] for p in self.pictures]
        shares = np.sqrt([len(i) for i in self.indices])
        self.shares = shares / shares.sum()

    def draw(self, side_px: int, rng: Rng, shrink: float = 0.6) -> np.ndarray:
        """One (side_px, side_px) float32 patch; reduced twofold, which lowers its own noise, with probability ``shrink``."""
        patch = self._crop(side_px, rng, shrink)
        for _ in range(TRIES):
            if patch.std() >= EMPTY_STD:
                break
            patch = self._crop(side_px, rng, shrink)
        return turned(patch, rng)

    def _crop(self, side_px: int, rng: Rng, shrink: float) -> np.ndarray:
        i = rng.choice(len(self.pictures), p=self.shares)
        picture = self.pictures[i]
        plane = picture.take_plane(self.indices[i][rng.integers(len(self.indices[i]))])
        unit = Intensity.measure(plane).to_unit(plane)
        if min(unit.shape) >= 2 * side_px and rng.random() < shrink:
            unit = bin_down(unit, 2)
        return crop(unit, side_px, rng)


def crop(image: np.ndarray, side_px: int, rng: Rng) -> np.ndarray:
    """A random square of a (..., Y, X) image, mirrored at the border when the image is smaller."""
    h, w = image.shape[-2:]
    if h < side_px or w < side_px:
        pad = [(0, 0)] * (image.ndim - 2) + [(0, max(0, side_px - h)), (0, max(0, side_px - w))]
        image = np.pad(image, pad, mode="symmetric")
        h, w = image.shape[-2:]
    y, x = rng.integers(h - side_px + 1), rng.integers(w - side_px + 1)
    return image[..., y : y + side_px, x : x + side_px]


def turned(image: np.ndarray, rng: Rng) -> np.ndarray:
    """One of the eight symmetries of the square, on the last two axes."""
    image = np.rot90(image, int(rng.integers(4)), axes=(-2, -1))
    return np.ascontiguousarray(image[..., ::-1] if rng.random() < 0.5 else image)


def recontrasted(image: np.ndarray, rng: Rng, invert: float = 0.15) -> np.ndarray:
    """Another gamma, gain and offset, sometimes the other polarity: what differs between two microscopes."""
    image = np.clip(image, 0, 1.2) ** float(np.exp(rng.normal(0, 0.25)))
    image = 1 - image if rng.random() < invert else image
    return (image * rng.uniform(0.8, 1.2) + rng.normal(0, 0.05)).astype(np.float32)
