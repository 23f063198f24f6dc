"""How far a restoration may be off, and other answers that explain its input as well. No GUI."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.tiles import Box, finer
from napari_fewshot.engine.blend import parts
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.restorer import Restorer

N_DRAWS = 2
SALT = 1979  # as in `blend`
NOISE_SHARE = 0.75  # of the expected error on a logarithmic scale; the slope of the answer has the rest
SLOPE_PX = 1.0  # sigma over which slopes are averaged, px of the input
LEAST_SLOPE = 3e-4  # of the unit scale per px of the answer: nothing is quite flat
SCALE = 1.5  # true to bootstrapped squared error: what was smeared away is missing in a bootstrap
FLOOR = 0.005  # of the unit scale: nobody is surer than that of a pixel


@dataclass(frozen=True, eq=False)
class AskedAgain:
    """What a network answers where the truth is known: a parametric bootstrap (Efron 1979) of a restored plane, or of a part of it.

    The answer takes the place of the truth, noise as measured is put on it, every second time mirrored, and the
    network restores it again.

    Parameters
    ----------
    restorer : Restorer
        Of the whole plane.
    answer : ndarray
        (Y * factor, X * factor) on the unit scale.
    level : ndarray
        (Y, X), what the input would be without noise, on the same scale.
    strength : float or None
        At which it is asked again; None for that of ``restorer``.
    """

    restorer: Restorer
    answer: np.ndarray
    level: np.ndarray
    seed: int = 0
    strength: float | None = None

    def errors(self, n: int, box: Box | None = None, listener: Listener = SILENT) -> list[np.ndarray]:
        """``n`` errors, float32, shape of the answer, or of what it is for a box of the plane."""
        rng, same = np.random.default_rng((self.seed, SALT)), Intensity(0.0, 1.0)
        truth, level = (self.answer, self.level) if box is None else (self.answer[self._fine(box)], self.level[box])
        errors = []
        for i in range(n):
            again = (level + self.restorer.noise.draw(np.clip(level, -0.2, 1.3), rng)).astype(np.float32)
            flip = slice(None, None, -1 if i % 2 else 1)
            made, strength = self.restorer, self.restorer.strength if self.strength is None else self.strength
            other = Restorer(
                made.generator, again[flip], same, strength=strength, blend=made.blend, specimen=made.specimen
            )
            errors.append(other.whole(listener)[flip] - truth)
        return errors

    def uncertainty(self, share: float) -> np.ndarray:
        """One standard deviation of the error of each pixel of the answer, float32 on the unit scale.

        Which pixels are further off than others tells `expected_error`; how far they are off, a `share`.
        """
        expected = expected_error(self.answer, self.level, self.restorer.noise)
        return np.sqrt(share * expected**2 + FLOOR**2).astype(np.float32)

    def share(self) -> float:
        """The squared error as a share of what is expected, by errors of parts of the answer."""
        expected = expected_error(self.answer, self.level, self.restorer.noise)
        found = compared = 0.0
        for box in parts(self.level.shape):
            found += float(np.mean(np.square(self.errors(N_DRAWS, box))))
            compared += float(np.mean(expected[self._fine(box)] ** 2))
        return SCALE * found / compared

    def _fine(self, box: Box) -> Box:
        return finer(box, self.restorer.generator.card.factor)


def expected_error(answer: np.ndarray, level: np.ndarray, noise: Noise) -> np.ndarray:
    """How far off pixels are compared with each other, shape of ``answer``; parameters as of `AskedAgain`.

    Noise is mistaken for structure where it is strong, and structure for noise where grey levels change: the geometric mean
    of both. Its weights, and `SCALE`, were fitted on half of the pairs of which docs/restoration.md tells.
    """
    factor = len(answer) // len(level)
    std = np.sqrt(noise.variance(level)).repeat(factor, 0).repeat(factor, 1)
    down, right = np.gradient(answer)
    slope_squared = gaussian_filter(down**2 + right**2, SLOPE_PX * factor)
    return std**NOISE_SHARE * (slope_squared + LEAST_SLOPE**2) ** ((1 - NOISE_SHARE) / 2)
