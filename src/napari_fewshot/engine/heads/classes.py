"""The closed-form segmentation head: ridge regression on the painted pixels. Knows no backbone and no picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClassesHead(nn.Module):
    """Class scores linear in the features of all zooms and levels.

    Ridge regression to one-hot targets, solved exactly and differentiably (Bertinetto et al. 2019, "Meta-learning
    with differentiable closed-form solvers"); every class weighs the same however much of it is painted. The
    strength of the ridge and the temperature of the softmax are learned in pretraining.

    Parameters
    ----------
    n_features, n_classes : int
        ``n_classes`` 0 is a head that is not fitted yet.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, n_features: int, n_classes: int = 0) -> None:
        super().__init__()
        self.log_ridge = nn.Parameter(torch.tensor(0.0))
        self.log_temperature = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("weight", torch.zeros(n_classes, n_features))
        self.register_buffer("bias", torch.zeros(n_classes))

    @property
    def is_fitted(self) -> bool:
        return len(self.bias) > 0

    def fill(self, weight: Tensor, bias: Tensor) -> None:
        """Take over a solved head; (K, D) and (K,), K = 0 empties it."""
        self.weight, self.bias = weight, bias

    def solve(self, x: Tensor, y: Tensor, n_classes: int, strength: float = 1.0) -> tuple[Tensor, Tensor]:
        """Fit on painted pixels.

        Parameters
        ----------
        x : Tensor
            (N, D) features.
        y : Tensor
            (N,) classes 0 .. n_classes - 1.
        strength : float
            Factor on the learned ridge.

        Returns
        -------
        weight, bias : Tensor
            (K, D) and (K,).
        """
        target = F.one_hot(y, n_classes).to(x.dtype)  # (N,) -> (N, K)
        share = target / (target.sum(0, keepdim=True).clamp(min=1) * n_classes)
        share = share.sum(1, keepdim=True)  # (N, 1), every class sums to 1 / K
        mean_x, mean_y = (share * x).sum(0), (share * target).sum(0)
        centred = (x - mean_x) * share.sqrt()
        goal = (target - mean_y) * share.sqrt()
        ridge = self.log_ridge.exp() * strength
        if len(x) < x.shape[1]:  # the dual problem is the smaller one
            weight = _solve_spd(centred @ centred.T, ridge, goal).T @ centred
        else:
            weight = _solve_spd(centred.T @ centred, ridge, centred.T @ goal).T
        return weight, mean_y - weight @ mean_x

    def scores(self, features: list[Tensor], shape: tuple[int, int], weight: Tensor, bias: Tensor) -> Tensor:
        """Feature maps [(B, C_i, y_i, x_i)] -> logits (B, K, Y, X).

        The head is applied at each map's own resolution and the few class scores are interpolated: the same as
        interpolating the many features first, since both maps are linear.
        """
        total: Tensor | None = None
        start = 0
        by_size: dict[tuple[int, ...], Tensor] = {}
        for f in features:
            part = F.conv2d(f, weight[:, start : start + f.shape[1], None, None].to(f.dtype))
            start += f.shape[1]
            key = tuple(part.shape[-2:])
            by_size[key] = by_size[key] + part if key in by_size else part
        for part in by_size.values():
            if part.shape[-2:] != shape:
                part = F.interpolate(part, shape, mode="bilinear", align_corners=False)
            total = part if total is None else total + part
        assert total is not None
        return (total + bias[:, None, None].to(total.dtype)) * self.log_temperature.exp()

    def forward(self, features: list[Tensor], shape: tuple[int, int]) -> Tensor:
        """Logits of the fitted head, (B, K, Y, X)."""
        return self.scores(features, shape, self.weight, self.bias)


def _solve_spd(matrix: Tensor, ridge: Tensor, right: Tensor) -> Tensor:
    """(matrix + ridge * 1)^-1 right for a symmetric positive semi-definite matrix."""
    factor = torch.linalg.cholesky(matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device))
    return torch.cholesky_solve(right, factor)


def features_at(features: list[Tensor], shape: tuple[int, int], yx: Tensor) -> Tensor:
    """Interpolated features of single pixels.

    Parameters
    ----------
    features : list of Tensor
        (1, C_i, y_i, x_i) maps that all span the same field of view of ``shape`` (Y, X) pixels.
    yx : Tensor
        (N, 2) pixel coordinates.

    Returns
    -------
    Tensor
        (N, sum of C_i), what `torch.nn.functional.interpolate` (bilinear) would put there.
    """
    size = torch.tensor(shape, dtype=torch.float32, device=yx.device)
    grid = ((2 * yx.to(torch.float32) + 1) / size - 1).flip(1)[None, None]  # (N, 2) y, x -> (1, 1, N, 2) x, y
    columns = [
        F.grid_sample(f, grid.to(f.dtype), mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T
        for f in features
    ]
    return torch.cat(columns, 1)
