"""What the noise of a plane is, measured on the plane itself: how strong at each grey level, how correlated, how the lines jump."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from napari_fewshot.core.tiles import Box, middle_of
from napari_fewshot.engine.scan_lines import line_levels, line_shifts

Rng = np.random.Generator
Kind = Literal["white", "scan", "camera"]

BLOCK_PX = 32
MEASURE_PX = 1024  # side of the part that is measured: a thousand blocks are plenty
FLAT_SHARE = 0.3  # of the blocks: those with the least structure at low frequencies
LOW_BAND, HIGH_BAND = (0.03, 0.12), 0.25  # cycles/px: where structure shows, above which noise is most of what is left
PADDED_PX = 5  # a square this wide of one level is no measurement
SCAN_SHARES = np.linspace(0.0, 0.45, 19)  # of the previous pixel that stays in a pixel
CAMERA_SIGMAS = np.linspace(0.0, 1.0, 21)  # px
WHITE_SHARES = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
LOUD = 3.0  # times what is usual: a lattice
LOUD_OF_ONE = 8.0  # is added for a single block, by the square root of their number
CLEARLY = 0.8  # a model with a parameter must reduce the misfit to this share of that of white noise


@dataclass(frozen=True)
class Noise:
    """Noise whose variance is ``gain * level + floor`` and whose correlation is that of a detector.

    Parameters
    ----------
    gain, floor : float
        Of the variance, in the units of the plane (per grey level, and squared); shot noise has a gain, read-out a floor.
    kind : "white", "scan" or "camera"
        "scan" keeps a share of the previous pixel of the line (after-glow), "camera" spreads over neighbours.
    reach : float
        That share, or the sigma of the spread in px.
    white : float
        Share of the variance that is not correlated.
    lines : float
        Standard deviation of the level of whole scan lines, in the units of the plane.
    jitter_px : float
        Standard deviation of the shift of a scan line against its neighbours.
    lowest : float
        Smallest level that was measured; below it the variance is that of this level.
    """

    gain: float
    floor: float
    kind: Kind = "white"
    reach: float = 0.0
    white: float = 0.0
    lines: float = 0.0
    jitter_px: float = 0.0
    lowest: float = 0.0

    @classmethod
    def measure(cls, plane: np.ndarray) -> Noise:
        """Measure a (Y, X) plane of at least 32 px a side; blocks with pixels that are not finite, or all alike, tell nothing."""
        part = plane[middle(plane.shape)]
        x = _filled(part)
        seen = np.isfinite(part) & ~_padded(x)
        (kind, reach, white), (gain, floor, lowest) = _fit(*_telling(*_periodograms(x), seen))
        bare = cls(gain, floor, kind, reach, white, lowest=lowest)
        return cls(
            gain,
            floor,
            kind,
            reach,
            white,
            line_levels(x, seen),
            line_shifts(x, seen, bare.std_at(float(x.mean()))),
            lowest,
        )

    def as_strong_as(self, residual: np.ndarray, level: np.ndarray, most: float = np.inf) -> Noise:
        """The same noise, as strong as what a restoration took away; (Y, X) each. On the plane structure counts as noise.

        Its variance is not more than ``most`` times as large: a bad restoration takes away structure.
        """
        means, _ = _periodograms(level.astype(np.float64))
        _, spectra = _periodograms(residual.astype(np.float64))
        _, (gain, floor, lowest) = _fit(means, spectra)
        other = Noise(gain, floor, lowest=lowest)
        share = min(most, other.variance(level).mean() / self.variance(level).mean())
        return replace(self, gain=self.gain * share, floor=self.floor * share)

    def variance(self, level: np.ndarray) -> np.ndarray:
        """Variance at each level, same shape."""
        return np.maximum(self.gain * np.maximum(level, self.lowest) + self.floor, 1e-12)

    def std_at(self, level: float) -> float:
        """Standard deviation at one level."""
        return float(np.sqrt(self.variance(np.array(level))))

    def draw(self, clean: np.ndarray, rng: Rng) -> np.ndarray:
        """Noise (Y, X) float32 as this one, for a plane whose clean levels are ``clean``."""
        noise = self.colour(rng.standard_normal(clean.shape, np.float32), rng) * np.sqrt(self.variance(clean))
        if self.lines:
            noise = noise + rng.normal(0, self.lines, (len(clean), 1))
        return noise.astype(np.float32)

    def colour(self, white: np.ndarray, rng: Rng) -> np.ndarray:
        """White noise (Y, X) of unit variance -> noise of unit variance with the correlation of the detector."""
        if self.kind == "white":
            return white
        if self.kind == "scan":
            spread = (1 - self.reach) * white
            spread[:, 1:] += self.reach * white[:, :-1]
        else:
            spread = gaussian_filter(white, self.reach, mode="wrap", truncate=6)
        spread = spread / np.sqrt(_power(self.kind, self.reach))
        own = rng.standard_normal(white.shape, np.float32)
        return np.sqrt(1 - self.white) * spread + np.sqrt(self.white) * own

    @property
    def correlated_px(self) -> tuple[int, int]:
        """How far a pixel's noise is seen in its neighbours along Y and X."""
        if self.kind == "scan" and self.reach >= 0.08:
            return 0, 1
        if self.kind == "camera" and self.reach >= 0.3:
            return (1, 1) if self.reach < 0.75 else (2, 2)
        return 0, 0

    def spoken(self, level: float, span: float, unit: float = 1.0) -> str:
        """One sentence: strength against the contrast ``span`` of the plane at ``level``, type, correlation, lines.

        One of its grey levels is ``unit`` of those that are told.
        """
        std = self.std_at(level)
        shot = self.gain * max(level, self.lowest) / max(std**2, 1e-12)
        kind = "shot noise" if shot > 0.7 else "shot and read-out noise" if shot > 0.3 else "read-out noise"
        how = {
            "white": "independent from pixel to pixel",
            "scan": f"correlated along the scan line ({self.reach:.0%} of the previous pixel)",
            "camera": f"correlated between neighbours (spread {self.reach:.1f} px)",
        }[self.kind]
        more = f"; line levels jump by {self.lines * unit:.2g}" if self.lines > 0.1 * std else ""
        more += f"; lines are shifted by {self.jitter_px:.1f} px" if self.jitter_px > 0.2 else ""
        return f"{kind} of {std * unit:.3g} grey levels ({std / span:.0%} of the contrast), {how}{more}"


