"""Prediction of one plane: intensity, tiles, network, pasted back to the plane's range and dtype. Trains nothing."""

from __future__ import annotations

import numpy as np

from napari_fewshot.core.errors import ModelError, PictureError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.tiles import Tile
from napari_fewshot.engine.edges import probability_of
from napari_fewshot.engine.fitting import FittingHead
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.restorer import Restorer, empty_for, in_units_of
from napari_fewshot.engine.settle import finite_pixels, keep_mean
from napari_fewshot.engine.tiled import over_tiles, with_room

LARGEST = 1e36  # grey level of which float32 can hold a sum of some hundred


def predict_plane(
    generator: Generator,
    plane: np.ndarray,
    *,
    intensity: Intensity | None = None,
    confidence: bool = False,
    listener: Listener = SILENT,
    tile_px: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Segment or restore one plane by one network; memory beyond input and output does not depend on the size of the plane.

    Parameters
    ----------
    plane : ndarray
        (Y, X), any real dtype. Pixels that are not finite stay so in a restored float image.
    intensity : Intensity or None
        Of the whole plane, when ``plane`` is a part of it.
    confidence : bool
        Also return the probability of the class of each pixel, for a segmentation. How far a restoration may be off
        is told by `restoration.restore_plane`.
    tile_px : int or None
        Side of the inner tiles; None chooses by device. Halved when memory runs out.

    Returns
    -------
    values : ndarray
        (Y, X) the painted class numbers as the smallest unsigned dtype, 0 where the plane is not finite, or (Y * factor, X * factor) in the input's dtype,
        range and mean (floats as float32; the mean of integers within half a grey level).
    confidence : ndarray or None
        float32, shape of ``values``.

    Raises
    ------
    ModelError
        A segmentation model that has not seen any strokes.
    PictureError
        The plane is too small, or has no finite pixel.
    ComputeError
        Not enough memory even for the smallest tile.
    StopRequested
        The listener asked to stop.
    """
    intensity = usable(generator, plane, intensity)
    if isinstance(generator.network.head, ClassesHead):
        return with_room(lambda side: _classes(generator, plane, intensity, confidence, listener, side),
                         generator, listener, tile_px)  # fmt: skip
    return _restored(Restorer(generator, plane, intensity, alone=True, tile_px=tile_px), listener), None


def usable(generator: Generator, plane: np.ndarray, intensity: Intensity | None = None) -> Intensity:
    """Check that there is something to predict, and return the intensity of the plane, measured when not given."""
    if not generator.has_head:
        raise ModelError(f"'{generator.card.name}' has no classes yet: paint a few strokes and fine-tune it first")
    picture_of(plane).check_size()
    intensity = intensity or Intensity.measure(plane)
    if max(abs(intensity.low), abs(intensity.high)) > LARGEST:
        raise PictureError(f"grey levels beyond {LARGEST:.0e} cannot be told apart: divide the image by a large number")
    return intensity


def _restored(restorer: Restorer, listener: Listener) -> np.ndarray:
    plane, factor = restorer.plane, restorer.generator.card.factor
    values = empty_for(plane, factor)
    for region, answer in restorer.regions(listener):
        found = answer.unit[region.keep(factor)]
        values[region.target(factor)] = in_units_of(plane[region.inner], found, restorer.intensity, factor)
    keep_mean(values, plane)
    return values


def _classes(
    generator: Generator, plane: np.ndarray, intensity: Intensity, confidence: bool, listener: Listener, tile_px: int
) -> tuple[np.ndarray, np.ndarray | None]:
    numbers = np.array(generator.card.class_numbers)
    values = np.empty(plane.shape, np.min_scalar_type(int(numbers.max())))
    sure = np.empty(plane.shape, np.float32) if confidence else None
    fitting = FittingHead(generator, plane, intensity, tile_px)

    def work(tile: Tile) -> None:
        found, logits = fitting.classes(tile)
        values[tile.inner] = numbers[found]
        if sure is not None:
            sure[tile.inner] = probability_of(found, logits)
        empty_out(plane[tile.inner], values[tile.inner], None if sure is None else sure[tile.inner])

    over_tiles(generator, plane.shape, work, listener, tile_px)
    return values, sure


def empty_out(pixels: np.ndarray, values: np.ndarray, sure: np.ndarray | None) -> None:
    """Where pixels (y, x) are not finite there is no class, 0, in place, and nobody is sure of one."""
    seen = finite_pixels(pixels)
    if seen is not None:
        values[~seen] = 0
        if sure is not None:
            sure[~seen] = 0
