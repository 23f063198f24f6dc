"""The operating point of a rare class: how readily it is answered so that hardly any of it is missed. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_fewshot.core.errors import StrokesError
from napari_fewshot.core.judge import HeldOut


@dataclass(frozen=True)
class NeverMiss:
    """A wish: at least this share of a class is to be found, above 0, at most 1."""

    class_number: int
    recall: float


@dataclass(frozen=True)
class OperatingPoint:
    """A wish and what it costs.

    Parameters
    ----------
    class_number, recall
        As wished for.
    offset : float
        Added to the logit of the class; never negative.
    false_alarms : float
        Share of what is painted otherwise that is expected to be taken for the class, every other class weighing the
        same, 0 to 1.
    n_pixels : int
        Held-out painted pixels of the class by which the offset was chosen; 0 while there were too few to choose one,
        and the wish waits for more strokes.
    """

    class_number: int
    recall: float
    offset: float
    false_alarms: float
    n_pixels: int

    @classmethod
    def waiting(cls, wish: NeverMiss) -> OperatingPoint:
        """A wish that moves nothing yet, as there are too few strokes to hold some out."""
        return cls(wish.class_number, wish.recall, 0.0, 0.0, 0)

    @property
    def wish(self) -> NeverMiss:
        return NeverMiss(self.class_number, self.recall)

    def offsets(self, class_numbers: tuple[int, ...]) -> np.ndarray:
        """(K,) float32, what to add to the logits of classes."""
        return np.array([self.offset if k == self.class_number else 0.0 for k in class_numbers], np.float32)


def operating_point(held_out: HeldOut, wish: NeverMiss) -> OperatingPoint:
    """Choose the offset on strokes held out.

    The threshold is the order statistic by which conformal prediction bounds the share that is missed of pixels like
    these (Vovk, Gammerman and Shafer 2005): not better than the strokes are a sample of the class.

    Raises
    ------
    StrokesError
        The class is not among those held out, or the recall is not above 0 and at most 1.
    """
    if wish.class_number not in held_out.classes or not 0 < wish.recall <= 1:
        raise StrokesError(
            f"no operating point for {wish.recall:g} of class {wish.class_number}: "
            f"choose one of the classes {held_out.classes}, and a share above 0, at most 1"
        )
    k = held_out.classes.index(wish.class_number)
    margins = held_out.scores[:, k] - np.delete(held_out.scores, k, axis=1).max(1)
    is_class = held_out.truth == wish.class_number
    found = np.sort(margins[is_class])
    n_missed = int(np.floor((len(found) + 1) * (1 - wish.recall) + 1e-9))
    least = float(found[max(0, n_missed - 1)])
    offset = max(0.0, -float(np.nextafter(np.float32(least), np.float32(-np.inf))))
    others = [np.mean(margins[held_out.truth == c] + offset > 0) for c in held_out.classes if c != wish.class_number]
    return OperatingPoint(wish.class_number, wish.recall, offset, float(np.mean(others)), len(found))
