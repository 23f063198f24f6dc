"""Brings a target to the grey levels of its image, or says why nothing can be learned from it. Knows no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.restoring import Regions
from napari_fewshot.core.tiles import finer, middle_of
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.regions import check_regions
from napari_fewshot.engine.residual import BACKGROUND_PX
from napari_fewshot.tasks.degrade import bin_down

Pair = tuple[np.ndarray, np.ndarray | Regions | None]

LOOK_PX = 512  # side of the middle of an image that is compared with its target
LAGS_PX = (3, 16)  # further apart than noise is correlated
SAME_PLACE = 0.5  # of the largest correlation at any shift, which that without a shift must reach
CLEAR_PEAK = 8.0  # standard deviations of the correlation at all shifts
TOLERANCE = 0.05  # of gain and level: what differs less is on the scale of its image
NOTHING = 1e-3  # of the grey scale of an image: no offset worth a word
ROUNDING = 1e-6  # on the unit scale, of all pixels together
BY_CHANCE = 5.0  # times what noise correlates at `LAGS_PX`, below which that tells no gain


@dataclass(frozen=True)
class Match:
    """A target times ``gain`` plus ``offset`` is on the grey scale of its image."""

    gain: float = 1.0
    offset: float = 0.0

    def of(self, target: np.ndarray) -> np.ndarray:
        """The target on that scale, any float dtype; untouched when it is on it."""
        return target if self == Match() else target.astype(np.float64) * self.gain + self.offset

    def spoken(self, has_level: bool) -> str:
        """Such as "x 0.51 + 3"; a target without the background of its image has no level to be compared."""
        offset = f" {'-' if self.offset < 0 else '+'} {abs(self.offset):.3g}" if has_level and self.offset else ""
        return f"x {self.gain:.3g}{offset}"


def on_scale(pairs: Sequence[Pair], factor: int, has_background: bool, listener: Listener) -> list[Pair]:
    """Pairs with each target on the scale of its image; those that show something else are left out, and both are told.

    Raises
    ------
    PictureError
        A target has another shape, or none shows what its image does.
    """
    found: list[Pair] = []
    matches, refused = [], []
    for image, target in pairs:
        if target is None:
            found.append((image, None))
            continue
        if isinstance(target, Regions):
            check_regions(image, target, factor)
            found.append((image, target))
            continue
        check_shape(image, target, factor)
        try:
            match = match_to(image, target, factor, has_background)
        except PictureError as error:
            refused.append(error)
            continue
        found.append((image, match.of(target)))
        if match != Match():
            matches.append(match)
    if not found or (refused and all(target is None for _, target in found)):
        raise refused[0]
    if refused:
        listener.note(f"{len(refused)} of {len(pairs)} pairs are left out: {refused[0]}")
    if matches:
        whose = "the target is" if len(pairs) == 1 else f"{len(matches)} targets are"
        by = matches[len(matches) // 2].spoken(not has_background)
        listener.note(f"{whose} on another scale: brought to the image's by {by}")
    return found


def check_shape(image: np.ndarray, target: np.ndarray, factor: int) -> None:
    """Raise PictureError unless a target has ``factor`` times the rows and columns of its image."""
    wanted = tuple(n * factor for n in image.shape)
    if target.shape != wanted:
        raise PictureError(
            f"the target has shape {target.shape}, this model needs {wanted} for an image of {image.shape}: "
            "choose a target of that shape"
        )


def match_to(image: np.ndarray, target: np.ndarray, factor: int, has_background: bool) -> Match:
    """The gain and offset that bring a target (Y * factor, X * factor) to its image (Y, X).

    The gain is the least-squares slope of the cross-covariance of both on the autocovariance of the target, at shifts beyond the
    reach of noise: noise in the target, as in a frame or a short sum, would make the slope pixel by pixel too small. Where the image
    has a background that the target lacks, only what is finer is compared, and the offset says nothing.

    Raises
    ------
    PictureError
        They do not show the same at the same place.
    """
    box = middle_of(image.shape, LOOK_PX)
    seen, own = image[box], target[finer(box, factor)]
    if not np.isfinite(own).any():
        raise PictureError("the target has no finite pixel (all NaN or infinite): choose another target")
    scales = Intensity.measure(image), Intensity.measure(own)
    if scales[1].is_flat:
        raise PictureError("the target is constant, nothing is learned from it: choose another target")
    planes = [_unit(seen, scales[0]), bin_down(_unit(own, scales[1]), factor)]
    known = np.isfinite(planes[0]) & np.isfinite(planes[1])
    if not known.any():
        raise PictureError("the target and the image have no finite pixel in common: choose another target")
    means = [float(plane[known].mean()) for plane in planes]
    whole = [np.where(known, plane - mean, 0) for plane, mean in zip(planes, means, strict=True)]
    fine = [_finer(plane, known) for plane in whole]
    if min(float(np.linalg.norm(plane)) for plane in fine) < ROUNDING:
        raise PictureError(
            f"the image or the target is constant in its middle of {LOOK_PX} px, nothing tells whether they show the same: "
            "crop both to where there is something"
        )
    certain = _check_same(_covariance(fine[1], fine[0]), float(np.linalg.norm(fine[0]) * np.linalg.norm(fine[1])))
    slope = _slope(*(fine if has_background else whole))
    gain = slope * scales[0].span / scales[1].span
    mean = scales[0].low + means[0] * scales[0].span, scales[1].low + means[1] * scales[1].span
    # what is hardly seen in the noise is not known to be on another scale
    tolerance = max(TOLERANCE, 3 * np.sqrt((1 / certain**2 - 1) / np.count_nonzero(known)))
    is_level = has_background or abs(mean[0] - mean[1]) < TOLERANCE * scales[0].span
    if abs(gain - 1) < tolerance and is_level:
        return Match()
    offset = mean[0] - gain * mean[1]
    return Match(gain, offset if abs(offset) > NOTHING * scales[0].span else 0.0)


def _check_same(covariance: np.ndarray, norm: float) -> float:
    """Raise PictureError unless a covariance (Y, X) at all shifts is largest without one; returns that correlation."""
    here, largest = float(covariance[0, 0]), float(np.abs(covariance).max())
    if here >= SAME_PLACE * largest > 0:
        return min(here / norm, 1.0)
    if here <= -SAME_PLACE * largest < 0:
        raise PictureError("the target has the opposite contrast of the image: invert one of them")
    at = np.unravel_index(int(covariance.argmax()), covariance.shape)
    if covariance[at] > CLEAR_PEAK * float(covariance.std()):
        y, x = (int(i) - (n if i > n // 2 else 0) for i, n in zip(at, covariance.shape, strict=True))
        raise PictureError(
            f"the image shows what the target does {abs(y)} px {'above' if y < 0 else 'below'} and {abs(x)} px "
            f"to the {'left' if x < 0 else 'right'} of it: align them first"
        )
    raise PictureError("the target does not show what the image does: choose another target, or none")


def _slope(image: np.ndarray, target: np.ndarray) -> float:
    cross, own = _covariance(target, image), _covariance(target, target)
    y, x = (np.fft.fftfreq(n, 1 / n) for n in own.shape)
    lags = np.hypot(y[:, None], x)
    ring = (lags >= LAGS_PX[0]) & (lags <= LAGS_PX[1])
    if np.sqrt(np.mean(own[ring] ** 2)) < BY_CHANCE * own[0, 0] / np.sqrt(own.size):
        return float(cross[0, 0] / own[0, 0])
    return float(np.sum(cross[ring] * own[ring]) / np.sum(own[ring] ** 2))


def _covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of ``a`` times ``b`` shifted, for all shifts, (Y, X); that at (0, 0) is without one."""
    covariance: np.ndarray = np.fft.irfft2(np.fft.rfft2(a).conj() * np.fft.rfft2(b), s=a.shape)
    return covariance


def _finer(plane: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A plane without what is broader than a background; 0 where it is not known."""
    level = gaussian_filter(plane, BACKGROUND_PX) / np.maximum(
        gaussian_filter(known.astype(float), BACKGROUND_PX), 1e-6
    )
    return np.where(known, plane - level, 0)


def _unit(plane: np.ndarray, scale: Intensity) -> np.ndarray:
    """On a unit scale with outliers cut off; NaN stays."""
    unit = np.clip((plane.astype(np.float64) - scale.low) / scale.span, -1.0, 3.0)
    return np.where(np.isfinite(plane), unit, np.nan)
