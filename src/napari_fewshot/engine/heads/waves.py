"""Random waves over features: ridge regression on them comes near to kernel regression. Knows no class and no picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_WAVES = 256
CHUNK_PX = 2**11  # pixels whose waves are held at a time: 2 MiB, which stay in the cache


class Waves(nn.Module):
    """Cosines of features in random directions (Rahimi & Recht 2007, "Random features for large-scale kernel machines").

    The kernel is Gaussian, the directions are orthogonal in blocks (Yu et al. 2016); rare bright edges are kept from being
    far from everything. They are kept with a model, which would not answer the same with others.

    Parameters
    ----------
    n_features : int
        That have some unit variance where they are looked at.
    scale : float
        Of their frequencies, per standard deviation of a feature.
    """

    directions: Tensor
    phases: Tensor

    def __init__(self, n_features: int, scale: float) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(0)
        square = torch.randn(2, -(-N_WAVES // n_features), n_features, n_features, generator=made)
        long = torch.linalg.qr(square[0])[0] * square[1].norm(dim=2, keepdim=True)
        self.register_buffer("directions", scale * long.flatten(0, 1)[:N_WAVES])
        self.register_buffer("phases", 2 * torch.pi * torch.rand(N_WAVES, generator=made))

    def forward(self, x: Tensor) -> Tensor:
        """(N, H) features -> (N, M)."""
        return torch.addmm(self.phases, _tamed(x), self.directions.T).cos()

    def summed(self, x: Tensor, weight: Tensor) -> Tensor:
        """(B, H, Y, X) features -> (B, K, Y, X): their waves, weighed (K, M) and summed.

        Some pixels at a time: the waves of all pixels would fill gigabytes.
        """
        parts = torch.split(_tamed(x).flatten(2), CHUNK_PX, 2)
        sums = [weight @ (self.directions @ some + self.phases[:, None]).cos_() for some in parts]
        return torch.cat(sums, 2).view(len(x), len(weight), *x.shape[-2:])


def _tamed(deviation: Tensor) -> Tensor:
    """Deviations of 1 and less nearly as they are, large ones never beyond 4."""
    return deviation / (1 + deviation.abs() / 4)
