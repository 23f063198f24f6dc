"""One step of the starlet, the isotropic undecimated wavelet transform (Starck, Fadili & Murtagh 2007). Knows no noise."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def smoothed(x: Tensor, scale: int) -> Tensor:
    """Convolve (1, 1, Y, X) with the cubic B-spline, its five weights 2^scale pixels apart; it reaches twice as far.

    What a step takes away from a plane is its detail of that scale; beyond the border is the nearest pixel.
    """
    step = 2**scale
    kernel, reach = x.new_tensor([1, 4, 6, 4, 1]) / 16, 2 * step
    x = F.conv2d(F.pad(x, (0, 0, reach, reach), mode="replicate"), kernel[None, None, :, None], dilation=(step, 1))
    return F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="replicate"), kernel[None, None, None], dilation=(1, step))
