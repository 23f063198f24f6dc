"""The closed-form segmentation head: ridge regression on the painted pixels. Knows no backbone and no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.handmade import N_FEATURES
from napari_fewshot.engine.look import FeatureMap, Look, halved, spread_sum, zone_around

N_WAVES = 256
WAVE_SCALE = 0.35  # of their frequencies, per standard deviation of a feature over the painted pixels
WAVE_RIDGE = 1e-3  # as a share of the waves' variance
UNLIKE = 0.5  # mean shift of features, in their standard deviations, from which on a picture is brought back
EMPTY = 0.5  # of the usual standard deviations: a picture with less in it is not, as it may lack whole classes
EM_STEPS = 2  # from equal shares; more would make sure of what is only likely
PRIOR_POWER = 0.5  # of the estimated shares: half-way to them, so that what is rare is not lost
LEAST_SHARE = 1e-3
CHUNK_PX = 2**11  # pixels whose waves are held at a time: 2 MiB, which stay in the cache


@dataclass(frozen=True, eq=False)
class Usual:
    """What the painted pictures look like, in features; by it one sees whether another looks unlike them.

    Parameters
    ----------
    mean, deviation : Tensor
        (D + H,) of features over painted pictures.
    scores : Tensor
        (K,) the mean scores there.
    """

    mean: Tensor
    deviation: Tensor
    scores: Tensor


@dataclass(frozen=True, eq=False)
class Solved:
    """What strokes have taught a head.

    Parameters
    ----------
    weight, bias : Tensor
        (K, D) and (K,) of the learned features; with waves (K, D + M).
    centre, spread : Tensor
        (H,) mean and standard deviation of the hand-made features over the painted pixels; empty without waves.
    prior : Tensor
        (K,) added to the scores: what there is more of is answered sooner; zeros as solved.
    usual : Usual or None
        None where it is not known.
    """

    weight: Tensor
    bias: Tensor
    centre: Tensor
    spread: Tensor
    prior: Tensor
    usual: Usual | None = None

    def times(self, factor: float | Tensor) -> Solved:
        """The same with scores so many times as large."""
        usual = self.usual and replace(self.usual, scores=self.usual.scores * factor)
        weight, bias, prior = self.weight * factor, self.bias * factor, self.prior * factor
        return replace(self, weight=weight, bias=bias, prior=prior, usual=usual)


class ClassesHead(nn.Module):
    """Class scores by two closed-form heads that are averaged: on learned features, and on hand-made ones.

    Learned features, of all zooms and levels: ridge regression to one-hot targets, solved exactly and differentiably
    (Bertinetto et al. 2019, "Meta-learning with differentiable closed-form solvers"); every class weighs the same
    however much of it is painted. The strength of the ridge, as a share of the features' variance, and the
    temperature of the softmax are learned in pretraining.

    Hand-made features, if there are any: the same on random waves over them (Rahimi & Recht 2007, "Random features for
    large-scale kernel machines"; orthogonal as of Yu et al. 2016), which comes near to kernel regression with a
    Gaussian kernel; rare bright edges are kept from being far from everything. They know the painted image's grey levels and textures, the learned ones know more pictures; the
    two err in different places.

    Parameters
    ----------
    n_features, n_classes : int
        Learned features; ``n_classes`` 0 is a head that is not fitted yet.
    """

    weight: Tensor
    bias: Tensor
    centre: Tensor
    spread: Tensor
    prior: Tensor
    usual: Tensor
    usual_scores: Tensor
    directions: Tensor
    phases: Tensor

    def __init__(self, n_features: int, n_classes: int = 0) -> None:
        super().__init__()
        self.n_features = n_features
        self.log_ridge = nn.Parameter(torch.tensor(-5.0))
        self.log_temperature = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("weight", torch.zeros(n_classes, n_features + N_WAVES))
        self.register_buffer("bias", torch.zeros(n_classes))
        self.register_buffer("centre", torch.zeros(N_FEATURES))
        self.register_buffer("spread", torch.ones(N_FEATURES))
        self.register_buffer("prior", torch.zeros(n_classes))
        self.register_buffer("usual", torch.zeros(2, n_features + N_FEATURES))
        self.register_buffer("usual_scores", torch.zeros(n_classes))
        directions, phases = _random_waves(N_WAVES, N_FEATURES)
        self.register_buffer("directions", directions)
        self.register_buffer("phases", phases)

    @property
    def is_fitted(self) -> bool:
        return len(self.bias) > 0

    @property
    def solved(self) -> Solved:
        usual = Usual(self.usual[0], self.usual[1], self.usual_scores) if self.usual.any() else None
        return Solved(self.weight, self.bias, self.centre, self.spread, self.prior, usual)

    def fill(self, solved: Solved | None) -> None:
        """Take over what was solved; None empties the head."""
        if solved is None:
            self.weight, self.bias, self.prior, usual = self.weight[:0], self.bias[:0], self.prior[:0], None
        else:
            self.weight, self.bias, self.centre, self.spread = solved.weight, solved.bias, solved.centre, solved.spread
            self.prior, usual = solved.prior, solved.usual
        if usual is None:
            self.usual, self.usual_scores = torch.zeros_like(self.usual), torch.zeros_like(self.bias)
        else:
            self.usual, self.usual_scores = torch.stack([usual.mean, usual.deviation]), usual.scores

    def solve(self, x: Tensor, y: Tensor, n_classes: int, strength: float = 1.0) -> Solved:
        """Fit on painted pixels.

        Parameters
        ----------
        x : Tensor
            (N, D) learned features, or (N, D + H) with hand-made ones behind them.
        y : Tensor
            (N,) classes 0 .. n_classes - 1.
        strength : float
            Factor on the ridges.
        """
        target = F.one_hot(y, n_classes).to(x.dtype)  # (N,) -> (N, K)
        share = target / (target.sum(0, keepdim=True).clamp(min=1) * n_classes)
        share = share.sum(1, keepdim=True)  # (N, 1), every class sums to 1 / K
        learned, made = x[:, : self.n_features], x[:, self.n_features :]
        weight, bias = _regress(learned, target, share, self.log_ridge.exp() * strength)
        centre = (share * made).sum(0)
        spread = (share * (made - centre) ** 2).sum(0).sqrt().clamp(min=1e-6)
        if made.shape[1]:
            waves = self._waves(made, centre, spread)
            second, second_bias = _regress(waves, target, share, torch.tensor(WAVE_RIDGE * strength, dtype=x.dtype))
            weight, bias = torch.cat([weight, second], 1) / 2, (bias + second_bias) / 2
        return Solved(weight, bias, centre, spread, torch.zeros_like(bias))

    def at(self, x: Tensor, solved: Solved) -> Tensor:
        """(N, D) or (N, D + H) features of pixels -> (N, K) scores; times the temperature's exponential, logits."""
        scores = x[:, : self.n_features] @ solved.weight[:, : self.n_features].T + solved.bias + solved.prior
        if len(solved.centre):
            waves = self._waves(x[:, self.n_features :], solved.centre, solved.spread)
            scores = scores + waves @ solved.weight[:, self.n_features :].T
        return scores

    def expecting(self, solved: Solved, x: Tensor) -> Solved:
        """The same, inclined to what there is more of, by (N, D + H) features of pixels painted or not.

        Strokes do not tell how much there is of a class: in `solve` all weigh the same, and what is rare is found too
        often. The shares are estimated by expectation maximisation (Saerens, Latinne & Decaestecker 2002, "Adjusting the
        outputs of a classifier to new a priori probabilities"), of which a few steps and the square root are taken.
        """
        warmth, n_classes = self.log_temperature.exp(), len(solved.bias)
        logits = self.at(x, replace(solved, prior=torch.zeros_like(solved.bias))) * warmth
        shares = torch.full_like(solved.bias, 1 / n_classes)
        for _ in range(EM_STEPS):
            shares = (logits + shares.log()).softmax(1).mean(0).clamp(min=LEAST_SHARE)
        return replace(solved, prior=PRIOR_POWER * (n_classes * shares).log() / warmth)

    def remembering(self, solved: Solved, x: Tensor) -> Solved:
        """The same, knowing what painted pictures look like by (N, D + H) features of their pixels."""
        return replace(solved, usual=Usual(x.mean(0), x.std(0).clamp(min=1e-6), self.at(x, solved).mean(0)))

    def aligned(self, solved: Solved, x: Tensor) -> Solved:
        """Bring a head to a picture that looks unlike the painted ones, by (N, D + H) features of its pixels.

        Another exposure, detector or thickness moves all features a little, and classes fall to the wrong side. As in
        the adaptation of normalisation layers to another domain (Li et al. 2016, "Revisiting batch normalization for
        practical domain adaptation", arXiv 1603.04779), what moved is moved back: hand-made features to the mean of the painted
        pictures, scores to their mean there. A picture that looks like them is left alone, since it may well show more
        of one class, and so is an empty one.
        """
        if solved.usual is None:
            return solved
        shift = x.mean(0) - solved.usual.mean
        kinds = slice(None, self.n_features), slice(self.n_features, None)
        unlike = [((shift / solved.usual.deviation)[k] ** 2).mean() for k in kinds]
        contrast = [(x.std(0) / solved.usual.deviation)[k].median() for k in kinds]
        if sum(unlike) / 2 <= UNLIKE**2 or min(contrast) < EMPTY:
            return solved
        moved = replace(solved, centre=solved.centre + shift[self.n_features :])
        return replace(moved, bias=moved.bias + solved.usual.scores - self.at(x, moved).mean(0))

    def scores(self, looks: Sequence[Look], box: Box, solved: Solved) -> Tensor:
        """Looks at a tile, hand-made features last if there are any -> logits (B, K, Y, X) of a box of it.

        The head is applied at each map's own resolution and the few class scores are interpolated: the same as
        interpolating the many features first, since both maps are linear. Waves are not: hand-made features are
        interpolated before.
        """
        parts, start = [], 0
        for look in looks:
            if start == self.n_features:
                break  # the hand-made ones
            for seen in look:
                part = solved.weight[:, start : start + seen.values.shape[1], None, None].to(seen.values.dtype)
                parts.append(seen.of(F.conv2d(seen.values, part)))
                start += seen.values.shape[1]
        if len(solved.centre):
            parts.append(self._scores_of_waves(looks[-1], box, solved))
        total = spread_sum(parts, box)
        level = (solved.bias + solved.prior)[:, None, None].to(total.dtype)
        return (total + level) * self.log_temperature.exp()

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *how: Any) -> None:
        """What the painted pictures look like, and show more of, is not known of models from before it was kept."""
        for name in {"usual", "usual_scores", "prior"} & self._buffers.keys():
            state_dict.setdefault(prefix + name, getattr(self, name))
        super()._load_from_state_dict(state_dict, prefix, *how)

    def forward(self, looks: Sequence[Look], box: Box) -> Tensor:
        """Logits of the fitted head, (B, K, Y, X)."""
        return self.scores(looks, box, self.solved)

    def _waves(self, made: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
        """(N, H) hand-made features -> (N, M)."""
        return torch.addmm(self.phases, _tamed((made - centre) / spread), self.directions.T).cos()

    def _scores_of_waves(self, look: Look, box: Box, solved: Solved) -> FeatureMap:
        """(B, K, y, x) scores without the bias around a box, at half the resolution as the learned half stays fine.

        Some pixels at a time: the waves of all pixels would fill gigabytes.
        """
        here = zone_around(box, 2, 2, look[0].zone)
        made = torch.cat([seen.halved().spread(halved(here)) for seen in look], 1)  # (B, H, y, x)
        pixels = _tamed((made - solved.centre[:, None, None]) / solved.spread[:, None, None]).flatten(2)
        phases, weight = self.phases[:, None], solved.weight[:, self.n_features :]
        scores = [weight @ (self.directions @ some + phases).cos_() for some in torch.split(pixels, CHUNK_PX, 2)]
        return FeatureMap(torch.cat(scores, 2).view(len(made), -1, *made.shape[-2:]), here)


def _regress(x: Tensor, target: Tensor, share: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted ridge regression of (N, K) targets on (N, D) features: weight (K, D) and bias (K,)."""
    mean_x, mean_y = (share * x).sum(0), (share * target).sum(0)
    centred = (x - mean_x) * share.sqrt()
    goal = (target - mean_y) * share.sqrt()
    ridge = ridge * (centred**2).sum().clamp(min=1e-12)
    if len(x) < x.shape[1]:  # the dual problem is the smaller one
        weight = _solve_spd(centred @ centred.T, ridge, goal).T @ centred
    else:
        weight = _solve_spd(centred.T @ centred, ridge, centred.T @ goal).T
    return weight, mean_y - weight @ mean_x


def _tamed(deviation: Tensor) -> Tensor:
    """Deviations of 1 and less nearly as they are, large ones never beyond 4."""
    return deviation / (1 + deviation.abs() / 4)


def _solve_spd(matrix: Tensor, ridge: Tensor, right: Tensor) -> Tensor:
    """(matrix + ridge * 1)^-1 right for a symmetric positive semi-definite matrix."""
    factor = torch.linalg.cholesky(matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device))
    return torch.cholesky_solve(right, factor)


def _random_waves(n_waves: int, n_features: int) -> tuple[Tensor, Tensor]:
    """Directions (M, H), orthogonal in blocks and as long as Gaussian ones, and phases (M,); the same every time."""
    made = torch.Generator().manual_seed(0)
    square = torch.randn(2, -(-n_waves // n_features), n_features, n_features, generator=made)
    directions = (torch.linalg.qr(square[0])[0] * square[1].norm(dim=2, keepdim=True)).flatten(0, 1)[:n_waves]
    return WAVE_SCALE * directions, 2 * torch.pi * torch.rand(n_waves, generator=made)
