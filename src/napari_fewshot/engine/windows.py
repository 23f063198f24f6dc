"""Goes once through all pictures and keeps the places worth learning from. Draws no patch; knows no pretext.

As the makers of CEM500K did (Conrad & Narayan 2021, eLife 65894): near-duplicates within a source are found by their
difference hash, and what shows nothing is left out. A picture that cannot be read is named and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.engine.listen import SILENT, Listener, StopRequested
from napari_fewshot.tasks.degrade import bin_down

WINDOW_PX = 256
MINIMUM_PX = 64
EMPTY_STD = 0.03  # of the unit scale, after binning twofold; below, a window shows nothing
NEAR_BITS = 12  # of 64: hashes closer than this are near-duplicates, as in CEM500K
FIRST_HELD, HOLD_EVERY = 10, 20  # planes
NAMED = 40


@dataclass(frozen=True, eq=False)
class Window:
    """A place that is worth learning from.

    Parameters
    ----------
    picture : Picture
    index : tuple of int
        The plane.
    origin, side : tuple of int
        (y, x) of the corner and the extent, px.
    intensity : Intensity
        Of the whole plane.
    """

    picture: Picture
    index: PlaneIndex
    origin: tuple[int, int]
    side: tuple[int, int]
    intensity: Intensity


Windows = dict[str, list[Window]]  # by source


@dataclass(eq=False)
class Source:
    """Windows of pictures of one kind; guards that no two of them look alike."""

    windows: list[Window] = field(default_factory=list)
    hashes: list[np.uint64] = field(default_factory=list)

    def add(self, window: Window, image: np.ndarray) -> bool:
        """Keep a window, (Y, X) on the unit scale, unless it shows nothing or what another shows already."""
        small = bin_down(image, 2)
        if small.std() < EMPTY_STD:
            return False
        found = difference_hash(small)
        known = np.array(self.hashes, np.uint64)
        if len(known) and int(np.bitwise_count(known ^ found).min()) < NEAR_BITS:
            return False
        self.windows.append(window)
        self.hashes.append(found)
        return True

    def drop(self, picture: Picture) -> None:
        """Forget the windows of a picture."""
        kept = [i for i, window in enumerate(self.windows) if window.picture is not picture]
        self.windows, self.hashes = [self.windows[i] for i in kept], [self.hashes[i] for i in kept]


def find_windows(pictures: Sequence[Picture], listener: Listener = SILENT) -> Windows:
    """Windows by source; a source is all pictures whose names differ in their last number only.

    Raises
    ------
    PictureError
        No picture has a window that is worth learning from.
    StopRequested
        The listener asked to stop.
    """
    sources: dict[str, Source] = {}
    unused: list[str] = []
    n_seen = 0
    for picture in pictures:
        source = sources.setdefault(source_of(picture.name), Source())
        try:
            kept = [source.add(window, image) for window, image in _all_windows(picture, listener)]
            n_seen += len(kept)
            if not any(kept):
                unused.append(picture.name)
        except StopRequested:
            raise
        except Exception as error:  # a damaged file makes third-party readers raise anything
            listener.note(f"{picture.name} is left out ({type(error).__name__}: {error})")
            source.drop(picture)
    found = {name: source.windows for name, source in sources.items() if source.windows}
    if not found:
        raise PictureError(
            f"there is nothing to learn from in {len(pictures)} images: add larger images (at least {MINIMUM_PX} px in Y and "
            "X) that show some structure"
        )
    n_kept = sum(map(len, found.values()))
    listener.note(f"{n_kept} of {n_seen} places in {len(found)} sources are used; others are empty or near-duplicates")
    if unused:
        listener.note(
            f"nothing of {_named(unused)} is used: smaller than {MINIMUM_PX} px, empty, or like another image"
        )
    return found


def described(windows: Windows) -> str:
    """How many planes of which pictures there are windows of."""
    every = [window for of_source in windows.values() for window in of_source]
    names = dict.fromkeys(Path(window.picture.name).stem for window in every)
    return f"{len(set(map(_plane, every)))} planes of {_named(list(names))}"


def hold_out(windows: Windows) -> tuple[Windows, Windows]:
    """Windows to train on and windows to judge on: those of every twentieth plane, which training never sees.

    Of few planes none can be spared, and there are none to judge on.
    """
    planes = list(dict.fromkeys(_plane(w) for of_source in windows.values() for w in of_source))
    judged = set(planes[FIRST_HELD::HOLD_EVERY])
    return _of_planes(windows, set(planes) - judged), _of_planes(windows, judged)


def source_of(name: str) -> str:
    """The name of a picture without its suffix and its last number."""
    return re.sub(r"[\W_]*\d*(\.[A-Za-z][\w.]*)?$", "", name) or name


def difference_hash(image: np.ndarray) -> np.uint64:
    """64 bits: whether each of 8 x 8 areas is darker than its right neighbour; hardly changed by noise or contrast."""
    rows, columns = (np.linspace(0, n, k + 1).astype(int) for n, k in zip(image.shape, (8, 9), strict=True))
    sums = np.add.reduceat(np.add.reduceat(image, rows[:-1], 0), columns[:-1], 1)
    means = sums / np.outer(np.diff(rows), np.diff(columns))
    return np.packbits(means[:, 1:] > means[:, :-1]).view(np.uint64)[0]


def _all_windows(picture: Picture, listener: Listener) -> Iterator[tuple[Window, np.ndarray]]:
    """All windows of a picture with their pixels on the unit scale."""
    if min(picture.plane_shape) < MINIMUM_PX:
        return
    for index in picture.plane_indices():
        if listener.stopped():
            raise StopRequested
        plane = picture.take_plane(index)
        if not np.isfinite(plane).any():
            continue
        intensity = Intensity.measure(plane)
        ys, xs = (np.linspace(0, n, max(1, round(n / WINDOW_PX)) + 1).astype(int) for n in plane.shape)
        for y, y_end in pairwise(map(int, ys)):
            for x, x_end in pairwise(map(int, xs)):
                window = Window(picture, index, (y, x), (y_end - y, x_end - x), intensity)
                yield window, intensity.to_unit(plane[y:y_end, x:x_end])


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _plane(window: Window) -> tuple[int, PlaneIndex]:
    return id(window.picture), window.index


def _of_planes(windows: Windows, planes: set[tuple[int, PlaneIndex]]) -> Windows:
    kept = {source: [w for w in of_source if _plane(w) in planes] for source, of_source in windows.items()}
    return {source: of_source for source, of_source in kept.items() if of_source}
