"""Painted pixels as sparse values: 0 means not painted, k >= 1 is class k. Must not know who painted them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_fewshot.core.errors import StrokesError
from napari_fewshot.core.intensity import Intensity, key_of

MAXIMUM_CLASS = 255
BORDER_PX = 2


@dataclass(frozen=True, eq=False)
class Strokes:
    """Painted pixels of one plane.

    Parameters
    ----------
    yx : ndarray
        (N, 2) int32 pixel coordinates.
    classes : ndarray
        (N,) uint16, k >= 1.
    marks : ndarray or None
        (N,) bool, which of them a model made itself and nobody painted; None for none.
    """

    yx: np.ndarray
    classes: np.ndarray
    marks: np.ndarray | None = None

    @classmethod
    def of_plane(cls, labels: np.ndarray, made: np.ndarray | None = None) -> Strokes:
        """The painted pixels of a (Y, X) integer plane; where it is as ``made`` (Y, X) by a model, they are marks."""
        yx = np.argwhere(labels > 0).astype(np.int32)
        at = yx[:, 0], yx[:, 1]
        return cls(yx, labels[at].astype(np.uint16), None if made is None else labels[at] == made[at])

    def __len__(self) -> int:
        return len(self.classes)

    def joined(self, others: Strokes) -> Strokes:
        """These and others, none of them marks."""
        return Strokes(np.concatenate([self.yx, others.yx]), np.concatenate([self.classes, others.classes]))

    def only(self, kept: np.ndarray) -> Strokes:
        """Those that are kept, by (N,) bool or positions."""
        return Strokes(self.yx[kept], self.classes[kept], None if self.marks is None else self.marks[kept])

    def shifted(self, y: int, x: int) -> Strokes:
        """The same pixels with the origin moved to (y, x)."""
        return Strokes(self.yx - np.array([y, x], np.int32), self.classes, self.marks)


def thinned_strokes(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> Strokes:
    """Of a plane (Y, X) that is known densely, at most ``per_class`` pixels of each class, drawn at random.

    They keep `BORDER_PX` away from other classes and from what is not known, where outlines are drawn by a pixel too far or
    not far enough; of a class that is thinner any pixel will do.
    """
    padded = np.pad(labels, BORDER_PX, mode="edge")
    height, width = labels.shape
    steps = range(2 * BORDER_PX + 1)
    inner = np.logical_and.reduce([padded[y : y + height, x : x + width] == labels for y in steps for x in steps])
    chosen = []
    for k in np.unique(labels[labels > 0]):
        of_class = labels == k
        found = np.argwhere(of_class & inner)
        chosen.append(rng.permutation(found if len(found) else np.argwhere(of_class))[:per_class])
    yx = np.concatenate(chosen or [np.empty((0, 2), int)]).astype(np.int32)
    return Strokes(yx, labels[yx[:, 0], yx[:, 1]].astype(np.uint16))


@dataclass(frozen=True, eq=False)
class PaintedPlane:
    """One plane, or the part of it around its strokes, with what was painted there.

    Parameters
    ----------
    key : str
        Names the pixels of ``image`` (the same key means the same pixels), so a worker may keep their features.
    image : ndarray
        (Y, X), any real dtype.
    strokes : Strokes
        Coordinates are those of ``image``.
    intensity : Intensity
        Of the whole plane, also when ``image`` is a part of it.
    """

    key: str
    image: np.ndarray
    strokes: Strokes
    intensity: Intensity


@dataclass(frozen=True, eq=False)
class Painting:
    """Everything painted so far: the training set of a segmentation."""

    planes: tuple[PaintedPlane, ...]
    class_names: tuple[str, ...] = field(default=())

    @property
    def classes(self) -> tuple[int, ...]:
        """Painted class numbers, ascending."""
        found = [np.unique(p.strokes.classes) for p in self.planes if len(p.strokes)]
        return tuple(int(k) for k in np.unique(np.concatenate(found))) if found else ()

    @property
    def n_painted(self) -> int:
        return sum(len(p.strokes) for p in self.planes)

    def check(self) -> None:
        """Raise StrokesError unless at least two classes are painted."""
        if not self.planes or self.n_painted == 0:
            raise StrokesError(
                "nothing is painted yet: paint a few strokes of at least two classes (0 means not painted)"
            )
        if len(self.classes) < 2:
            raise StrokesError(
                f"only class {self.classes[0]} is painted: paint at least one stroke of a second class "
                "(background is a class too)"
            )
        if all(p.intensity.is_flat for p in self.planes if len(p.strokes)):
            raise StrokesError(
                "the painted image is constant, there is nothing to tell classes apart: choose another image"
            )


def painting_of(images: Sequence[np.ndarray], painted: Sequence[np.ndarray]) -> Painting:
    """Pair (Y, X) images with (Y, X) integer labels of the same shapes; planes without paint are left out.

    Raises
    ------
    StrokesError
        Shapes differ, labels are not integers or negative.
    """
    planes = []
    for image, labels in zip(images, painted, strict=True):
        if image.shape != labels.shape:
            raise StrokesError(f"the strokes have shape {labels.shape}, the image {image.shape}: they must be equal")
        if labels.dtype.kind not in "bui":
            raise StrokesError(
                f"the strokes hold {labels.dtype} values: use integers, 0 = not painted, k >= 1 = class k"
            )
        if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
            raise StrokesError("the strokes hold negative values: use 0 = not painted, k >= 1 = class k")
        if labels.size and labels.max() > MAXIMUM_CLASS:
            raise StrokesError(f"the strokes hold class {labels.max()}: number the classes 1 to {MAXIMUM_CLASS}")
        strokes = Strokes.of_plane(labels)
        if len(strokes):
            intensity = Intensity.measure(image)
            planes.append(PaintedPlane(key_of(image, intensity), image, strokes, intensity))
    return Painting(tuple(planes))
