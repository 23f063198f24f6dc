"""Classes along the edges of the image: neighbours that look alike are likely of one class. Knows no network."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.core.tiles import plan_tiles
from napari_fewshot.engine.convolve import convolve

ROUNDS = 3
PULL = 3.0  # of the neighbours, in logits; more loses thin and rare things
RADIUS = 2  # of the windows in which a class is a function of the grey level; pixels twice as large
CONTRAST = 2.0  # of what grey levels tell: likely classes are more blurred than the image is
BLURRED = 1  # radius of the windows from which this contrast is told
FLAT = 1e-3  # variance of grey levels on the unit scale below which a window tells nothing
BLUR = (0.57, 0.205, 0.01)  # of the grey levels, a Gaussian of 0.7 px
REACH_PX = 40  # of all rounds, rounded up
PART_PX = 1024  # that are settled at a time


def classes_of(logits: Tensor, unit: np.ndarray, offsets: Tensor | None = None) -> tuple[np.ndarray, Tensor]:
    """The likeliest class of each pixel, given the likely classes of its neighbours.

    A conditional random field over all pairs of pixels nearby, in which a few rounds of mean-field inference are made (Krähenbühl &
    Koltun 2011, "Efficient inference in fully connected CRFs with Gaussian edge potentials", arXiv 1210.5644). Its messages
    are passed by a guided filter (He, Sun & Tang 2013, "Guided image filtering"; on pixels twice as large: He & Sun 2015, "Fast guided
    filter", arXiv 1505.00996), in which likely classes follow the grey levels.

    Parameters
    ----------
    logits : Tensor
        (K, Y, X).
    unit : ndarray
        (Y, X) float32, the image on the unit scale.
    offsets : Tensor or None
        (K,) of an operating point. It was chosen for pixels, so each is decided alone.

    Returns
    -------
    classes : ndarray
        (Y, X) integers 0 .. K - 1.
    logits : Tensor
        (K, Y, X) with the offsets: the rounds make a class likelier, not surer.
    """
    if offsets is not None:
        logits = logits + offsets[:, None, None]
        return _largest(logits), logits
    classes = np.empty(unit.shape, np.int64)
    for part in plan_tiles((unit.shape[0], unit.shape[1]), PART_PX, REACH_PX, 2):
        grey = torch.from_numpy(unit[part.outer]).to(logits)
        classes[part.inner] = _largest(_told(logits[:, *part.outer], grey)[:, *part.keep()])
    return classes, logits


def probability_of(classes: np.ndarray, logits: Tensor) -> np.ndarray:
    """(Y, X) float32, the probability by logits (K, Y, X) of classes (Y, X)."""
    chosen = torch.from_numpy(classes).to(logits.device)[None]
    found: np.ndarray = logits.softmax(0).gather(0, chosen)[0].float().cpu().numpy()
    return found


def _largest(logits: Tensor) -> np.ndarray:
    found: np.ndarray = logits.float().cpu().numpy().argmax(0)  # many times faster than in torch on a CPU
    return found


def _told(logits: Tensor, grey: Tensor) -> Tensor:
    """Logits (K, Y, X) after all rounds, for grey levels (Y, X)."""
    y, x = grey.shape
    fill = (0, x % 2, 0, y % 2)
    logits, grey = (F.pad(p[None], fill, mode="replicate")[0] for p in (logits, grey[None]))
    guide, told = _Guide(convolve(grey[None], BLUR)[0]), logits
    for _ in range(ROUNDS):
        told = logits + PULL * guide.passed(told.softmax(0))
    return told[:, :y, :x]


class _Guide:
    """Grey levels (1, Y, X) along which likely classes are passed on; Y and X are even."""

    def __init__(self, grey: Tensor) -> None:
        self.grey, self.coarse = grey, F.avg_pool2d(grey, 2)
        self.mean = _mean(self.coarse, RADIUS)
        self.variance = _mean(self.coarse**2, RADIUS) - self.mean**2 + FLAT

    def passed(self, likely: Tensor) -> Tensor:
        """(K, Y, X) -> (K, Y, X), in each window a linear function of the grey level, with more contrast."""
        likely = F.avg_pool2d(likely, 2)
        level = _mean(likely, RADIUS)
        slope = (_mean(likely * self.coarse, RADIUS) - level * self.mean) / self.variance
        offset = _mean(level - slope * self.mean, RADIUS)
        offset = CONTRAST * offset - (CONTRAST - 1) * _mean(_mean(likely, BLURRED), BLURRED)
        line = torch.cat([CONTRAST * _mean(slope, RADIUS), offset])
        slope, offset = F.interpolate(line[None], self.grey.shape[-2:], mode="bilinear")[0].chunk(2)
        return slope * self.grey + offset


def _mean(x: Tensor, radius: int) -> Tensor:
    """Over the square around each pixel of (K, Y, X), smaller at the border."""
    return F.avg_pool2d(x, 2 * radius + 1, 1, radius, count_include_pad=False)
