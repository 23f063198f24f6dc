"""How far denoised planes are from the truth that nobody has, by what is known of their noise. Learns nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.engine.alone import Alone
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.restorer import Restorer

MOST_PLANES = 2  # to judge is to restore, and takes long
PROBE_SIZE = 0.1  # of the noise
MOST_NOISE = 1.1  # times the measured variance
CAUTION = 0.95  # of the noise is reckoned with: where it is weaker than it seems, detail must not go for it
AS_IT_IS = Intensity(0.0, 1.0)


class Risk:
    """What users get of some planes, where it was learned from nothing; guards that whoever is asked is judged alike.

    Stein's unbiased estimate of the risk: what was taken away, and how far the answer follows the noise, which is asked of a probe
    (Ramani, Blu & Unser 2008). It is noise as it was measured, as strong as what the generator that is started from takes away.
    """

    def __init__(self, planes: Sequence[Alone], seed: int) -> None:
        step = max(1, -(-len(planes) // MOST_PLANES))
        self._planes = [_Plane(plane, np.random.default_rng((seed, i))) for i, plane in enumerate(planes[::step])]

    def errors(self, generator: Generator) -> np.ndarray:
        """Estimated mean squared error of each spared block, (N,), on the unit scale; the variance of the noise is in it."""
        return np.concatenate([plane.errors(generator) for plane in self._planes])


class _Plane:
    def __init__(self, plane: Alone, rng: np.random.Generator) -> None:
        self.given, self.noise, self.block_px = plane.given, plane.noise, plane.block_px
        known = plane.noise.as_strong_as(plane.given - plane.estimate, plane.estimate, MOST_NOISE)
        self.probe = np.float32(PROBE_SIZE) * known.draw(plane.estimate, rng)

    def errors(self, generator: Generator) -> np.ndarray:
        first = Restorer(generator, self.given, AS_IT_IS, noise=self.noise)
        answer = first.whole()
        again = Restorer(generator, self.given + self.probe, AS_IT_IS, noise=self.noise, blend=first.blend).whole()
        error = (answer - self.given) ** 2 + 2 * CAUTION / PROBE_SIZE**2 * self.probe * (again - answer)
        return _every_other(error, self.block_px)


def _every_other(values: np.ndarray, block_px: int) -> np.ndarray:
    """Means of the whole blocks in even rows and columns of blocks of a (Y, X) plane, (N,)."""
    y, x = (n // block_px for n in values.shape)
    whole = values[: y * block_px, : x * block_px].reshape(y, block_px, x, block_px)
    means: np.ndarray = whole.mean((1, 3), dtype=np.float64)[::2, ::2].ravel()
    return means
