"""Hand-made multiscale features as tensors, on any device: what shallow pixel classifiers look at. Learns nothing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.engine.convolve import convolve

SIGMAS_PX = ((0.7, 1.4), (2.8,), (5.6,), (11.2,))  # of the Gaussians, at full, half, ... resolution
PER_SIGMA = 4  # intensity, edge strength, and the two curvatures
N_FEATURES = PER_SIGMA * sum(map(len, SIGMAS_PX))
REACH_PX = 64
ALIGN_PX = 2 ** (len(SIGMAS_PX) - 1)


def handmade(x: Tensor) -> list[Tensor]:
    """Intensity, edges and texture at five scales, as Trainable Weka Segmentation and ilastik compute them.

    Smooth pictures need few pixels: the wider Gaussians are computed at reduced resolution.

    Parameters
    ----------
    x : Tensor
        (B, 1, Y, X) on the unit scale, Y and X multiples of ``ALIGN_PX``.

    Returns
    -------
    list of Tensor
        (B, 8, Y, X), (B, 4, Y / 2, X / 2), (B, 4, Y / 4, X / 4) and (B, 4, Y / 8, X / 8).
    """
    maps = []
    for level, sigmas in enumerate(SIGMAS_PX):
        small = F.avg_pool2d(x, 2**level) if level else x
        maps.append(torch.cat([_at_scale(small, sigma / 2**level) for sigma in sigmas], 1))
    return maps


def _at_scale(x: Tensor, sigma: float) -> Tensor:
    """(B, 1, Y, X) -> (B, 4, Y, X): the smoothed picture, its gradient's length, its Hessian's eigenvalues."""
    smooth = blur(x, sigma)
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    up, down, left, right = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1], padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    gradient = torch.hypot(down - up, right - left) / 2
    yy, xx = down + up - 2 * smooth, left + right - 2 * smooth
    yx = (padded[..., 2:, 2:] + padded[..., :-2, :-2] - padded[..., 2:, :-2] - padded[..., :-2, 2:]) / 4
    mean, spread = (yy + xx) / 2, torch.hypot((yy - xx) / 2, yx)
    return torch.cat([smooth, gradient, mean + spread, mean - spread], 1)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian of (B, 1, Y, X); what lies beyond the border is the nearest pixel."""
    half = [math.exp(-0.5 * (at / sigma) ** 2) for at in range(int(4 * sigma + 0.5) + 1)]
    total = 2 * sum(half) - half[0]
    return convolve(x, [weight / total for weight in half])
