"""Prediction of one plane: intensity, tiles, network, pasted back to the plane's range and dtype. Trains nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.core.errors import ComputeError, ModelError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.tiles import Box, Tile, plan_tiles
from napari_fewshot.engine.device import as_memory_error
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.heads.image import enlarge
from napari_fewshot.engine.listen import SILENT, Listener, StopRequested

TILE_PX = {"cpu": 512, "cuda": 1536, "mps": 1024}  # inner side; on a CPU small tiles stay in the cache
SMALLEST_TILE_PX = 64


def predict_plane(
    generator: Generator,
    plane: np.ndarray,
    *,
    intensity: Intensity | None = None,
    confidence: bool = False,
    listener: Listener = SILENT,
    tile_px: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Segment or restore one plane; memory beyond input and output does not depend on its size.

    Parameters
    ----------
    plane : ndarray
        (Y, X), any real dtype. Pixels that are not finite stay so in a restored float image.
    intensity : Intensity or None
        Of the whole plane, when ``plane`` is a part of it.
    confidence : bool
        Also return how sure the generator is, 0 to 1: the probability of the class, or, for images, the agreement
        with the answer to the mirrored plane.
    tile_px : int or None
        Side of the inner tiles; None chooses by device. Halved when memory runs out.

    Returns
    -------
    values : ndarray
        (Y, X) the painted class numbers as the smallest unsigned dtype, or (Y * factor, X * factor) in the input's dtype and
        range (floats as float32).
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
    if not generator.has_head:
        raise ModelError(f"'{generator.card.name}' has no classes yet: paint a few strokes and fine-tune it first")
    picture_of(plane).check_size()
    intensity = intensity or Intensity.measure(plane)
    tile_px = tile_px or TILE_PX[torch.device(generator.device).type]
    while True:
        try:
            with as_memory_error():
                return _tiled(generator, plane, intensity, confidence, listener, tile_px)
        except MemoryError as error:
            if tile_px <= SMALLEST_TILE_PX:
                raise ComputeError(
                    "out of memory even with the smallest tile: close other programs or choose the CPU"
                ) from error
            tile_px = max(SMALLEST_TILE_PX, tile_px // 2)
            listener.note(f"out of memory: going on with tiles of {tile_px} px")


def _tiled(
    generator: Generator, plane: np.ndarray, intensity: Intensity, confidence: bool, listener: Listener, tile_px: int
) -> tuple[np.ndarray, np.ndarray | None]:
    factor, network = generator.card.factor, generator.network
    shape = plane.shape[0] * factor, plane.shape[1] * factor
    is_classes = isinstance(network.head, ClassesHead)
    numbers = generator.card.class_numbers
    values = np.empty(shape, np.min_scalar_type(max(numbers)) if is_classes else _restored_dtype(plane.dtype))
    sure = np.empty(shape, np.float32) if confidence else None
    tiles, began = plan_tiles(plane.shape, tile_px, network.halo_px, network.align_px), time.perf_counter()

    def work(tile: Tile) -> None:
        if listener.stopped():
            raise StopRequested
        scaled = intensity.to_scale(plane[tile.outer])
        unit = intensity.to_unit(plane[tile.outer])
        answer, tile_sure = _answer(generator, unit, tile.keep(), confidence)
        if not is_classes:  # what is brighter or darker than networks are shown stays as it was
            answer = intensity.from_unit(answer + _beyond(scaled - unit, tile.keep(factor), factor), plane.dtype)
        values[tile.target(factor)] = answer
        if sure is not None and tile_sure is not None:
            sure[tile.target(factor)] = tile_sure

    for n_done, _ in enumerate(each_tile(work, tiles, generator.device), start=1):
        seconds = time.perf_counter() - began
        listener.progress(n_done, len(tiles), seconds, seconds * (len(tiles) / n_done - 1), {}, None)
    if values.dtype.kind == "f" and not is_classes:
        _keep_not_finite(values, plane, factor)
    return values, sure


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


def _answer(generator: Generator, unit: np.ndarray, box: Box, confidence: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The network's answer for a box of a tile (Y, X) on the unit scale: classes 1 .. K, or an image on the unit scale."""
    output = run(generator, unit, box)  # (C, y * factor, x * factor)
    if isinstance(generator.network.head, ClassesHead):
        numbers = np.array(generator.card.class_numbers)
        return numbers[output.argmax(0).cpu().numpy()], output.softmax(0).amax(
            0
        ).float().cpu().numpy() if confidence else None
    answer = output[0].float().cpu().numpy()
    if not confidence:
        return answer, None
    turned = box[0], slice(unit.shape[1] - box[1].stop, unit.shape[1] - box[1].start)
    mirrored = run(generator, np.ascontiguousarray(unit[:, ::-1]), turned)[0].float().cpu().numpy()[:, ::-1]
    return answer, np.exp(-np.abs(answer - mirrored) / 0.05).astype(np.float32)


def run(generator: Generator, unit: np.ndarray, box: Box | None = None) -> Tensor:
    """Network output (C, y * factor, x * factor) for a box (None: all) of a tile (Y, X) on the unit scale."""
    box = box or (slice(0, unit.shape[0]), slice(0, unit.shape[1]))
    with torch.inference_mode():
        x = pad_to_grid(unit, generator.network.align_px, generator.device)
        return generator.network(x, box)[0]


def pad_to_grid(unit: np.ndarray, align_px: int, device: str) -> Tensor:
    """(Y, X) -> (1, 1, Y', X') with Y and X filled up to multiples of ``align_px`` by the nearest pixel."""
    x = torch.from_numpy(unit)[None, None].to(device)
    fill_y, fill_x = (-unit.shape[0]) % align_px, (-unit.shape[1]) % align_px
    if fill_y or fill_x:
        x = F.pad(x, (0, fill_x, 0, fill_y), mode="replicate")
    return x.contiguous(memory_format=torch.channels_last)


def _beyond(rest: np.ndarray, box: Box, factor: int) -> np.ndarray | float:
    """What clipping took from a tile, as fine as the answer, for a box of the answer."""
    if not rest.any():
        return 0.0
    return enlarge(torch.from_numpy(rest)[None, None], factor)[0, 0].numpy()[box]


def _restored_dtype(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    return np.dtype(np.float32) if dtype.kind == "f" else dtype


def _keep_not_finite(values: np.ndarray, plane: np.ndarray, factor: int) -> None:
    bad = ~np.isfinite(plane)
    if bad.any():
        values[bad.repeat(factor, 0).repeat(factor, 1)] = np.nan
