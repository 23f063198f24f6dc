"""The strength of a restoration: detail that stands out of its noise is given back, or detail that hardly does is taken too.

Works on an answer and its input; knows no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.tiles import Box, finer, whole_of
from napari_fewshot.engine.heads.image import enlarge
from napari_fewshot.engine.noise import Noise, middle
from napari_fewshot.engine.residual import smooth_background
from napari_fewshot.engine.starlet import smoothed
from napari_fewshot.tasks.degrade import bin_down

N_SCALES = 4  # detail of 1 to some 16 px of the input: a broader difference is no noise of the detector
HALO_PX = 3 * 2**N_SCALES  # splitting reaches 2 * (2^n - 1) px of the input, the energy of a neighbourhood 2^n
GIVE_BACK = 1.0  # standard deviations of the noise of its scale by which detail must stand out at strength 0.5
TAKE_MORE = 0.6  # at strength 2
BAND_ROWS = 512  # of the input at a time
TINY = 1e-20  # keeps a division by no energy at all away
MEDIAN_OF_NORMAL = 0.6745  # of the absolute value, in standard deviations


def apply_strength(
    answer: np.ndarray,
    plane: np.ndarray,
    intensity: Intensity,
    strength: float,
    *,
    factor: int = 1,
    has_background: bool = False,
    noise: Noise | None = None,
    sigmas: Sequence[float] | None = None,
) -> Sequence[float] | None:
    """Take away less (``strength`` < 1) or more (> 1) than a network did, in place; 1 leaves its answer as it is.

    Below 1, what the network took away is split into scales, and what stands out there of the noise is given back: the less
    strength, the less it must stand out. Above 1 the answer itself is split, and what does not stand out is taken away: the
    more strength, the more it must stand out. Both split by the isotropic undecimated wavelet transform ("starlet": Starck,
    Fadili & Murtagh 2007) and shrink a coefficient by the energy of its neighbourhood (after Cai & Silverman 2001), because
    structure hangs together. The noise of each scale is that of what the network took away. All is done on the grid of
    the input: what is finer the input says nothing of.

    Memory beyond the arguments is that of a few bands of rows, but for a background, which is found as a whole.

    Parameters
    ----------
    answer : ndarray
        (Y * factor, X * factor) float32 on the unit scale.
    plane : ndarray
        (Y, X), what was restored; pixels that are not finite give nothing back.
    strength : float
        As in `core.restoring.Restoring`.
    has_background : bool
        The network took away a background too, which is not given back.
    noise : Noise or None
        Of the plane on the unit scale; None measures it.
    sigmas : sequence of float or None
        As another part of the same plane returned them; None measures them.

    Returns
    -------
    sequence of float or None
        Noise of what the network took away at each scale; None where nothing was to be done.
    """
    if strength == 1:
        return sigmas
    noise = noise or Noise.measure(intensity.to_scale(plane[middle(plane.shape)]))
    taken = Taken.of(answer, plane, intensity, factor, noise, has_background)
    found = sigmas or scale_sigmas(*taken.part(answer, middle(plane.shape)), noise)
    change_in_bands(answer, taken, lambda rest, level: changed_by(strength, rest, level, noise, found))
    return found


def change_in_bands(
    answer: np.ndarray, taken: Taken, change: Callable[[np.ndarray, np.ndarray], np.ndarray], halo_px: int = HALO_PX
) -> None:
    """Add to ``answer``, in place, what ``change`` says of what was taken away and what was left, (y, x) of the input each.

    It is asked for bands of rows, with ``halo_px`` more on both sides.
    """
    done = (slice(0, 0), answer[:0])
    for inner, outer in _bands(len(taken.plane), halo_px):
        box = (outer, slice(0, taken.plane.shape[1]))
        fine = answer[finer(box, taken.factor)] + _enlarged(change(*taken.part(answer, box)), taken.factor)
        answer[done[0]] = done[1]  # a band late, as the next one had to see it unchanged
        first, last = ((row - outer.start) * taken.factor for row in (inner.start, inner.stop))
        done = (slice(inner.start * taken.factor, inner.stop * taken.factor), fine[first:last])
    answer[done[0]] = done[1]


def changed_by(
    strength: float, rest: np.ndarray, level: np.ndarray, noise: Noise, sigmas: Sequence[float]
) -> np.ndarray:
    """What a strength adds to ``level`` from which ``rest`` was taken away, (Y, X) each; ``sigmas`` as of `scale_sigmas`."""
    octaves = abs(float(np.log2(strength)))
    std = np.sqrt(noise.variance(level))
    if strength < 1:
        return stands_out(starlet(rest)[0], sigmas, GIVE_BACK * octaves ** (-1 / 3) * std)
    details, smooth = starlet(level)
    return stands_out(details, sigmas, TAKE_MORE * octaves * std) + smooth - level


def scale_sigmas(rest: np.ndarray, level: np.ndarray, noise: Noise) -> list[float]:
    """Standard deviation of the noise in ``rest`` (Y, X) at each scale, as a share of that of ``noise`` at ``level``."""
    details, _ = starlet(rest / np.sqrt(noise.variance(level)))
    return [float(np.median(np.abs(d))) / MEDIAN_OF_NORMAL for d in details]  # the median: structure is the exception


def starlet(x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Split (Y, X) into planes of detail, finest first, and what is smooth; their sum is ``x``."""
    details = []
    for scale in range(N_SCALES):
        smooth = _smooth(x, scale)
        details.append(x - smooth)
        x = smooth
    return details, x


