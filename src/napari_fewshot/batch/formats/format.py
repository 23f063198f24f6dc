"""What a file format is to the plugin: a lazy way in and, for some, a plane-by-plane way out. Knows no single format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_fewshot.core.picture import Picture

KNOWN_AXES = "TCZYXS"  # S is red, green and blue


@dataclass(frozen=True)
class Layout:
    """What a result file will hold: axes without samples, shape, dtype, size and place of its pixels."""

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    steps: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    starts: dict[str, float] = field(default_factory=dict)
    time_unit: str = ""

    @property
    def n_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class Opened:
    """A picture on disk that is read plane by plane, with the size of its pixels.

    Parameters
    ----------
    picture : Picture
    steps : dict of str to float
        Pixel size along the axes where it is known; Z, Y and X in ``unit``.
    unit : str
        One of `units.PM`, such as ``"nm"``; empty when unknown.
    starts : dict of str to float
        Where the centre of the first pixel lies along the axes, as ``steps``; 0 where nothing is said.
    remark : str
        What a user should know, such as of pictures beside the one that is read.
    begins_in : Path or None
        The file that holds the first plane, where that is another one.
    time_unit : str
        Of the step along T, as OME-Zarr spells it, such as ``"second"``; empty when unknown.
    """

    picture: Picture
    steps: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    starts: dict[str, float] = field(default_factory=dict)
    remark: str = ""
    begins_in: Path | None = None
    time_unit: str = ""

    def layout_of(self, first: np.ndarray, factor: int) -> Layout:
        """What a result will hold whose first plane is ``first`` (Y * factor, X * factor): it lies over the picture."""
        axes = self.picture.axes.removesuffix("S")
        steps = {a: s / factor if a in "YX" else s for a, s in self.steps.items() if a in axes}
        starts = {a: s for a, s in self.starts.items() if a in axes}
        for axis in "YX":  # the centre of a finer pixel is not that of the pixel it lies in
            if factor > 1 and axis in steps:
                starts[axis] = starts.get(axis, 0.0) - (factor - 1) / 2 * steps[axis]
        shape = (*self.picture.shape[:-2], *first.shape)
        return Layout(axes, shape, first.dtype, steps, self.unit, starts, self.time_unit)


@dataclass(frozen=True)
class Format:
    """A file format.

    Parameters
    ----------
    name : str
    suffixes : tuple of str
        Lower case, with the dot.
    open : callable
        ``open(path)`` gives a context manager that gives an `Opened`; may raise anything on a damaged file.
    write : callable or None
        ``write(path, planes, layout)`` takes (Y, X) planes, last leading axis fastest, and keeps at most one of them.
    open_labels : callable or None
        Opens class numbers, where that is not what ``open`` does.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path], AbstractContextManager[Opened]]
    write: Callable[[Path, Iterator[np.ndarray], Layout], None] | None = None
    open_labels: Callable[[Path], AbstractContextManager[Opened]] | None = None


def known_axes(axes: str) -> str:
    """Axes of a file in the letters of a `Picture`: leading S is C, other unknown ones the next free of Z, T, C."""
    letters = list(axes.upper())
    is_guess = not {*letters[-2:]} <= {*KNOWN_AXES}  # tifffile's, for planes of one row or column
    if is_guess and {"Y", "X"} <= {*letters}:
        letters = [letter for letter in letters if letter not in "YX"] + ["Y", "X"]
    for i, letter in enumerate(letters):
        if letter not in "TCZYX" and not (letter == "S" and i == len(letters) - 1):
            wanted = "CZT" if letter == "S" else "ZTC"
            letters[i] = next((free for free in wanted if free not in letters), letter)
    return "".join(letters)
