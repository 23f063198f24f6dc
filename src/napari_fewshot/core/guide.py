"""Where a stroke helps most: what is looked at, the quality along a stack, the next spot. Knows no model and no viewer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.scores import mean_iou
from napari_fewshot.core.strokes import Strokes
from napari_fewshot.core.tiles import Box

LOOK_PX = 512  # a side of what is looked at of a plane at a time: one tile of a CPU
SPOT_PX = 128  # a side of the region that is suggested: room for a stroke or two
CELL_PX = 16  # the gain is known this finely
N_LOOKS = 64  # at most, however large the stack is
N_SPOTS = 3  # best regions kept of each look
MAXIMUM_DROP = 0.1  # of the expected quality, from the first slice of a propagation
LEAST_OVERLAP = 0.6  # of a slice's answer with that before it, as a share of what is usual


@dataclass(frozen=True)
class Look:
    """A part of a plane that is looked at; ``box`` in pixels of the plane."""

    index: PlaneIndex
    box: Box


class Spot(NamedTuple):
    """A region in which a stroke is expected to gain ``gain`` (only comparable within one survey)."""

    index: PlaneIndex  # type: ignore[assignment]  # hides tuple.index, which nobody asks a spot for
    box: Box
    gain: float

    def overlaps(self, other: Spot) -> bool:
        """Whether two spots share pixels of a plane."""
        pairs = zip(self.box, other.box, strict=True)
        return self.index == other.index and all(a.start < b.stop and b.start < a.stop for a, b in pairs)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a look found.

    Parameters
    ----------
    look : Look
    quality : float
        Expected share of pixels that are right, 0 to 1: the mean calibrated confidence.
    spots : tuple of Spot
        Best first.
    learned : Strokes or None
        Confident pixels, in pixels of the plane, where they were asked for.
    """

    look: Look
    quality: float
    spots: tuple[Spot, ...]
    learned: Strokes | None = None


def plan_looks(picture: Picture, here: PlaneIndex | None = None) -> list[Look]:
    """Parts of planes in the order in which they are worth looking at: wherever that ends, they lie evenly.

    Slices come coarse to fine, ``here`` first; a plane larger than `LOOK_PX` is looked at in another part each time.
    """
    indices, boxes = list(picture.plane_indices()), _windows(picture.plane_shape)
    order = [indices[i] for i in coarse_to_fine(len(indices), N_LOOKS)]
    if here in indices:
        order = [here, *(i for i in order if i != here)]
    parts = [boxes[i] for i in coarse_to_fine(len(boxes), len(boxes))]
    looks = [Look(index, parts[(n + turn) % len(parts)]) for turn in range(len(parts)) for n, index in enumerate(order)]
    return looks[:N_LOOKS]


def coarse_to_fine(n: int, limit: int) -> list[int]:
    """At most ``limit`` of 0 .. n - 1, evenly spread and in an order that is even from its start (van der Corput)."""
    chosen = np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(int))
    n_bits = max(1, int(len(chosen) - 1).bit_length())
    rank = [int(f"{i:0{n_bits}b}"[::-1], 2) for i in range(len(chosen))]
    return [int(chosen[i]) for i in np.argsort(rank)]


def take_look(picture: Picture, look: Look) -> tuple[np.ndarray, Intensity]:
    """Read a look's pixels, and the intensity of its plane from a sample."""
    sample = picture.take_sample(look.index)
    is_all = sample.shape == picture.plane_shape
    pixels = sample[look.box] if is_all else picture.take_plane(look.index, look.box)
    return pixels, Intensity.measure(sample)


def best_spots(look: Look, gain: np.ndarray, n: int = N_SPOTS) -> tuple[Spot, ...]:
    """The regions with the largest mean gain that do not overlap; ``gain`` (y, x) is one value a cell of the look."""
    side = min(SPOT_PX // CELL_PX, *gain.shape)
    total = np.pad(gain, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    mean = (total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]) / side**2
    found = []
    for _ in range(n):
        y, x = np.unravel_index(int(mean.argmax()), mean.shape)
        if not np.isfinite(mean[y, x]):
            break
        starts = [s.start + int(c) * CELL_PX for s, c in zip(look.box, (y, x), strict=True)]
        ends = [min(s.stop, a + side * CELL_PX) for s, a in zip(look.box, starts, strict=True)]
        box = (slice(starts[0], ends[0]), slice(starts[1], ends[1]))
        found.append(Spot(look.index, box, float(mean[y, x])))
        mean[max(0, y - side + 1) : y + side, max(0, x - side + 1) : x + side] = -np.inf
    return tuple(found)


def ranked(seen: Iterable[Seen]) -> list[Spot]:
    """All spots of a survey, the best first."""
    return sorted((spot for one in seen for spot in one.spots), key=lambda spot: -spot.gain)


def next_spot(spots: Sequence[Spot], shown: Collection[Spot]) -> Spot | None:
    """The best spot that touches none of those ``shown``; when all do, the best but the one shown last."""
    fresh = [s for s in spots if not any(s.overlaps(old) for old in shown)]
    if fresh or not spots:
        return fresh[0] if fresh else None
    last = list(shown)[-1]
    return next((s for s in spots if not s.overlaps(last)), spots[0])


def curve_of(seen: Iterable[Seen], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions along a leading axis, ascending, and the mean quality of what was looked at there."""
    found: dict[int, list[float]] = {}
    for one in seen:
        found.setdefault(one.look.index[axis] if one.look.index else 0, []).append(one.quality)
    positions = sorted(found)
    return np.array(positions, int), np.array([np.mean(found[p]) for p in positions])


def leading_axis(picture: Picture) -> int | None:
    """The axis along which a picture is a stack: Z, else T, else the last other one; None where there are only channels."""
    axes = [a for a in ("Z", "T", *reversed(picture.leading)) if a in picture.leading and a != "C"]
    return picture.leading.index(axes[0]) if axes else None


def line_from(picture: Picture, start: PlaneIndex, step: int) -> list[PlaneIndex]:
    """The planes after ``start`` along the stack, forwards or backwards."""
    axis = leading_axis(picture)
    if axis is None:
        return []
    n = picture.data.shape[axis]
    return [(*start[:axis], i, *start[axis + 1 :]) for i in range(start[axis] + step, n if step > 0 else -1, step)]


class Quality:
    """Follows a propagation in one direction. Guards that it ends where answers are expected to be much worse."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._overlaps: list[float] = []

    def drop(self, quality: float, values: np.ndarray, before: np.ndarray) -> str | None:
        """Why to stop before a slice with this expected quality and these classes (Y, X), or None to go on."""
        overlap = mean_iou(values, before)
        self._overlaps.append(overlap)
        usual = float(np.median(self._overlaps))
        if quality < self._first - MAXIMUM_DROP:
            return f"the expected quality fell from {self._first:.2f} to {quality:.2f}"
        if overlap < LEAST_OVERLAP * usual:
            return f"the overlap with the slice before fell from {usual:.2f} to {overlap:.2f}"
        return None


def _windows(shape: tuple[int, int]) -> list[Box]:
    """Windows of at most `LOOK_PX` a side that cover a plane, row by row."""
    rows, columns = ([slice(a, a + min(n, LOOK_PX)) for a in _starts(n)] for n in shape)
    return [(y, x) for y in rows for x in columns]


def _starts(n: int) -> list[int]:
    n_windows = -(-n // LOOK_PX)
    return [int(a) for a in np.linspace(0, max(0, n - LOOK_PX), n_windows).round()]
