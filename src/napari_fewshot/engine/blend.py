"""Restorations at several zooms, blended so that the expected error is least. Knows no file and no GUI.

What a network leaves of strong noise is broad, and what it smears is fine; seen at a half or a quarter of the size, the broad is
fine and the noise is weaker. Which mixture is best can be told without the truth where the noise is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.core.tiles import Box, Tile, whole_of
from napari_fewshot.engine.heads.image import REACH_PX, enlarge
from napari_fewshot.engine.look import pad_to_grid, whole, zone_around
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.starlet import smoothed

ZOOMS = (2, 4)  # at which the network is asked again
N_OTHERS = len(ZOOMS)
N_BANDS = 4
SPLIT_REACH_PX = 14  # 2 * (1 + 2 + 4)
CROP_PX, MOST_CROPS, SHARE = 256, 2, 4  # the error is estimated on a quarter of a plane at most
N_PROBES = 1
PROBE_SIZE = 0.1  # of the noise
SALT = 2008  # a plane that was simulated with the same seed must not have the noise of the probes
DAMPING = 0.01
SMALLEST_PX = 64


class Reach(NamedTuple):
    """Tiles start on multiples of ``align_px`` and need ``halo_px`` around them."""

    align_px: int
    halo_px: int


@dataclass(frozen=True, eq=False)
class Blend:
    """How much of each band of what other restorations do differently is added to the network's answer.

    A linear expansion of thresholds whose weights minimise Stein's unbiased risk estimate ("SURE-LET": Blu & Luisier
    2007), with the divergence by Monte Carlo (Ramani, Blu & Unser 2008); the probes are noise as it was measured, so that it may
    be correlated and depend on the grey level. The bands are those of the starlet transform.

    Parameters
    ----------
    weights : ndarray
        (N_OTHERS, N_BANDS), fine bands first.
    """

    weights: np.ndarray

    @classmethod
    def measure(cls, network: Network, crops: Iterable[np.ndarray], noise: Noise, device: str) -> Blend:
        """Estimate the weights on `parts` of a plane, (Y, X) each, on the unit scale, with its noise on that scale."""
        n, rng = N_OTHERS * N_BANDS, np.random.default_rng((0, SALT))
        gram, wish = np.zeros((n, n)), np.zeros(n)
        for crop in crops:
            first, bands = _split(network, crop, device)
            left = crop - first
            known = noise.as_strong_as(left, first)
            gram += bands @ bands.T
            wish += bands @ left.ravel()
            for _ in range(N_PROBES):
                probe = known.draw(first, rng)
                _, again = _split(network, crop + np.float32(PROBE_SIZE) * probe, device)
                wish -= (again - bands) @ probe.ravel() / (PROBE_SIZE * N_PROBES)  # the divergence of the differences
        with np.errstate(all="ignore"):
            damped = gram + DAMPING * np.diag(np.diag(gram)) + 1e-12 * np.eye(n)
            weights = np.linalg.solve(damped, wish)
        return cls(weights.reshape(N_OTHERS, N_BANDS) if np.isfinite(weights).all() else np.zeros((N_OTHERS, N_BANDS)))

    @staticmethod
    def reach(network: Network) -> Reach:
        """What tiles for `answer` need."""
        return Reach(_align_px(network), (network.halo_px + REACH_PX) * max(ZOOMS) + SPLIT_REACH_PX)

    def answer(self, network: Network, x: Tensor, box: Box) -> Tensor:
        """The blended answer (1, y, x) for a box of a tile (1, 1, Y, X)."""
        here = zone_around(box, SPLIT_REACH_PX, 1, whole(x))
        first, *others = _answers(network, x, here)
        weights = torch.from_numpy(self.weights).float().to(x)
        steps = torch.cat([weights[:, :1], weights.diff(dim=1)], 1)  # (N_OTHERS, N_BANDS)
        differences = torch.cat([o - first for o in others], 1)  # (1, N_OTHERS, y, x)
        # sum of weighted bands, each the difference of two smoothings, as nested smoothings of one plane
        total = torch.zeros_like(first)
        for level in range(N_BANDS - 1, 0, -1):
            total = smoothed(total + _weighed(differences, steps[:, level]), level - 1)
        found = first + total + _weighed(differences, steps[:, 0])
        return found[(0, slice(None), *Tile(box, here).keep())]


def _align_px(network: Network) -> int:
    return network.align_px * max(ZOOMS)


def parts(shape: tuple[int, ...]) -> Iterator[Box]:
    """Boxes along the diagonal of a (Y, X) plane on which errors are estimated."""
    n = int(np.clip(shape[0] * shape[1] // (SHARE * CROP_PX**2), 1, MOST_CROPS))
    for at in np.linspace(0, 1, n) if n > 1 else (0.5,):
        y, x = (int(at * max(0, size - CROP_PX)) for size in shape)
        yield slice(y, min(y + CROP_PX, shape[0])), slice(x, min(x + CROP_PX, shape[1]))


def _split(network: Network, unit: np.ndarray, device: str) -> tuple[np.ndarray, np.ndarray]:
    """The network's answer (Y, X), and the bands of how others differ from it, (N_OTHERS * N_BANDS, Y * X) float64."""
    with torch.inference_mode():
        x = pad_to_grid(np.ascontiguousarray(unit), _align_px(network), device)
        first, *others = _answers(network, x, whole_of(unit.shape))
        found = []
        for other in others:
            rest = other - first
            for level in range(N_BANDS - 1):
                smooth = smoothed(rest, level)
                found.append(rest - smooth)
                rest = smooth
            found.append(rest)
    return first[0, 0].cpu().numpy(), torch.cat(found).flatten(1).cpu().double().numpy()


def _answers(network: Network, x: Tensor, here: Box) -> list[Tensor]:
    """What the network and the others answer for a box of a tile (1, 1, Y, X), (1, 1, y, x) each; the network first."""
    found = [network(x, here)]
    for zoom in ZOOMS:
        reach = (network.halo_px + REACH_PX) * zoom
        zone = zone_around(here, reach, _align_px(network), whole(x))
        small = F.avg_pool2d(x[..., zone[0], zone[1]], zoom)
        found.append(enlarge(network(small), zoom)[(..., *Tile(here, zone).keep())])
    return found


def _weighed(differences: Tensor, weights: Tensor) -> Tensor:
    """(1, N, y, x) and (N,) -> (1, 1, y, x)."""
    return (differences * weights[:, None, None]).sum(1, keepdim=True)
