"""What a restoration can learn from an image without a target: examples whose noise is known, and pixels that were hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from napari_fewshot.core.tiles import finer
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.residual import smooth_background, structure_left
from napari_fewshot.tasks.degrade import bin_down, jitter_rows

PSF_SIGMA = 0.45  # px of the input: the optics between a super-resolved image and its input
MATCH = 0.02  # structure in the difference of two planes, below which they show the same
SPACING_PX = 4  # between hidden pixels, beyond the reach of the noise
JITTERED = 0.5  # of the examples of a scanned beam have displaced lines,
JITTER_PX = (0.2, 0.7)  # by so much, as in pretraining
SPARED_PX = (8, 32)  # least and largest side of blocks that nothing is learned from

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Example:
    """One crop to learn from, float32 on the unit scale; ``wanted`` or ``seen`` is what the answer is compared with.

    Parameters
    ----------
    given : ndarray
        (Y, X), the input.
    wanted : ndarray or None
        (Y * factor, X * factor), the answer.
    seen : ndarray or None
        (Y, X), what the microscope saw where ``mask`` is set: the answer as coarse as the input, plus ``background``.
    """

    given: np.ndarray
    wanted: np.ndarray | None = None
    seen: np.ndarray | None = None
    mask: np.ndarray | None = None
    background: np.ndarray | None = None


@dataclass(eq=False)
class Alone:
    """A plane without a target, with the present idea of what it would be without noise.

    Examples with a known answer put fresh noise, as measured on the plane, on that idea, which is renewed while the
    network gets better (iterative data refinement: Zhang et al. 2022, arXiv 2111.14358). Examples with hidden pixels hold
    the network to what was measured (Krull et al. 2019, Noise2Void); with a pixel its neighbours along the correlation of the
    detector's noise are hidden (Broaddus et al. 2020, structN2V). Another plane of the same scene, such as the neighbour
    in a stack or the next frame, takes their place where there is one (Lehtinen et al. 2018, Noise2Noise). Blocks all over the
    plane are spared: an answer there is compared with nothing, so that they can tell whether the network gets better.

    Parameters
    ----------
    given : ndarray
        (Y, X) float32 on the unit scale.
    estimate : ndarray
        (Y * factor, X * factor), the restoration so far.
    noise : Noise
        Of ``given``.
    background : ndarray
        (Y, X), what the task takes away beside noise.
    partner : ndarray or None
        (Y, X), the same scene with other noise.
    """

    given: np.ndarray
    estimate: np.ndarray
    noise: Noise
    background: np.ndarray
    factor: int
    partner: np.ndarray | None = None

    @classmethod
    def of_plane(cls, given: np.ndarray, estimate: np.ndarray, factor: int, has_background: bool) -> Alone:
        """Measure the noise, and the background that ``estimate`` lacks."""
        noise = Noise.measure(given)
        background = np.zeros_like(given)
        if has_background:
            rest = given - coarse(estimate, factor)
            background = smooth_background(rest, noise, float(given.mean())).astype(np.float32)
        return cls(given, estimate, noise, background, factor)

    @cached_property
    def spared(self) -> np.ndarray:
        """(Y, X) bool, a quarter of the plane."""
        return np.logical_and.outer(*(np.arange(n) // self.block_px % 2 == 0 for n in self.given.shape))

    @property
    def block_px(self) -> int:
        """Side of the blocks that are spared."""
        return int(np.clip(min(self.given.shape) // 8, *SPARED_PX))

    def renew(self, estimate: np.ndarray) -> None:
        """Take up a newer restoration, half, so that no single state of the network decides."""
        self.estimate = (self.estimate + estimate) / 2

    def known(self, box: tuple[slice, slice], rng: Rng) -> Example:
        """The estimate with fresh noise, and the estimate as the answer."""
        level, f = self._level(box), self.factor
        if self.noise.kind == "scan" and rng.random() < JITTERED:  # hidden pixels cannot teach that lines are displaced
            level = jitter_rows(level, rng.uniform(*JITTER_PX), rng)
        given = level + self.noise.draw(_usual(level), rng)
        spared = self.spared[box].repeat(f, 0).repeat(f, 1)
        return flipped(Example(given, wanted=np.where(spared, np.nan, self.estimate[finer(box, f)])), rng)

    def hidden(self, box: tuple[slice, slice], rng: Rng, spared: bool = False) -> Example:
        """The plane with some pixels replaced by another draw of estimate and noise, and what was measured there.

        It is compared in blocks that are ``spared``, or else outside of them.
        """
        given, counts = self.given[box], self.spared[box] == spared
        if self.partner is not None:
            mask = counts.astype(np.float32)
            example = Example(given, seen=self.partner[box], mask=mask, background=self.background[box])
            return flipped(example, rng)
        level = self._level(box)
        centres, replaced = _spots(given.shape, self.noise.correlated_px, rng)
        filled = np.where(replaced, level + self.noise.draw(_usual(level), rng), given)
        example = Example(filled, seen=given, mask=centres * counts, background=self.background[box])
        return flipped(example, rng)

    def _level(self, box: tuple[slice, slice]) -> np.ndarray:
        return coarse(self.estimate[finer(box, self.factor)], self.factor) + self.background[box]


def find_partners(planes: Sequence[Alone]) -> None:
    """Let planes next to each other that differ in their noise only be each other's answer."""
    for a, b in pairwise(planes):
        if a.given.shape != b.given.shape:
            continue
        if structure_left(a.given - b.given) < MATCH <= structure_left(a.given + b.given):
            a.partner, b.partner = b.given, a.given