def _filled(plane: np.ndarray) -> np.ndarray:
    x = plane.astype(np.float64)
    bad = ~np.isfinite(x)
    return np.where(bad, x[~bad].mean(), x) if bad.any() and not bad.all() else np.nan_to_num(x)


def _padded(x: np.ndarray) -> np.ndarray:
    """Where nothing differs from pixel to pixel, (Y, X) bool."""
    alike = maximum_filter(x, PADDED_PX) == minimum_filter(x, PADDED_PX)
    return np.asarray(maximum_filter(alike, PADDED_PX))


def middle(shape: tuple[int, ...]) -> Box:
    """The part of a (Y, X) plane that is measured."""
    return middle_of(shape, MEASURE_PX)


_WINDOW = np.outer(*[np.hanning(BLOCK_PX + 2)[1:-1]] * 2)
_FY, _FX = np.meshgrid(np.fft.fftfreq(BLOCK_PX), np.fft.rfftfreq(BLOCK_PX), indexing="ij")
_F = np.hypot(_FY, _FX)
_HIGH = _F > HIGH_BAND
_SPREAD_PX = 6
_LOW = (_F > LOW_BAND[0]) & (_F < LOW_BAND[1])


def _periodograms(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (N,) and power (N, F, F') per px² of half-overlapping blocks; white noise has its variance everywhere."""
    blocks = _blocks(x)
    means = blocks.mean((1, 2))
    power = np.abs(np.fft.rfft2((blocks - means[:, None, None]) * _WINDOW)) ** 2 / np.sum(_WINDOW**2)
    return means, power


def _blocks(x: np.ndarray) -> np.ndarray:
    """(N, BLOCK_PX, BLOCK_PX) of (Y, X), overlapping by half."""
    step = BLOCK_PX // 2
    blocks = np.lib.stride_tricks.sliding_window_view(x, (BLOCK_PX, BLOCK_PX))[::step, ::step]
    return blocks.reshape(-1, BLOCK_PX, BLOCK_PX)


def _telling(means: np.ndarray, spectra: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without the blocks that were filled up or padded; all of them where no other is left."""
    told = _blocks(seen).all((1, 2))
    return (means[told], spectra[told]) if told.any() else (means, spectra)


def _flat(means: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Indices of blocks with the least structure among those of a similar level, so that all levels are represented."""
    order = np.argsort(means)
    low = spectra[:, _LOW].mean(1)
    groups = np.array_split(order, max(1, min(12, len(order) // 12)))
    return np.concatenate([g[np.argsort(low[g])[: max(1, round(len(g) * FLAT_SHARE))]] for g in groups])


def _power(kind: Kind, reach: float) -> float:
    """Variance that white noise of unit variance keeps under the detector."""
    if kind == "scan":
        return (1 - reach) ** 2 + reach**2
    return float(np.sum(_spread(reach) ** 2)) ** 2


def _shape(kind: Kind, reach: float, white: float) -> np.ndarray:
    """Power spectrum (F, F') of noise of unit variance."""
    if kind == "white":
        return np.ones_like(_F)
    if kind == "scan":
        power = (1 - reach) ** 2 + reach**2 + 2 * reach * (1 - reach) * np.cos(2 * np.pi * _FX)
    else:
        weights, steps = _spread(reach), np.arange(-_SPREAD_PX, _SPREAD_PX + 1)
        along = [np.cos(2 * np.pi * f[..., None] * steps) @ weights for f in (_FY, _FX)]
        power = (along[0] * along[1]) ** 2
    return (1 - white) * power / _power(kind, reach) + white


def _spread(sigma_px: float) -> np.ndarray:
    """Weights of a Gaussian, sampled at pixels as `scipy.ndimage.gaussian_filter` does, (2 * _SPREAD_PX + 1,)."""
    weights = np.exp(-(np.arange(-_SPREAD_PX, _SPREAD_PX + 1) ** 2) / (2 * max(sigma_px, 1e-3) ** 2))
    return weights / weights.sum()


def _fit(means: np.ndarray, spectra: np.ndarray) -> tuple[tuple[Kind, float, float], tuple[float, float, float]]:
    """The detector, and gain, floor and lowest level, by blocks as of `_periodograms`.

    Noise is spread over all frequencies, a lattice is in a few of them: those that stand out are left out.
    """
    flat = _flat(means, spectra)
    power, quiet = spectra[flat].mean(0), _HIGH
    loud = LOUD + LOUD_OF_ONE / np.sqrt(len(flat))
    for _ in range(2):
        found = _fit_shape(power, quiet)
        ratio = power / _shape(*found)
        quiet = _HIGH & (ratio <= loud * np.quantile(ratio[_HIGH], 0.25))
    variances = (spectra[:, quiet] / _shape(*found)[quiet]).mean(1)
    return found, _fit_levels(means[flat], variances[flat])


def _fit_shape(power: np.ndarray, quiet: np.ndarray) -> tuple[Kind, float, float]:
    """The detector whose spectrum fits best at frequencies (F, F') with little structure (least squares of the logarithm)."""
    wanted = np.log(np.maximum(power[quiet], 1e-30))
    best: tuple[float, Kind, float, float] = (CLEARLY * float(np.var(wanted)), "white", 0.0, 0.0)
    for kind, reaches in (("scan", SCAN_SHARES[1:]), ("camera", CAMERA_SIGMAS[1:])):
        for reach in reaches:
            power = _shape(kind, reach, 0.0)[quiet]  # type: ignore[arg-type]
            for white in WHITE_SHARES:
                misfit = float(np.var(wanted - np.log((1 - white) * power + white)))
                best = min(best, (misfit, kind, float(reach), float(white)))  # type: ignore[assignment]
    return best[1:]


def _fit_levels(levels: np.ndarray, variances: np.ndarray) -> tuple[float, float, float]:
    """Gain and floor of variance = gain * level + floor with neither making a variance negative; and the lowest level."""
    lowest, typical = float(np.quantile(levels, 0.02)), float(np.median(variances))
    weights = np.ones_like(variances)
    gain, floor = 0.0, typical
    for _ in range(5):
        middle = np.average(levels, weights=weights)
        spread = np.average((levels - middle) ** 2, weights=weights)
        centre = np.average(variances, weights=weights)
        slope = np.average((levels - middle) * variances, weights=weights) / max(spread, 1e-12)
        gain = float(np.clip(slope, 0.0, centre / max(middle - lowest, 1e-12)))
        floor = float(centre - gain * middle)
        fitted = np.maximum(gain * levels + floor, 0.05 * typical + 1e-12)
        weights = 1 / (fitted**2 * (1 + ((variances - fitted) / (0.3 * fitted)) ** 2))  # structure only ever adds
    return gain, floor, lowest
