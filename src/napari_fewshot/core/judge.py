"""How well painted pixels are answered: confusion, intersection over union, side by side. Knows no model and no layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Scorer = Callable[[np.ndarray], np.ndarray]  # (N, D) features -> (N, K) logits
Learn = Callable[[np.ndarray, np.ndarray], Scorer]  # from (N, D) features and (N,) positions of classes


@dataclass(frozen=True, eq=False)
class Confusion:
    """Painted pixels by the class they are (rows) and the one they are taken for (columns).

    Parameters
    ----------
    classes : tuple of int
        K class numbers, ascending.
    counts : ndarray
        (K, K) pixels; what is taken for none of the classes stands in no column.
    totals : ndarray
        (K,) painted pixels of each class.
    """

    classes: tuple[int, ...]
    counts: np.ndarray
    totals: np.ndarray

    @classmethod
    def between(cls, truth: np.ndarray, found: np.ndarray, classes: tuple[int, ...]) -> Confusion:
        """Count (N,) class numbers ``found`` where (N,) ``truth`` was painted."""
        counts = [[np.sum((truth == t) & (found == f)) for f in classes] for t in classes]
        return cls(classes, np.array(counts, float), np.array([np.sum(truth == t) for t in classes], float))

    @property
    def shares(self) -> np.ndarray:
        """(K, K) counts with every class as if equally much of it were painted; a row sums to at most one."""
        return np.asarray(self.counts / np.maximum(self.totals, 1)[:, None])

    @property
    def ious(self) -> np.ndarray:
        """(K,) intersection over union of each class on `shares`."""
        hit = self.shares.diagonal()
        return np.asarray(hit / np.maximum((self.totals > 0) + self.shares.sum(0) - hit, 1e-9))

    @property
    def mean_iou(self) -> float:
        return float(self.ious[self.totals > 0].mean())


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What a model answers on painted pixels that it did not learn from.

    Parameters
    ----------
    classes : tuple of int
        K class numbers, ascending.
    truth : ndarray
        (N,) class numbers.
    scores : ndarray
        (N, K) logits of the classes.
    offsets : ndarray or float
        (K,) what the operating point of the model adds to them.
    """

    classes: tuple[int, ...]
    truth: np.ndarray
    scores: np.ndarray
    offsets: np.ndarray | float = 0.0

    @property
    def confusion(self) -> Confusion:
        found = np.array(self.classes)[(self.scores + self.offsets).argmax(1)]
        return Confusion.between(self.truth, found, self.classes)


def cross_fit(
    x: np.ndarray, y: np.ndarray, fold: np.ndarray, classes: tuple[int, ...], asked: Sequence[int], learn: Learn
) -> HeldOut | None:
    """Learn from all folds but one and ask for that one, for each of the ``asked`` folds.

    Parameters
    ----------
    x, y, fold : ndarray
        (N, D) features, (N,) positions in ``classes``, (N,) folds: whole strokes together.

    Returns
    -------
    HeldOut or None
        None when no pixel of some class could be asked for.
    """
    truth, scores = [], []
    for one in asked:
        out = fold == one
        if out.any() and len(np.unique(y[~out])) == len(classes):
            scores.append(learn(x[~out], y[~out])(x[out]))
            truth.append(np.array(classes)[y[out]])
    if not truth or len(np.unique(np.concatenate(truth))) < len(classes):
        return None
    return HeldOut(classes, np.concatenate(truth), np.concatenate(scores))


@dataclass(frozen=True, eq=False)
class Verdict:
    """How one model does on the strokes of now.

    Parameters
    ----------
    name : str
        Of the model.
    held_out : HeldOut or None
        Its last layer (or forest) fitted to some of the strokes and asked for others; None when too few are painted.
    as_saved : Confusion or None
        The model as it is on all strokes, those it learned from included; None when it has not seen any strokes.
    view : ndarray or None
        (Y, X) class numbers of the visible region.
    denoised : HeldOut or None
        As ``held_out``, fitted and asked on images that were restored first; None where that was not asked for.
    """

    name: str
    held_out: HeldOut | None
    as_saved: Confusion | None
    view: np.ndarray | None
    denoised: HeldOut | None = None


def differing(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(Y, X) uint8: 1 where two answers differ, else 0."""
    return (first != second).astype(np.uint8)
