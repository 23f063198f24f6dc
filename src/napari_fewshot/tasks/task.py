"""What a task is: words for the user, the shape of its answer, and how its training inputs are made. Numpy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Corrupt = Callable[[np.ndarray, int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Task:
    """Something a user can ask for.

    Parameters
    ----------
    name, title, hint : str
        Key in code and cards; what the menu shows; one sentence of help.
    answer : "classes" or "image"
    models : dict of str to int
        Embedded generators that do it, the default first, with the factor by which their answer is finer.
    zooms : tuple of int
        Zooms (1 = full resolution) at which the backbone looks at the picture for this task.
    corrupt : callable or None
        ``corrupt(clean, factor, rng) -> (input, target)``, all (Y, X) float32 on the unit scale, for tasks trained
        by restoring. The input of a super-resolution is ``factor`` times smaller than its target.
    """

    name: str
    title: str
    hint: str
    answer: Literal["classes", "image"]
    models: dict[str, int]
    zooms: tuple[int, ...] = (1,)
    corrupt: Corrupt | None = None

    @property
    def needs_strokes(self) -> bool:
        return self.answer == "classes"
