"""What can be asked of a worker, as frozen values that both sides of the worker share. Knows not how it is run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.strokes import Painting


@dataclass(frozen=True)
class Budget:
    """How long to fine-tune: wall seconds including set-up, or steps; both None is until stopped; ``steps=0`` fits the head only."""

    seconds: float | None = None
    steps: int | None = None


@dataclass(frozen=True, eq=False)
class View:
    """The part of a plane the user looks at.

    Parameters
    ----------
    index : tuple of int
        The plane.
    origin : tuple of int
        (y, x) of ``image`` in the plane, px.
    image : ndarray
        (Y, X), any real dtype.
    intensity : Intensity
        Of the whole plane.
    key : str
        The same key means the same pixels, so a worker may keep their features.
    confidence : bool
        Whether a confidence map is wanted too.
    """

    index: PlaneIndex
    origin: tuple[int, int]
    image: np.ndarray
    intensity: Intensity
    key: str
    confidence: bool = False


@dataclass(frozen=True, eq=False)
class FineTune:
    """Fine-tune a model: on strokes (``painting``) for a segmentation, on ``pairs`` for a restoration.

    A pair is (input plane, target plane), both (Y, X); target None adapts to the image alone.
    """

    model: ModelFile
    painting: Painting | None = None
    pairs: tuple[tuple[np.ndarray, np.ndarray | None], ...] = ()
    budget: Budget = Budget()
    seed: int = 0
    view: View | None = None
    name: str = ""


@dataclass(frozen=True, eq=False)
class Apply:
    """Apply a model to planes of a picture, in the given order, one `PlaneDone` each.

    ``intensity`` is that of the whole plane where the picture is a part of one; None measures each plane.
    """

    model: ModelFile
    picture: Picture
    indices: tuple[PlaneIndex, ...]
    confidence: bool = False
    intensity: Intensity | None = None


Job = FineTune | Apply
