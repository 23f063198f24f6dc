"""What a closed-form segmentation head is solved from and what comes of it, as plain values. Computes nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Around:
    """Pixels painted or not, from where something is painted.

    Parameters
    ----------
    x : Tensor
        (N, D + H) features.
    axes, middle : Tensor
        (N_AXES, D) and (N_AXES,) of the learned ones, see `regress.principal_axes`.
    """

    x: Tensor
    axes: Tensor
    middle: Tensor


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
        (K, D) and (K,) of the learned features; with waves (K, D + 2 * N_WAVES).
    centre, spread : Tensor
        (H,) mean and standard deviation of the hand-made features over the painted pixels; empty without waves.
    axes, middle : Tensor
        (N_AXES, D) and (N_AXES,) of the learned features, see `regress.principal_axes`.
    prior : Tensor
        (K,) added to the scores: what there is more of is answered sooner; zeros as solved.
    usual : Usual or None
        None where it is not known.
    """

    weight: Tensor
    bias: Tensor
    centre: Tensor
    spread: Tensor
    axes: Tensor
    middle: Tensor
    prior: Tensor
    usual: Usual | None = None

    def times(self, factor: float | Tensor) -> Solved:
        """The same with scores so many times as large."""
        usual = self.usual and replace(self.usual, scores=self.usual.scores * factor)
        weight, bias, prior = self.weight * factor, self.bias * factor, self.prior * factor
        return replace(self, weight=weight, bias=bias, prior=prior, usual=usual)
