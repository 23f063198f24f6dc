"""Noise and background taken away by two generators: one denoises the plane, one tells its background from afar. No tiles."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.shelf import embedded_folder, read_model
from napari_fewshot.engine.blend import Blend
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.image import enlarge
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.predict import restore_unit
from napari_fewshot.engine.residual import BACKGROUND, smooth_background
from napari_fewshot.engine.settle import keep_level
from napari_fewshot.tasks.degrade import bin_down

DENOISER = "em-denoise"
ZOOMS = (2, 4)  # at which the background is told
SMALLEST_PX = 128


def restore_by_all(
    generator: Generator,
    plane: np.ndarray,
    intensity: Intensity,
    *,
    strength: float = 1.0,
    blend: Blend | None = None,
    listener: Listener = SILENT,
) -> np.ndarray:
    """Restore a (Y, X) plane as `predict.restore_unit` does, noise and background by two generators.

    A background is smooth: it is told where the plane is reduced, as the network then sees more of it and there is less noise;
    noise is fine, and the embedded denoiser is better at it. A model that was fine-tuned to targets answers alone, as it
    was shown, and so does any model for a plane too small to be reduced.
    """
    card = generator.card
    if card.task != BACKGROUND or card.has_seen_targets or min(plane.shape) < SMALLEST_PX:
        return restore_unit(generator, plane, intensity, strength=strength, blend=blend, listener=listener)
    answer = restore_unit(_denoiser(generator.device), plane, intensity, strength=strength, listener=listener)
    answer -= background_of(generator, plane, intensity, listener)
    keep_level(answer, plane, intensity)
    return answer


def background_of(generator: Generator, plane: np.ndarray, intensity: Intensity, listener: Listener) -> np.ndarray:
    """The background of a (Y, X) plane on the unit scale, float32: the mean of what is told at each zoom."""
    scaled, total = intensity.to_scale(plane), np.zeros(plane.shape, np.float32)
    for zoom in ZOOMS:
        padded = np.pad(scaled, [(0, -n % zoom) for n in plane.shape], mode="edge")
        small = bin_down(padded, zoom)
        own = Intensity.measure(small)
        level, rest = restore_unit(generator, small, own, listener=listener), own.to_scale(small)
        found = smooth_background(rest - level, Noise.measure(rest), float(rest.mean())) * own.span
        fine = enlarge(torch.from_numpy(found.astype(np.float32))[None, None], zoom)[0, 0].numpy()
        total += fine[: plane.shape[0], : plane.shape[1]] / len(ZOOMS)
    return total


@lru_cache(maxsize=2)
def _denoiser(device: str) -> Generator:
    return Generator.from_file(read_model(embedded_folder() / DENOISER), device)
