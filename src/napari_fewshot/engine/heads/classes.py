"""The closed-form segmentation head: ridge regressions on the painted pixels. Knows no backbone and no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.device import at_once
from napari_fewshot.engine.handmade import N_FEATURES
from napari_fewshot.engine.heads.regress import Moments, principal_axes, regress, stack
from napari_fewshot.engine.heads.solved import Around, Solved, Usual
from napari_fewshot.engine.heads.waves import N_WAVES, Waves
from napari_fewshot.engine.look import FeatureMap, Look, halved, spread_sum, zone_around

N_AXES = 16  # of the learned features that have waves
MADE_SCALE, AXES_SCALE = 0.35, 0.3  # of the waves over hand-made features, and over axes of learned ones
WAVE_RIDGE = 5e-3  # as a share of the waves' variance
PULL = 3.0  # towards the voices as they are, where two strokes of a class are painted
VOICES = (0.5, 0.25, 0.25)  # of learned features, waves over hand-made ones, and waves over axes, unless strokes tell
UNPAINTED = 0.5  # how much likely answers on unpainted pixels count beside the strokes
UNPAINTED_STEP = 4  # of the pixels around are asked; more of them add nothing
LEAST_LIKELY = 5.0  # pixels: a class that is hardly anywhere is not made of them
UNLIKE = 0.5  # mean shift of features, in their standard deviations, from which on a picture is brought back
EMPTY = 0.5  # of the usual standard deviations: a picture with less in it is not, as it may lack whole classes
EM_STEPS = 2  # from equal shares; more would make sure of what is only likely
PRIOR_POWER = 0.5  # of the estimated shares: half-way to them, so that what is rare is not lost
LEAST_SHARE = 1e-3


class ClassesHead(nn.Module):
    """Class scores by closed-form heads that are averaged: on learned features, and on waves over hand-made and learned ones.

    Learned features, of all zooms and levels: ridge regression to one-hot targets, solved exactly and differentiably
    (Bertinetto et al. 2019, "Meta-learning with differentiable closed-form solvers"); every class weighs the same
    however much of it is painted. The strength of the ridge, as a share of the features' variance, and the
    temperature of the softmax are learned in pretraining.

    Hand-made features, if there are any: the same on random `Waves` over them, and over the principal axes of the learned
    ones. They know the painted image's grey levels and textures, the learned ones know more pictures; they err in different
    places. How much each counts, strokes held out tell.

    Parameters
    ----------
    n_features, n_classes : int
        Learned features; ``n_classes`` 0 is a head that is not fitted yet.
    """

    weight: Tensor
    bias: Tensor
    centre: Tensor
    spread: Tensor
    axes: Tensor
    middle: Tensor
    prior: Tensor
    usual: Tensor
    usual_scores: Tensor

    def __init__(self, n_features: int, n_classes: int = 0) -> None:
        super().__init__()
        self.n_features = n_features
        self.log_ridge = nn.Parameter(torch.tensor(-5.0))
        self.log_temperature = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("weight", torch.zeros(n_classes, n_features + 2 * N_WAVES))
        self.register_buffer("bias", torch.zeros(n_classes))
        self.register_buffer("centre", torch.zeros(N_FEATURES))
        self.register_buffer("spread", torch.ones(N_FEATURES))
        n_axes = min(N_AXES, n_features)
        self.register_buffer("axes", torch.zeros(n_axes, n_features))
        self.register_buffer("middle", torch.zeros(n_axes))
        self.register_buffer("prior", torch.zeros(n_classes))
        self.register_buffer("usual", torch.zeros(2, n_features + N_FEATURES))
        self.register_buffer("usual_scores", torch.zeros(n_classes))
        self.over_made, self.over_axes = Waves(N_FEATURES, MADE_SCALE), Waves(n_axes, AXES_SCALE)

    @property
    def is_fitted(self) -> bool:
        return len(self.bias) > 0

    @property
    def solved(self) -> Solved:
        usual = Usual(self.usual[0], self.usual[1], self.usual_scores) if self.usual.any() else None
        return Solved(self.weight, self.bias, self.centre, self.spread, self.axes, self.middle, self.prior, usual)

    def fill(self, solved: Solved | None) -> None:
        """Take over what was solved; None empties the head."""
        if solved is None:
            self.weight, self.bias, self.prior, usual = self.weight[:0], self.bias[:0], self.prior[:0], None
        else:
            self.weight, self.bias, self.centre, self.spread = solved.weight, solved.bias, solved.centre, solved.spread
            self.axes, self.middle, self.prior, usual = solved.axes, solved.middle, solved.prior, solved.usual
        if usual is None:
            self.usual, self.usual_scores = torch.zeros_like(self.usual), torch.zeros_like(self.bias)
        else:
            self.usual, self.usual_scores = torch.stack([usual.mean, usual.deviation]), usual.scores

    def survey(self, x: Tensor) -> Around:
        """What `solve` needs to know of (N, D + H) features of pixels painted or not."""
        return Around(x, *principal_axes(x[:, : self.n_features], len(self.axes)))

    def solve(
        self, x: Tensor, y: Tensor, n_classes: int, strength: float = 1.0, around: Around | None = None,
        voices: Sequence[float] = VOICES,
    ) -> Solved:  # fmt: skip
        """Fit on painted pixels.

        Parameters
        ----------
        x : Tensor
            (N, D) learned features, or (N, D + H) with hand-made ones behind them.
        y : Tensor
            (N,) classes 0 .. n_classes - 1.
        strength : float
            Factor on the ridges.
        around : Around or None
            Given, the head learns from its own likely answers there too (soft labels, as in Grandvalet & Bengio 2004):
            strokes lie inside of things, most pixels do not.
        voices : sequence of float
            How much each of the averaged heads counts, see `weigh`.
        """
        target = F.one_hot(y, n_classes).to(x.dtype)  # (N,) -> (N, K)
        share = _balanced(target)
        if x.shape[1] == self.n_features:
            weight, bias = regress(x, target, share, self.log_ridge.exp() * strength)
            none = x[:0, 0]
            return Solved(weight, bias, none, none, none, none, torch.zeros_like(bias))
        empty = self._outset(x, share, around or self.survey(x))
        known = [Moments.of(column, target, share) for column in self._columns(x, empty)]
        solved = self._regressed(empty, known, strength, voices)
        if around is None:
            return solved
        some = around.x[::UNPAINTED_STEP]
        likely = (self.at(some, self.expecting(solved, around.x)) * self.log_temperature.exp()).softmax(1)
        share = _balanced(likely, LEAST_LIKELY)
        more = [Moments.of(column, likely, share) for column in self._columns(some, solved)]
        known = [k.mixed(m, UNPAINTED) for k, m in zip(known, more, strict=True)]
        return self._regressed(solved, known, strength, voices)

    @torch.no_grad()
    def weigh(
        self, x: Tensor, y: Tensor, fold: Tensor, n_classes: int, strength: float, around: Around
    ) -> tuple[float, ...]:
        """How much each voice of `solve` is to count, by what it says of strokes that it was not taught.

        Stacking (Wolpert 1992; Breiman 1996, "Stacked regressions"), drawn towards `VOICES`, the more so the less is painted:
        few strokes tell little, and pieces of one stroke favour who knows its very grey levels.

        Parameters
        ----------
        fold : Tensor
            (N,) which rows are left out together; negative: never.
        """
        target = F.one_hot(y, n_classes).to(x.dtype)
        columns = self._columns(x, self._outset(x, _balanced(target), around))
        parts = [fold == f for f in torch.unique(fold[fold >= 0])]
        parts = [out for out in parts if (target[~out].sum(0) > 0).all()]
        if not parts:
            return VOICES

        def ask(out: Tensor) -> Tensor:
            """(V, n, K) answers of each voice to what is left out of what it is taught."""
            share, ridges = _balanced(target[~out]), self._ridges(strength)
            with torch.no_grad():
                heads = [regress(c[~out], target[~out], share, r) for c, r in zip(columns, ridges, strict=True)]
                return torch.stack([c[out] @ w.T + bias for c, (w, bias) in zip(columns, heads, strict=True)])

        said = torch.cat(at_once([partial(ask, out) for out in parts], x.device.type), 1)
        asked = torch.cat([target[out] for out in parts])
        return stack(said, asked, _balanced(asked), VOICES, PULL * strength**2)

    def _outset(self, x: Tensor, share: Tensor, around: Around) -> Solved:
        """How features are seen before anything is solved."""
        made, none = x[:, self.n_features :], x[:0, 0]
        centre = (share * made).sum(0)
        spread = (share * (made - centre) ** 2).sum(0).sqrt().clamp(min=1e-6)
        return Solved(none, none, centre, spread, around.axes, around.middle, none)

    def _ridges(self, strength: float) -> list[Tensor]:
        """Of each voice."""
        return [self.log_ridge.exp() * strength, *[self.log_ridge.new_tensor(WAVE_RIDGE * strength)] * 2]

    def _regressed(self, solved: Solved, known: Sequence[Moments], strength: float, voices: Sequence[float]) -> Solved:
        found = [moments.regress(ridge) for moments, ridge in zip(known, self._ridges(strength), strict=True)]
        weight = torch.cat([voice * w for voice, (w, _) in zip(voices, found, strict=True)], 1)
        bias = torch.stack([voice * b for voice, (_, b) in zip(voices, found, strict=True)]).sum(0)
        return replace(solved, weight=weight, bias=bias, prior=torch.zeros_like(bias))

    def _columns(self, x: Tensor, solved: Solved) -> list[Tensor]:
        """What each voice looks at, of (N, D) or (N, D + H) features of pixels."""
        learned, made = x[:, : self.n_features], x[:, self.n_features :]
        if not len(solved.centre):
            return [learned]
        deviations, along = (made - solved.centre) / solved.spread, learned @ solved.axes.T - solved.middle
        return [learned, self.over_made(deviations), self.over_axes(along)]

    def at(self, x: Tensor, solved: Solved) -> Tensor:
        """(N, D) or (N, D + H) features of pixels -> (N, K) scores; times the temperature's exponential, logits."""
        columns, scores = self._columns(x, solved), solved.bias + solved.prior
        parts = torch.split(solved.weight, [column.shape[1] for column in columns], 1)
        for column, weight in zip(columns, parts, strict=True):
            scores = scores + column @ weight.T
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
        pictures, scores to their mean there; then it is asked again what there is more of. A picture that looks like the painted
        ones is left alone, since it may well show more of one class, and so is an empty one.
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
        moved = replace(moved, bias=moved.bias + solved.usual.scores - self.at(x, moved).mean(0))
        return self.expecting(moved, x)

    def scores(self, looks: Sequence[Look], box: Box, solved: Solved) -> Tensor:
        """Looks at a tile, hand-made features last if there are any -> logits (B, K, Y, X) of a box of it.

        The head is applied at each map's own resolution and the few class scores are interpolated: the same as
        interpolating the many features first, since both maps are linear. Waves are not: hand-made features are
        interpolated before.
        """
        maps = [seen for look in looks for seen in look]
        parts = _applied(maps, solved.weight[:, : self.n_features])
        if len(solved.centre):
            parts += self._scores_of_waves(maps, looks[-1], box, solved)
        total = spread_sum(parts, box)
        level = (solved.bias + solved.prior)[:, None, None].to(total.dtype)
        return (total + level) * self.log_temperature.exp()

    def forward(self, looks: Sequence[Look], box: Box) -> Tensor:
        """Logits of the fitted head, (B, K, Y, X)."""
        return self.scores(looks, box, self.solved)

    def _scores_of_waves(self, maps: Look, made: Look, box: Box, solved: Solved) -> list[FeatureMap]:
        """(B, K, y, x) scores without the bias around a box, at half the resolution as the learned voice stays fine."""
        here = zone_around(box, 2, 2, made[0].zone)
        coarse = halved(here)
        deviations = torch.cat([seen.halved().spread(coarse) for seen in made], 1)  # (B, H, y, x)
        deviations = (deviations - solved.centre[:, None, None]) / solved.spread[:, None, None]
        along = spread_sum([one.halved() for one in _applied(maps, solved.axes)], coarse)
        along = along - solved.middle[:, None, None]
        for_made, for_axes = torch.split(solved.weight[:, self.n_features :], N_WAVES, 1)
        sums = self.over_made.summed(deviations, for_made), self.over_axes.summed(along, for_axes)
        return [FeatureMap(scores, here) for scores in sums]


def _applied(maps: Look, weight: Tensor) -> list[FeatureMap]:
    """(K, D) weights applied to each map at its own resolution, (B, K, y, x); maps behind the learned ones are not theirs."""
    parts, start = [], 0
    for seen in maps:
        if start == weight.shape[1]:
            break
        part = weight[:, start : start + seen.values.shape[1], None, None].to(seen.values.dtype)
        parts.append(seen.of(F.conv2d(seen.values, part)))
        start += seen.values.shape[1]
    return parts


def _balanced(target: Tensor, least: float = 1.0) -> Tensor:
    """How much each of (N, K) targets counts, (N, 1): every class 1 / K in all, less where it has fewer than ``least`` pixels."""
    amount = target.sum(0, keepdim=True).clamp(min=least)
    return (target / (amount * target.shape[1])).sum(1, keepdim=True)
