"""One step of the starlet, the isotropic undecimated wavelet transform (Starck, Fadili & Murtagh 2007). Knows no noise."""

from __future__ import annotations

from torch import Tensor

from napari_fewshot.engine.convolve import convolve

B_SPLINE = (6 / 16, 4 / 16, 1 / 16)  # its middle and what is beside it


def smoothed(x: Tensor, scale: int) -> Tensor:
    """Convolve (1, 1, Y, X) with the cubic B-spline, its five weights 2^scale pixels apart; it reaches twice as far.

    What a step takes away from a plane is its detail of that scale; beyond the border is the nearest pixel.
    """
    return convolve(x, B_SPLINE, 2**scale)
