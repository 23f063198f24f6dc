"""Restores one plane and says how far it can be trusted: noise, residual, uncertainty, alternatives, background."""

from __future__ import annotations

import numpy as np

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.restoring import AS_TRAINED, Report, Restored, Restoring
from napari_fewshot.engine.background import restore_by_all
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.predict import in_units_of, measure_blend, usable
from napari_fewshot.engine.residual import BACKGROUND, smooth_background, structure_left
from napari_fewshot.engine.settle import noise_std
from napari_fewshot.engine.trust import AskedAgain
from napari_fewshot.tasks.degrade import bin_down

FEW_LEVELS = 12  # grey levels of integers, to which a result is rounded


def restore_plane(
    generator: Generator,
    plane: np.ndarray,
    wishes: Restoring | None = None,
    *,
    intensity: Intensity | None = None,
    listener: Listener = SILENT,
    seed: int = 0,
) -> Restored:
    """Restore a (Y, X) plane, with what was wished for.

    A note is made of integers that are too few for what they are rounded to. Raises as `predict.predict_plane` does.
    """
    wishes = wishes or AS_TRAINED
    intensity = usable(generator, plane, intensity)
    if plane.dtype.kind in "bui" and not intensity.is_flat and intensity.span < FEW_LEVELS:
        listener.note("the image has a few grey levels only, to which results are rounded: convert it to float32 first")
    factor = generator.card.factor
    scaled = intensity.to_scale(plane)
    noise = Noise.measure(scaled)
    blend = measure_blend(generator, plane, intensity, noise)
    answer = restore_by_all(generator, plane, intensity, strength=wishes.strength, blend=blend, listener=listener)
    level = bin_down(answer, factor) if factor > 1 else answer
    background = _background(generator, scaled, level, noise)
    residual = scaled - level - background
    maps = {}
    asked = AskedAgain(generator, answer, level + background, noise, wishes.strength, blend, seed)
    if wishes.uncertainty:
        maps["uncertainty"] = asked.uncertainty() * np.float32(intensity.span)
    if wishes.n_alternatives:
        errors = asked.errors(wishes.n_alternatives, listener=listener)
        maps["alternatives"] = np.stack([in_units_of(plane, answer + e, intensity, factor) for e in errors])
    values = in_units_of(plane, answer, intensity, factor)
    if wishes.background:
        rest = plane - (bin_down(values, factor) if factor > 1 else values.astype(np.float64))
        if generator.card.task == BACKGROUND:
            maps["background"] = (background * intensity.span).astype(np.float32)
            rest -= maps["background"]
        maps["residual"] = rest.astype(np.float32)
    return Restored(values, _report(noise, intensity, scaled, residual), maps)


def _background(generator: Generator, scaled: np.ndarray, level: np.ndarray, noise: Noise) -> np.ndarray:
    """What the task takes away beside noise, (Y, X) on the unit scale."""
    if generator.card.task != BACKGROUND:
        return np.zeros_like(scaled)
    return smooth_background(scaled - level, noise, float(scaled.mean())).astype(np.float32)


def _report(noise: Noise, intensity: Intensity, scaled: np.ndarray, residual: np.ndarray) -> Report:
    sigma = noise_std(scaled, noise)
    in_units = noise.scaled(-intensity.low / intensity.span, 1 / intensity.span)
    return Report(
        in_units.spoken(intensity.low + intensity.span * float(scaled.mean()), intensity.span),
        structure_left(residual),
        float(np.std(residual) / np.sqrt(np.mean(sigma**2))),
        float(np.mean(np.abs(residual) <= sigma)),
    )
