"""Restores one plane and says how far it can be trusted: noise, residual, uncertainty, alternatives, background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.restoring import AS_TRAINED, Report, Restored, Restoring
from napari_fewshot.core.tiles import Tile
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.predict import usable
from napari_fewshot.engine.residual import (
    BACKGROUND,
    REACH_PX,
    blur_between,
    smooth_background,
    structure_by_chance,
    structure_left,
)
from napari_fewshot.engine.restorer import Answer, Restorer, empty_for, in_units_of
from napari_fewshot.engine.settle import finite_pixels, keep_mean, mean_of, noise_std
from napari_fewshot.engine.trust import AskedAgain
from napari_fewshot.tasks.degrade import bin_down

SUPER_RESOLVE = "super_resolve"  # the task
CHANGE_PX = 2.0  # sigma, px of the input, over which what a strength changed is averaged
ROWS = 512  # of what is left, at a time
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
    restorer = Restorer(generator, plane, intensity, strength=wishes.strength)
    canvas = _Canvas(restorer, wishes, seed, listener)
    has_unknown = generator.card.task == BACKGROUND and not restorer.tells_background
    for region, answer in restorer.regions(listener, REACH_PX if has_unknown else 0):
        canvas.add(region, answer)
    return canvas.finished()


class _Canvas:
    """A restored plane in the making; guards that all regions are judged alike.

    Parameters
    ----------
    restorer : Restorer
    wishes : Restoring
    seed : int
    listener : Listener
    """

    def __init__(self, restorer: Restorer, wishes: Restoring, seed: int, listener: Listener) -> None:
        self.restorer, self.wishes, self.seed, self.listener = restorer, wishes, seed, listener
        plane, self.factor = restorer.plane, restorer.generator.card.factor
        self.values = empty_for(plane, self.factor)
        self.maps: dict[str, np.ndarray] = {}
        if wishes.uncertainty:
            self.maps["uncertainty"] = np.empty(self.values.shape, np.float32)
        if wishes.n_alternatives:
            self.maps["alternatives"] = np.empty((wishes.n_alternatives, *self.values.shape), self.values.dtype)
        if wishes.background and restorer.generator.card.task == BACKGROUND:
            self.maps["background"] = np.empty(plane.shape, np.float32)
        self._share: float | None = None
        self._blur_px: float | None = None  # of a picture that was sharpened
        self._seen: list[_Seen] = []

    def add(self, region: Tile, answer: Answer) -> None:
        """Write a region, all that was wished for of it, and how well it is explained."""
        plane, intensity, noise = self.restorer.plane[region.outer], self.restorer.intensity, self.restorer.noise
        fine, keep = region.target(self.factor), region.keep(self.factor)
        self.values[fine] = in_units_of(plane, answer.unit, intensity, self.factor)[keep]
        scaled = intensity.to_scale(plane)
        level = self._as_given(answer.unit, scaled)
        background = self._background(scaled, level, answer)
        self._seen.append(
            _Seen.of(
                (scaled - level - background)[region.keep()],
                noise_std(scaled, noise)[region.keep()],
                finite_pixels(plane[region.keep()]),
            )
        )
        if self.wishes.uncertainty:
            found = self._uncertainty(answer, level + background, scaled)
            self.maps["uncertainty"][fine] = found[keep] * np.float32(intensity.span)
        if self.wishes.n_alternatives:
            asked = AskedAgain(self.restorer, answer.unit, level + background, self.seed)
            errors = asked.errors(self.wishes.n_alternatives, listener=self.listener)
            for other, error in zip(self.maps["alternatives"], errors, strict=True):
                other[fine] = in_units_of(plane, answer.unit + error, intensity, self.factor)[keep]
        if "background" in self.maps:
            self.maps["background"][region.inner] = (background * intensity.span)[region.keep()]

    def finished(self) -> Restored:
        """The restored plane, with the mean of its input, and what is left of it."""
        plane, maps = self.restorer.plane, self.maps
        keep_mean(self.values, plane)
        if self.wishes.background:
            maps["residual"] = np.empty(plane.shape, np.float32)
            blurred = gaussian_filter(self.values.astype(np.float32), self._blur_px) if self._blur_px else self.values
            for n in range(0, len(plane), ROWS):
                rows, fine = slice(n, n + ROWS), slice(n * self.factor, (n + ROWS) * self.factor)
                level = bin_down(blurred[fine], self.factor) if self.factor > 1 else blurred[fine]
                maps["residual"][rows] = plane[rows] - level.astype(np.float64)
                if "background" in maps:
                    maps["residual"][rows] -= maps["background"][rows]
        return Restored(self.values, self._report(), maps)

    def _as_given(self, unit: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        """What an answer says of the input (Y, X), on the unit scale: as coarse as that, and as blurred."""
        if self.factor > 1:
            return bin_down(unit, self.factor)
        if self.restorer.generator.card.task != SUPER_RESOLVE:
            return unit
        if self._blur_px is None:
            self._blur_px = blur_between(unit, scaled)
        blurred: np.ndarray = gaussian_filter(unit, self._blur_px)
        return blurred

    def _uncertainty(self, answer: Answer, level: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        """Of each pixel of an answer on the unit scale; what another strength changed may be wrong as well."""
        change = answer.change
        if change is None:
            asked = AskedAgain(self.restorer, answer.unit, level, self.seed)
            self._share = self._share or asked.share()
            return asked.uncertainty(self._share)
        before = level - (bin_down(change, self.factor) if self.factor > 1 else change)
        asked = AskedAgain(self.restorer, answer.unit - change, before, self.seed, strength=1.0)
        self._share = self._share or asked.share()
        changed = gaussian_filter(change**2, CHANGE_PX * self.factor)
        found: np.ndarray = np.sqrt(asked.uncertainty(self._share) ** 2 + changed)
        return found

    def _report(self) -> Report:
        parts, noise, span = self._seen, self.restorer.noise, self.restorer.intensity.span
        mean = (mean_of(self.restorer.plane) - self.restorer.intensity.low) / span
        share, by_chance = noise.std_at(mean), structure_by_chance(noise, mean)
        n = sum(p.n_pixels for p in parts)
        variance = sum(p.squares for p in parts) / n - (sum(p.total for p in parts) / n) ** 2
        structure = sum(p.structure**2 * p.n_pixels for p in parts) / n
        return Report(
            noise=noise.spoken(mean, 1.0, span),
            noise_std=share * span,
            noise_share=share,
            structure=float(np.sqrt(max(structure - by_chance**2, 0.0))),
            residual_sigmas=float(np.sqrt(max(variance, 0.0) * n / sum(p.noise_squares for p in parts))),
            within=sum(p.n_within for p in parts) / n,
            factor=self.factor,
        )

    def _background(self, scaled: np.ndarray, level: np.ndarray, answer: Answer) -> np.ndarray:
        """What the task takes away beside noise, (Y, X) on the unit scale."""
        if answer.background is not None:
            return answer.background
        if self.restorer.generator.card.task != BACKGROUND:
            return np.zeros_like(scaled)
        return smooth_background(scaled - level, self.restorer.noise, float(scaled.mean())).astype(np.float32)


@dataclass(frozen=True)
class _Seen:
    """What a report needs to know of a part of a plane; squares are sums."""

    n_pixels: int
    total: float
    squares: float
    noise_squares: float
    n_within: int
    structure: float

    @classmethod
    def of(cls, residual: np.ndarray, sigma: np.ndarray, seen: np.ndarray | None) -> _Seen:
        """Of (Y, X) pixels each; those that are not ``seen`` count for the structure only, as if nothing was taken away."""
        structure = structure_left(residual if seen is None else np.where(seen, residual, 0))
        residual, sigma = (residual, sigma) if seen is None else (residual[seen], sigma[seen])
        total, squares, noise_squares = (float(np.sum(x, dtype=np.float64)) for x in (residual, residual**2, sigma**2))
        n_within = int(np.count_nonzero(np.abs(residual) <= sigma))
        return cls(residual.size, total, squares, noise_squares, n_within, structure)
