"""Objects instead of classes: what is asked for, ids that go on from slice to slice. Cuts nothing apart itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.picture import Picture, PlaneIndex

SPLIT = 0.75
OVERLAP = 0.5  # of the smaller one, for two outlines in neighbouring slices to be one object
MISSING = 2  # slices from one to the next: one may be left out
BACKGROUND, OBJECT = 1, 2


@dataclass(frozen=True)
class Objects:
    """Which class is answered as objects, every one with an id of its own.

    Parameters
    ----------
    class_number : int
    split : float
        0 keeps everything that touches in one piece; else two parts are two objects where the neck between them is
        narrower than this share of the narrower part, up to 1: at every neck. Measured on three sets of particles and
        nuclei, a share from 0.75 to 0.9 beats every fixed distance between centres.
    smallest_px : int
        Smaller ones are specks, and left out.

    Raises
    ------
    FewshotError
        ``split`` is not between 0 and 1.
    """

    class_number: int
    split: float = SPLIT
    smallest_px: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.split <= 1:
            raise FewshotError(f"split must be from 0 (cut nothing) to 1 (cut at every neck), got {self.split}")


class Linker:
    """Gives outlines in neighbouring slices one id. Guards that a few slices are enough to remember.

    Slices come one after the other along Z, upwards and downwards from where they began, so that the one on display can
    be the first. Outlines are paired one to one, those that overlap most first; what is missing in one slice only, or
    in a slice that is left out, goes on in the next.
    """

    def __init__(self) -> None:
        self._n_ids = 0
        # by the other axes: the lowest and the highest slice so far, each with the one before it
        self._ends: dict[PlaneIndex, dict[int, tuple[np.ndarray, np.ndarray]]] = {}

    def link(self, z: int, outlines: np.ndarray, series: PlaneIndex = ()) -> np.ndarray:
        """Take the next slice.

        Parameters
        ----------
        z : int
            Its place along Z.
        outlines : ndarray
            (Y, X) ids 1 .. n of this slice alone, 0 for none.
        series : tuple of int
            Place along other axes; what lies there is never one object with what lies here.

        Returns
        -------
        ndarray
            (n + 1,) int32, the id of each outline in the whole stack; 0 stays 0.
        """
        ends = self._ends.setdefault(series, {})
        ids = np.zeros(int(outlines.max(initial=0)) + 1, np.int32)
        near = min(ends, key=lambda other: abs(other - z), default=None)
        last = before = np.zeros(outlines.shape, np.int32)
        if near is not None and abs(near - z) <= MISSING:
            last, before = ends[near]
            _pair(np.where((last == 0) & ~np.isin(before, last), before, last), outlines, ids)
        new = np.flatnonzero(ids[1:] == 0) + 1
        ids[new] = self._n_ids + 1 + np.arange(len(new))
        self._n_ids += len(new)
        ends[z] = ids[outlines], last
        for between in [k for k in ends if min(ends) < k < max(ends)]:
            del ends[between]
        return ids

    def forget(self, series: PlaneIndex) -> None:
        """No more slices of a series will come."""
        self._ends.pop(series, None)


def _pair(memory: np.ndarray, outlines: np.ndarray, ids: np.ndarray) -> None:
    """Write into ``ids`` which object of ``memory`` each outline goes on with."""
    both = (memory > 0) & (outlines > 0)
    n_outlines = len(ids)
    codes, overlap = np.unique(memory[both].astype(np.int64) * n_outlines + outlines[both], return_counts=True)
    pairs = np.stack(np.divmod(codes, n_outlines))
    size_before, size_now = np.bincount(memory.ravel()), np.bincount(outlines.ravel())
    enough = overlap >= OVERLAP * np.minimum(size_before[pairs[0]], size_now[pairs[1]])
    taken: set[int] = set()
    for n in np.argsort(-overlap, kind="stable"):
        old, new = pairs[:, n]
        if enough[n] and ids[new] == 0 and old not in taken:
            ids[new] = old
            taken.add(old)


def split_index(index: PlaneIndex, z_axis: int) -> tuple[int, PlaneIndex]:
    """Place along Z (0 where there is no such axis, -1), and along the other axes."""
    return (index[z_axis], (*index[:z_axis], *index[z_axis + 1 :])) if z_axis >= 0 else (0, index)


def along_z(picture: Picture, here: PlaneIndex) -> tuple[PlaneIndex, ...]:
    """All planes in an order in which a `Linker` can take them, ``here`` first: up from it, down from it, other series."""
    axis = picture.leading.find("Z")

    begin, own = split_index(here, axis)

    def place(index: PlaneIndex) -> tuple[bool, PlaneIndex, bool, int]:
        z, series = split_index(index, axis)
        start = begin if series == own else 0
        return series != own, series, z < start, abs(z - start)

    return tuple(sorted(picture.plane_indices(), key=place))


def painted_objects(labels: np.ndarray) -> np.ndarray:
    """Labels of which 1 is background and every other number, however large, one object -> labels of these two classes."""
    return np.minimum(labels, OBJECT)
