"""Separable convolution of tensors with symmetric kernels, on any device. Knows no kernel by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def convolve(x: Tensor, half: Sequence[float], step: int = 1) -> Tensor:
    """Convolve (B, C, Y, X) along Y and X with a symmetric kernel; beyond the border is the nearest pixel.

    A sum of shifted planes: with few channels many times faster on a CPU than a convolution is there.

    Parameters
    ----------
    half : sequence of float
        Weights of the middle and of the pixels beside it, ``step`` pixels apart.
    """
    reach = (len(half) - 1) * step
    for dim, fill in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        padded, n = F.pad(x, fill, mode="replicate"), x.shape[dim]
        x = padded.narrow(dim, reach, n) * half[0]
        for away, weight in enumerate(half[1:], start=1):
            for start in (reach - away * step, reach + away * step):
                x.add_(padded.narrow(dim, start, n), alpha=weight)
    return x
