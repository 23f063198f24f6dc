"""What can be asked of a worker, as frozen values that both sides of the worker share. Knows not how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.objects import Objects
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.restoring import AS_TRAINED, Regions, Restoring
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.strokes import Painting

Pairs = tuple[tuple[np.ndarray, np.ndarray | Regions | None], ...]


@dataclass(frozen=True)
class Budget:
    """How long to fine-tune: wall seconds including set-up, or steps; both None is until stopped; ``steps=0`` fits the head only."""

    seconds: float | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Extras:
    """What the layers of a segmentation learn from beside the strokes.

    Parameters
    ----------
    contrast : bool
        Pixels of a class are to look alike and unlike other classes, in all images and slices that are painted.
    copy_paste : bool
        Objects grown from strokes, cut out and pasted elsewhere, are to be found there.
    rank : bool
        Pixels of the class that may hardly be missed are to score above all others.
    """

    contrast: bool = False
    copy_paste: bool = False
    rank: bool = False


STROKES_ALONE = Extras()


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

    A pair is (input plane, target plane), both (Y, X), or what is declared good of the plane; target None adapts to the image alone. ``extras`` are of a segmentation.
    """

    model: ModelFile
    painting: Painting | None = None
    pairs: Pairs = ()
    budget: Budget = Budget()
    seed: int = 0
    view: View | None = None
    name: str = ""
    extras: Extras = STROKES_ALONE


@dataclass(frozen=True, eq=False)
class LookAhead:
    """See the region on display and what is painted before they are asked for: the first fit then finds their features."""

    model: ModelFile
    view: View
    painting: Painting


@dataclass(frozen=True, eq=False)
class Apply:
    """Apply a model to planes of a picture, in the given order, one `PlaneDone` each.

    ``intensity`` is that of the whole plane where the picture is a part of one; None measures each plane. With
    ``objects`` a segmentation answers ids that go on along Z, for which the planes of a stack come one after the other,
    upwards and then downwards from the first; ``Finished`` has their `core.measures.Measures` under ``measures``.
    ``restoring`` is what is wished for when the model restores. ``first`` restores each plane before the model sees it; what
    it made of the plane comes in the maps of `PlaneDone` under its name. ``seed`` is for alternatives and uncertainty.
    """

    model: ModelFile
    picture: Picture
    indices: tuple[PlaneIndex, ...]
    confidence: bool = False
    intensity: Intensity | None = None
    objects: Objects | None = None
    restoring: Restoring = AS_TRAINED
    first: ModelFile | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Judge:
    """Ask models for the same painted pixels, none of which they learned from, and for the visible region.

    With ``first`` they are also asked for the painted pixels of images that it restored.
    Ends with ``Finished`` whose details hold one `core.judge.Verdict` a model under ``verdicts``.
    """

    models: tuple[ModelFile, ...]
    painting: Painting
    view: View | None = None
    seed: int = 0
    first: ModelFile | None = None


@dataclass(frozen=True, eq=False)
class Survey:
    """Look over a picture with the strokes of now in mind, one `Surveyed` a look: how good answers are, where strokes help.

    Looks come coarse to fine, ``here`` first, until ``seconds`` after the first answer; so the cost does not grow with the
    stack. ``learn`` asks for confident pixels too.
    """

    model: ModelFile
    picture: Picture
    painting: Painting | None = None
    here: PlaneIndex | None = None
    seconds: float = 4.0
    learn: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Propagate:
    """Carry what is known of plane ``start`` through the stack in both directions, one `PlaneDone` a slice.

    Each direction ends where the quality drops; ``Finished`` tells where and why under ``stops``, one sentence each.
    ``known`` has the planes (Y, X) of which something is known, uint8, 0 where it is not: what they say stays as it is.
    """

    model: ModelFile
    picture: Picture
    start: PlaneIndex
    painting: Painting | None = None
    confidence: bool = False
    seed: int = 0
    known: Mapping[PlaneIndex, np.ndarray] = field(default_factory=dict)


Job = FineTune | LookAhead | Apply | Judge | Survey | Propagate
