"""What a task is: words for the user, the shape of its answer, and how its training inputs are made. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np


class Corrupt(Protocol):
    """Spoils a clean (Y, X) float32 picture on the unit scale.

    ``support`` is what is seen of the film below the specimen, (Y, X) or nothing: part of the picture for all tasks but those that
    remove it. Returns the input and the target; the input of a super-resolution is ``factor`` times smaller than its target.
    """

    def __call__(
        self, clean: np.ndarray, factor: int, rng: np.random.Generator, support: np.ndarray | float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]: ...


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
        For tasks trained by restoring.
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
