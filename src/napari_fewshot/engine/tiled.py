"""A network over the tiles of a plane: halos, threads, stops, and smaller tiles when memory runs out. Knows no task's result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from napari_fewshot.core.errors import ComputeError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.tiles import Box, Tile, plan_tiles, whole_of
from napari_fewshot.engine.blend import Blend
from napari_fewshot.engine.device import as_memory_error, choose_tile_px
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.interrupt import interruptible
from napari_fewshot.engine.listen import SILENT, Listener, StopRequested
from napari_fewshot.engine.look import pad_to_grid

SMALLEST_TILE_PX = 64

Result = TypeVar("Result")


def network_answer(
    generator: Generator,
    plane: np.ndarray,
    intensity: Intensity,
    box: Box,
    *,
    blend: Blend | None = None,
    listener: Listener = SILENT,
    tile_px: int | None = None,
) -> np.ndarray:
    """What a network that restores answers for a box of a plane (Y, X); (y * factor, x * factor) float32 on the unit scale.

    The box starts on multiples of what the network, or the ``blend`` of its zooms, is aligned to. What is brighter or darker than
    networks are shown stays as it was.
    """
    factor, (y, x) = generator.card.factor, box
    answer = np.empty(((y.stop - y.start) * factor, (x.stop - x.start) * factor), np.float32)

    def work(tile: Tile) -> None:
        scaled = intensity.to_scale(plane[tile.outer])
        unit = intensity.to_unit(plane[tile.outer])
        found = run(generator, unit, tile.keep(), blend)[0].float().cpu().numpy()
        answer[Tile(tile.inner, box).keep(factor)] = found + _fine(scaled - unit, tile.keep(factor), factor)

    with_room(lambda side: over_tiles(generator, plane.shape, work, listener, side, blend, box),
              generator, listener, tile_px)  # fmt: skip
    return answer


def with_room(call: Callable[[int], Result], generator: Generator, listener: Listener, tile_px: int | None) -> Result:
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


def over_tiles(
    generator: Generator, shape: tuple[int, int], work: Callable[[Tile], None], listener: Listener, tile_px: int,
    blend: Blend | None = None, within: Box | None = None,
) -> None:  # fmt: skip
    """Do ``work`` for each tile of a plane, or of a box within it, telling of progress and looking for a stop."""
    sees = generator.network if blend is None else blend.reach(generator.network)
    tiles, began = plan_tiles(shape, tile_px, sees.halo_px, sees.align_px, within), time.perf_counter()

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
    network, box = generator.network, box or whole_of(unit.shape)
    with torch.inference_mode():
        if blend is not None:
            return blend.answer(network, pad_to_grid(unit, blend.reach(network).align_px, generator.device), box)
        return network(pad_to_grid(unit, network.align_px, generator.device), box)[0]


def _fine(rest: np.ndarray, box: Box, factor: int) -> np.ndarray | float:
    """What is to be added to the answer for a tile, as fine as the answer, for a box of the answer; not smooth, as it are hit pixels."""
    return rest.repeat(factor, 0).repeat(factor, 1)[box] if rest.any() else 0.0
