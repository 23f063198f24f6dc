"""The linear algebra of closed-form heads: weighted ridge regression and principal axes. Knows no feature and no class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDS = 3
LEAST_VARIANCE = 1e-4  # of an axis, as a share of that of the first
LEAST_PULL = 1e-5
SPARE = 8  # axes that are followed and left out in the end: the last ones are not told well


@dataclass(frozen=True, eq=False)
class Moments:
    """What ridge regression of targets on features needs to know of some rows, so that those of others can be mixed in.

    Parameters
    ----------
    total : Tensor
        How much the rows count, ().
    x, y : Tensor
        Means of features (D,) and targets (K,).
    xx, xy : Tensor
        Covariances (D, D) and (D, K), times ``total``.
    """

    total: Tensor
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor

    @classmethod
    def of(cls, x: Tensor, target: Tensor, share: Tensor) -> Moments:
        """Of (N, D) features and (N, K) targets, each row of which counts as much as ``share`` (N, 1) says."""
        total = share.sum()
        mean_x, mean_y = (share * x).sum(0) / total, (share * target).sum(0) / total
        centred, goal = (x - mean_x) * share.sqrt(), (target - mean_y) * share.sqrt()
        return cls(total, mean_x, mean_y, centred.T @ centred, centred.T @ goal)

    def mixed(self, other: Moments, share: float) -> Moments:
        """With others that count ``share`` of what they would, these the rest of 1."""
        a, b = (1 - share) * self.total, share * other.total
        apart_x, apart_y, both = other.x - self.x, other.y - self.y, a * b / (a + b)
        return Moments(
            a + b,
            self.x + apart_x * b / (a + b),
            self.y + apart_y * b / (a + b),
            (1 - share) * self.xx + share * other.xx + both * torch.outer(apart_x, apart_x),
            (1 - share) * self.xy + share * other.xy + both * torch.outer(apart_x, apart_y),
        )

    def regress(self, ridge: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,); the ridge is a share of the variance of all features."""
        weight = _solve_spd(self.xx, ridge * self.xx.diagonal().sum().clamp(min=1e-12), self.xy).T
        return weight, self.y - weight @ self.x


def regress(x: Tensor, target: Tensor, share: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted ridge regression of (N, K) targets on (N, D) features: weight (K, D) and bias (K,).

    Parameters
    ----------
    share : Tensor
        (N, 1), how much each row counts; they sum to 1.
    ridge : Tensor
        As a share of the variance of all features.
    """
    if len(x) >= x.shape[1]:
        return Moments.of(x, target, share).regress(ridge)
    mean_x, mean_y = (share * x).sum(0), (share * target).sum(0)
    centred = (x - mean_x) * share.sqrt()
    goal = (target - mean_y) * share.sqrt()
    ridge = ridge * (centred**2).sum().clamp(min=1e-12)
    weight = _solve_spd(centred @ centred.T, ridge, goal).T @ centred  # the dual problem is the smaller one
    return weight, mean_y - weight @ mean_x


def stack(said: Tensor, target: Tensor, share: Tensor, before: Sequence[float], pull: float) -> tuple[float, ...]:
    """By which non-negative weights (V,) of sum 1 the answers of some are to be averaged.

    Parameters
    ----------
    said : Tensor
        (V, N, K) answers to what they were not taught.
    target, share : Tensor
        (N, K) what is true, and (N, 1) how much each row counts.
    before : sequence of float
        (V,) weights to stay near.
    pull : float
        How near: a squared distance of 1 costs as many times the squared error that ``before`` has.
    """
    known = said.new_tensor(before)
    weighed = (said * share.sqrt()).flatten(1)  # (V, N * K)
    goal = (target * share.sqrt()).flatten()
    least = LEAST_PULL * weighed.square().sum().clamp(min=1e-12)  # where all are right and say the same
    cost = (pull * ((goal - known @ weighed) ** 2).sum()).clamp(min=least)
    best = _solve_spd(weighed @ weighed.T, cost, (weighed @ goal + cost * known)[:, None])[:, 0].clamp(min=0)
    return tuple((best / best.sum()).tolist()) if best.any() else tuple(before)


def principal_axes(x: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The ``n`` axes along which (N, D) features vary most, as ``axes @ x.T - middle[:, None]`` has variance 1, or less, and mean 0.

    By subspace iteration from the same start every time: (n, D) and (n,).
    """
    like, x = x, _decomposable(x)
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
    return axes.T.to(like), (mean @ axes).to(like)


def _solve_spd(matrix: Tensor, ridge: Tensor, right: Tensor) -> Tensor:
    """(matrix + ridge * 1)^-1 right for a symmetric positive semi-definite matrix."""
    like, matrix, ridge, right = right, _decomposable(matrix), _decomposable(ridge), _decomposable(right)
    factor = torch.linalg.cholesky(matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device))
    return torch.cholesky_solve(right, factor).to(like)


def _decomposable(x: Tensor) -> Tensor:
    """The same where torch can decompose matrices: not on every Apple GPU."""
    return x.cpu() if x.device.type == "mps" else x
