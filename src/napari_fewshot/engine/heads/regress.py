"""The linear algebra of closed-form heads: weighted ridge regression and principal axes. Knows no feature and no class."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 3
LEAST_VARIANCE = 1e-4  # of an axis, as a share of that of the first
SPARE = 8  # axes that are followed and left out in the end: the last ones are not told well


def regress(x: Tensor, target: Tensor, share: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted ridge regression of (N, K) targets on (N, D) features: weight (K, D) and bias (K,).

    Parameters
    ----------
    share : Tensor
        (N, 1), how much each row counts; they sum to 1.
    ridge : Tensor
        As a share of the variance of all features.
    """
    mean_x, mean_y = (share * x).sum(0), (share * target).sum(0)
    centred = (x - mean_x) * share.sqrt()
    goal = (target - mean_y) * share.sqrt()
    ridge = ridge * (centred**2).sum().clamp(min=1e-12)
    if len(x) < x.shape[1]:  # the dual problem is the smaller one
        weight = _solve_spd(centred @ centred.T, ridge, goal).T @ centred
    else:
        weight = _solve_spd(centred.T @ centred, ridge, centred.T @ goal).T
    return weight, mean_y - weight @ mean_x


def principal_axes(x: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The ``n`` axes along which (N, D) features vary most, as ``axes @ x.T - middle[:, None]`` has variance 1, or less, and mean 0.

    By subspace iteration from the same start every time: (n, D) and (n,).
    """
    mean = x.mean(0)
    centred = x - mean
    start = torch.randn(x.shape[1], min(n + SPARE, x.shape[1]), generator=torch.Generator().manual_seed(0))
    q = start.to(x)
    for _ in range(ROUNDS):
        q = torch.linalg.qr(centred.T @ (centred @ q))[0]
    seen = centred @ q
    variances, turned = torch.linalg.eigh(seen.T @ seen / len(x))  # smallest first
    least = (LEAST_VARIANCE * variances[-1]).clamp(min=1e-12)  # along further axes there is nothing but rounding
    axes = (q @ turned)[:, -n:] / variances[-n:].maximum(least).sqrt()
    return axes.T, mean @ axes


def _solve_spd(matrix: Tensor, ridge: Tensor, right: Tensor) -> Tensor:
    """(matrix + ridge * 1)^-1 right for a symmetric positive semi-definite matrix."""
    factor = torch.linalg.cholesky(matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device))
    return torch.cholesky_solve(right, factor)
