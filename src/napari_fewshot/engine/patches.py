"""Draws augmented patches of unlabelled pictures, balanced by source. Knows no pretext."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from napari_fewshot.core.errors import PictureError
from napari_fewshot.engine.listen import SILENT, Listener, StopRequested
from napari_fewshot.engine.windows import EMPTY_STD, Window
from napari_fewshot.tasks.degrade import bin_down

TRIES = 20
READ_TRIES = 100

Rng = np.random.Generator


class Patches:
    """Square patches on the unit scale from the windows of many sources.

    Parameters
    ----------
    sources : mapping of str to sequence of Window
        A source is drawn in proportion to the square root of its windows, so that the largest does not drown the others.
    listener : Listener
        Told of each picture that can no longer be read; can stop the drawing, which then raises `StopRequested`.
    """

    def __init__(self, sources: Mapping[str, Sequence[Window]], listener: Listener = SILENT) -> None:
        self.listener, self.named = listener, set[str]()
        self.sources = [list(windows) for windows in sources.values()]
        shares = np.sqrt([len(windows) for windows in self.sources])
        self.shares = shares / shares.sum()

    def draw(self, side_px: int, rng: Rng, shrink: float = 0.6) -> np.ndarray:
        """One (side_px, side_px) float32 patch; reduced twofold, which lowers its own noise, with probability ``shrink``."""
        if self.listener.stopped():
            raise StopRequested
        patch = self._crop(side_px, rng, shrink)
        for _ in range(TRIES):
            if patch.std() >= EMPTY_STD:
                break
            patch = self._crop(side_px, rng, shrink)
        return turned(patch, rng)

    def _crop(self, side_px: int, rng: Rng, shrink: float) -> np.ndarray:
        """A patch of what can be read; no picture is given up, since its disk may be back in a moment."""
        for _ in range(READ_TRIES):
            windows = self.sources[rng.choice(len(self.sources), p=self.shares)]
            window = windows[rng.integers(len(windows))]
            shape = window.picture.plane_shape
            factor = 2 if min(shape) >= 2 * side_px and rng.random() < shrink else 1
            try:
                plane = window.picture.take_plane(window.index, _box_near(window, factor * side_px, rng))
            except Exception as error:  # third-party readers raise anything
                self._name(window.picture.name, error)
                continue
            unit = window.intensity.to_unit(plane)
            return crop(bin_down(unit, factor) if factor > 1 else unit, side_px, rng)
        raise PictureError(f"{min(self.named)} and others can no longer be read: see whether their disk is there")

    def _name(self, name: str, error: Exception) -> None:
        if name not in self.named:
            self.named.add(name)
            self.listener.note(f"{name} can no longer be read ({error}): the training goes on with the others")


def _box_near(window: Window, side_px: int, rng: Rng) -> tuple[slice, slice]:
    """A square centred anywhere in a window, pushed into the plane; smaller where the plane is."""
    box = []
    for origin, extent, n in zip(window.origin, window.side, window.picture.plane_shape, strict=True):
        start = origin + int(rng.integers(extent)) - side_px // 2
        start = min(max(start, 0), max(n - side_px, 0))
        box.append(slice(start, min(start + side_px, n)))
    return box[0], box[1]


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