def coarse(fine: np.ndarray, factor: int) -> np.ndarray:
    """(Y * factor, X * factor) -> (Y, X) as an ideal microscope of that pixel size would see it."""
    if factor == 1:
        return fine
    return bin_down(gaussian_filter(fine, PSF_SIGMA * factor, mode="nearest"), factor)


def coarse_tensor(fine: Tensor, factor: int) -> Tensor:
    """`coarse` for (B, 1, Y * factor, X * factor), inside a graph."""
    if factor == 1:
        return fine
    reach = int(4 * PSF_SIGMA * factor + 0.5)
    steps = torch.arange(-reach, reach + 1, device=fine.device, dtype=fine.dtype)
    weights = torch.exp(-(steps**2) / (2 * (PSF_SIGMA * factor) ** 2))
    weights = weights / weights.sum()
    x = F.pad(fine, (reach, reach, reach, reach), mode="replicate")
    x = F.conv2d(F.conv2d(x, weights[None, None, None]), weights[None, None, :, None])
    return F.avg_pool2d(x, factor)


def _usual(level: np.ndarray) -> np.ndarray:
    """Levels within what was measured: a variance should not be extrapolated far."""
    return np.clip(level, -0.2, 1.3)


def _spots(shape: tuple[int, ...], reach: tuple[int, int], rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Pixels on a grid at a random place, and those with whatever shares their noise."""
    centres = np.zeros(shape, np.float32)
    replaced = np.zeros(shape, bool)
    step = [SPACING_PX + 2 * r for r in reach]
    start = [int(rng.integers(n)) for n in step]
    centres[start[0] :: step[0], start[1] :: step[1]] = 1
    for dy in range(-reach[0], reach[0] + 1):
        for dx in range(-reach[1], reach[1] + 1):
            replaced |= np.roll(centres, (dy, dx), (0, 1)) > 0
    return centres, replaced


def flipped(example: Example, rng: Rng) -> Example:
    """Mirrored at random, which leaves scan lines scan lines."""
    y, x = (slice(None, None, int(rng.choice([-1, 1]))) for _ in range(2))
    parts = (example.given, example.wanted, example.seen, example.mask, example.background)
    return Example(*(None if p is None else p[y, x] for p in parts))  # type: ignore[arg-type]
