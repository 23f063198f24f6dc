"""Prediction of one plane: intensity, tiles, network, pasted back to the plane's range and dtype. Trains nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from napari_fewshot.core.errors import ComputeError, ModelError, PictureError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.tiles import Box, Tile, plan_tiles
from napari_fewshot.engine.blend import SMALLEST_PX as SMALLEST_BLENDED_PX
from napari_fewshot.engine.blend import Blend
from napari_fewshot.engine.device import as_memory_error, choose_tile_px
from napari_fewshot.engine.fitting import FittingHead
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.heads.image import enlarge
from napari_fewshot.engine.interrupt import interruptible
from napari_fewshot.engine.listen import SILENT, Listener, StopRequested
from napari_fewshot.engine.look import pad_to_grid
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.residual import BACKGROUND
from napari_fewshot.engine.settle import CONSISTENT_SIGMAS, finite_pixels, keep_consistent, keep_level
from napari_fewshot.engine.strength import apply_strength

SMALLEST_TILE_PX = 64
DENOISE = "denoise"  # the task
LARGEST = 1e36  # grey level of which float32 can hold a sum of some hundred
ROWS = 512  # brought to the input's dtype at a time

Result = TypeVar("Result")


def predict_plane(
    generator: Generator,
    plane: np.ndarray,
    *,
    intensity: Intensity | None = None,
    confidence: bool = False,
    listener: Listener = SILENT,
    tile_px: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Segment or restore one plane.

    Memory beyond input and output does not depend on the size of the plane for a segmentation; a restoration holds one more
    float32 copy of its answer.

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
        (Y, X) the painted class numbers as the smallest unsigned dtype, or (Y * factor, X * factor) in the input's dtype,
        range and mean (floats as float32).
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
        return _with_room(lambda side: _classes(generator, plane, intensity, confidence, listener, side),
                          generator, listener, tile_px)  # fmt: skip
    answer = restore_unit(generator, plane, intensity, listener=listener, tile_px=tile_px)
    return in_units_of(plane, answer, intensity, generator.card.factor), None


def usable(generator: Generator, plane: np.ndarray, intensity: Intensity | None = None) -> Intensity:
    """Check that there is something to predict, and return the intensity of the plane, measured when not given."""
    if not generator.has_head:
        raise ModelError(f"'{generator.card.name}' has no classes yet: paint a few strokes and fine-tune it first")
    picture_of(plane).check_size()
    intensity = intensity or Intensity.measure(plane)
    if max(abs(intensity.low), abs(intensity.high)) > LARGEST:
        raise PictureError(f"grey levels beyond {LARGEST:.0e} cannot be told apart: divide the image by a large number")
    return intensity


def restore_unit(
    generator: Generator,
    plane: np.ndarray,
    intensity: Intensity,
    *,
    strength: float = 1.0,
    blend: Blend | None = None,
    listener: Listener = SILENT,
    tile_px: int | None = None,
) -> np.ndarray:
    """Restore a (Y, X) plane; (Y * factor, X * factor) float32 on the unit scale, with the mean of the plane.

    A denoised plane is a blend of what the network answers at two zooms, and of plain smoothing, see `blend.Blend`; the blend
    is measured on the plane when not given, see `measure_blend`.
    At another ``strength`` than 1 less noise stays and more detail goes, or the other way round, see
    `strength.apply_strength`. A super-resolution is made consistent with its input, see `settle.keep_consistent`.
    """
    factor = generator.card.factor
    if intensity.is_flat:  # nothing is there to be restored, and what a network makes of nothing is no structure
        return intensity.to_scale(plane).repeat(factor, 0).repeat(factor, 1)
    answer = np.empty((plane.shape[0] * factor, plane.shape[1] * factor), np.float32)
    blend = blend or measure_blend(generator, plane, intensity)

    def work(tile: Tile) -> None:
        scaled = intensity.to_scale(plane[tile.outer])
        unit = intensity.to_unit(plane[tile.outer])
        found = run(generator, unit, tile.keep(), blend)[0].float().cpu().numpy()
        # what is brighter or darker than networks are shown stays as it was
        answer[tile.target(factor)] = found + _fine(scaled - unit, tile.keep(factor), factor)

    _with_room(lambda side: _tiled(generator, plane.shape, work, listener, side, blend), generator, listener, tile_px)
    has_background = generator.card.task == BACKGROUND
    apply_strength(answer, plane, intensity, strength, factor=factor, has_background=has_background)
    keep_level(answer, plane, intensity)
    if factor > 1:
        # who asks for more smoothing than the noise allows gets it, and is told how far off it is
        sigmas, seen = CONSISTENT_SIGMAS * max(1.0, strength), finite_pixels(plane)
        keep_consistent(answer, intensity.to_scale(plane), factor, sigmas=sigmas, seen=seen)
    return answer


def measure_blend(
    generator: Generator, plane: np.ndarray, intensity: Intensity, noise: Noise | None = None
) -> Blend | None:
    """How zooms are to be blended for a (Y, X) plane, whose ``noise`` on the unit scale may be known.

    None where the task is not denoising, the plane is too small or has one value only, or there is not enough memory: the
    network alone needs less.
    """
    if generator.card.task != DENOISE or min(plane.shape) < SMALLEST_BLENDED_PX or intensity.is_flat:
        return None
    noise = noise or Noise.measure(intensity.to_scale(plane))
    try:
        with as_memory_error():
            return Blend.measure(generator.network, intensity.to_unit(plane), noise, generator.device)
    except MemoryError:
        return None


def in_units_of(plane: np.ndarray, answer: np.ndarray, intensity: Intensity, factor: int) -> np.ndarray:
    """An answer on the unit scale in the dtype and range of its plane; pixels that were not finite are so again."""
    values = np.empty(answer.shape, np.float32 if plane.dtype.kind == "f" else plane.dtype)
    for row in range(0, len(answer), ROWS):
        values[row : row + ROWS] = intensity.from_unit(answer[row : row + ROWS], plane.dtype)
    if values.dtype.kind == "f":
        _keep_not_finite(values, plane, factor)
    return values


def _classes(
    generator: Generator, plane: np.ndarray, intensity: Intensity, confidence: bool, listener: Listener, tile_px: int
) -> tuple[np.ndarray, np.ndarray | None]:
    numbers = np.array(generator.card.class_numbers)
    values = np.empty(plane.shape, np.min_scalar_type(int(numbers.max())))
    sure = np.empty(plane.shape, np.float32) if confidence else None
    offsets = offsets_of(generator)
    fitting = FittingHead(generator, plane, intensity, tile_px)

    def work(tile: Tile) -> None:
        logits = fitting.logits(tile) + offsets  # (K, y, x)
        values[tile.inner] = numbers[logits.argmax(0).cpu().numpy()]
        if sure is not None:
            sure[tile.inner] = logits.softmax(0).amax(0).float().cpu().numpy()

    _tiled(generator, plane.shape, work, listener, tile_px)
    return values, sure


def offsets_of(generator: Generator) -> Tensor | float:
    """What is added to the logits (K, Y, X) of a segmentation of which one class is never to be missed."""
    point = generator.card.never_miss
    if point is None:
        return 0.0
    return torch.from_numpy(point.offsets(generator.card.class_numbers)).to(generator.device)[:, None, None]


def _with_room(call: Callable[[int], Result], generator: Generator, listener: Listener, tile_px: int | None) -> Result:
    """Call with the side of the tiles, with smaller ones when there is not enough memory."""
    tile_px = tile_px or choose_tile_px(generator.device)
    while True:
        try:
            with as_memory_error():
                return call(tile_px)
        except MemoryError as error:
            if tile_px <= SMALLEST_TILE_PX:
                raise ComputeError(
                    "out of memory even with the smallest tile: close other programs or choose the CPU"
                ) from error
            tile_px = max(SMALLEST_TILE_PX, tile_px // 2)
            listener.note(f"out of memory: going on with tiles of {tile_px} px")


def _tiled(
    generator: Generator, shape: tuple[int, int], work: Callable[[Tile], None], listener: Listener, tile_px: int,
    blend: Blend | None = None,
) -> None:  # fmt: skip
    """Do ``work`` for each tile of a plane, telling of progress and looking for a stop."""
    sees = generator.network if blend is None else blend.reach(generator.network)
    tiles, began = plan_tiles(shape, tile_px, sees.halo_px, sees.align_px), time.perf_counter()

    def careful(tile: Tile) -> None:
        if listener.stopped():
            raise StopRequested
        with interruptible(listener, generator.network):
            work(tile)

    for n_done, _ in enumerate(each_tile(careful, tiles, generator.device), start=1):
        seconds = time.perf_counter() - began
        listener.progress(n_done, len(tiles), seconds, seconds * (len(tiles) / n_done - 1), {}, None)


def each_tile(work: Callable[[Tile], None], tiles: list[Tile], device: str) -> Iterator[None]:
    """Do ``work`` for each tile; on a CPU one thread a tile, which is faster than all threads for one tile."""
    n_threads = torch.get_num_threads()
    if device != "cpu" or n_threads == 1 or len(tiles) == 1:
        yield from map(work, tiles)
        return
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(work, tiles)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)  # threads made from now on would else start with 1


def run(generator: Generator, unit: np.ndarray, box: Box | None = None, blend: Blend | None = None) -> Tensor:
    """Network output (C, y * factor, x * factor) for a box (None: all) of a tile (Y, X) on the unit scale."""
    network, box = generator.network, box or (slice(0, unit.shape[0]), slice(0, unit.shape[1]))
    with torch.inference_mode():
        if blend is not None:
            return blend.answer(network, pad_to_grid(unit, blend.reach(network).align_px, generator.device), box)
        return network(pad_to_grid(unit, network.align_px, generator.device), box)[0]


def _fine(rest: np.ndarray, box: Box, factor: int) -> np.ndarray | float:
    """What is to be added to the answer for a tile, as fine as the answer, for a box of the answer."""
    if not rest.any():
        return 0.0
    return enlarge(torch.from_numpy(rest)[None, None], factor)[0, 0].numpy()[box]


def _keep_not_finite(values: np.ndarray, plane: np.ndarray, factor: int) -> None:
    bad = ~np.isfinite(plane)
    if bad.any():
        values[bad.repeat(factor, 0).repeat(factor, 1)] = np.nan
