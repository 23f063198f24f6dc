"""The closed-form segmentation head: ridge regression on the painted pixels. Knows no backbone and no picture."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.look import Look


class ClassesHead(nn.Module):
    """Class scores linear in the features of all zooms and levels.

    Ridge regression to one-hot targets, solved exactly and differentiably (Bertinetto et al. 2019, "Meta-learning
    with differentiable closed-form solvers"); every class weighs the same however much of it is painted. The
    strength of the ridge, as a share of the features' variance, and the temperature of the softmax are learned in
    pretraining.

    Parameters
    ----------
    n_features, n_classes : int
        ``n_classes`` 0 is a head that is not fitted yet.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, n_features: int, n_classes: int = 0) -> None:
        super().__init__()
        self.log_ridge = nn.Parameter(torch.tensor(-5.0))
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
        ridge = self.log_ridge.exp() * strength * (centred**2).sum().clamp(min=1e-12)
        if len(x) < x.shape[1]:  # the dual problem is the smaller one
            weight = _solve_spd(centred @ centred.T, ridge, goal).T @ centred
        else:
            weight = _solve_spd(centred.T @ centred, ridge, centred.T @ goal).T
        return weight, mean_y - weight @ mean_x

    def scores(self, looks: Sequence[Look], box: Box, weight: Tensor, bias: Tensor) -> Tensor:
        """Looks at a tile -> logits (B, K, Y, X) of a box of it.

        The head is applied at each map's own resolution and the few class scores are interpolated: the same as
        interpolating the many features first, since both maps are linear.
        """
        parts, start = [], 0
        for look in looks:
            for values in look.maps:
                part = weight[:, start : start + values.shape[1], None, None].to(values.dtype)
                parts.append(look.spread(F.conv2d(values, part), box))
                start += values.shape[1]
        total = functools.reduce(torch.add, parts)
        return (total + bias[:, None, None].to(total.dtype)) * self.log_temperature.exp()

    def forward(self, looks: Sequence[Look], box: Box) -> Tensor:
        """Logits of the fitted head, (B, K, Y, X)."""
        return self.scores(looks, box, self.weight, self.bias)


def _solve_spd(matrix: Tensor, ridge: Tensor, right: Tensor) -> Tensor:
    """(matrix + ridge * 1)^-1 right for a symmetric positive semi-definite matrix."""
    factor = torch.linalg.cholesky(matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device))
    return torch.cholesky_solve(right, factor)