def stands_out(details: Sequence[np.ndarray], sigmas: Sequence[float], least: np.ndarray) -> np.ndarray:
    """What of detail (Y, X), finest first, stands out of ``least`` (Y, X) times the standard deviation of its scale, summed."""
    found = np.zeros_like(details[0])
    for scale, (detail, sigma) in enumerate(zip(details, sigmas, strict=True)):
        energy = _smooth(detail**2, scale)
        found += detail * np.clip(1 - (sigma * least) ** 2 / np.maximum(energy, TINY), 0, 1)
    return found


@dataclass(frozen=True, eq=False)
class Taken:
    """What a network took away from a plane beside its background, and the noise of the plane, both on the unit scale."""

    plane: np.ndarray
    intensity: Intensity
    factor: int
    noise: Noise
    background: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        answer: np.ndarray,
        plane: np.ndarray,
        intensity: Intensity,
        factor: int,
        noise: Noise,
        has_background: bool,
    ) -> Taken:
        taken = cls(plane, intensity, factor, noise)
        if not has_background:
            return taken
        rest, level = taken.part(answer, whole_of(plane.shape))
        return replace(taken, background=smooth_background(rest, noise, float((rest + level).mean())))

    def part(self, answer: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """What was taken away in a box of the plane, and what was left there; (y, x) each."""
        part = self.plane[box]
        level = bin_down(answer[finer(box, self.factor)], self.factor)
        rest = self.intensity.to_scale(part) - level
        if self.background is not None:
            rest -= self.background[box]
        if part.dtype.kind == "f":
            rest[~np.isfinite(part)] = 0
        return rest, level


def _smooth(x: np.ndarray, scale: int) -> np.ndarray:
    return smoothed(torch.from_numpy(np.ascontiguousarray(x))[None, None], scale)[0, 0].numpy()


def _bands(n_rows: int, halo_px: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, n_rows, BAND_ROWS):
        stop = min(row + BAND_ROWS, n_rows)
        yield slice(row, stop), slice(max(0, row - halo_px), min(n_rows, stop + halo_px))


def _enlarged(x: np.ndarray, factor: int) -> np.ndarray:
    return enlarge(torch.from_numpy(x)[None, None], factor)[0, 0].numpy()
