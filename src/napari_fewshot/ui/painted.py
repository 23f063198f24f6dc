"""Which planes of a labels layer hold strokes, kept up to date stroke by stroke. Knows no Qt and no worker."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_fewshot.core.errors import PictureError, StrokesError
from napari_fewshot.core.intensity import key_of
from napari_fewshot.core.objects import painted_objects
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.strokes import MAXIMUM_CLASS, PaintedPlane, Painting, Strokes
from napari_fewshot.ui.layers import Box, PlaneReader, array_of
from napari_fewshot.ui.learning import made_on

WHOLE_PX = 2048  # planes up to this side travel whole
BLOCK_PX, MARGIN_PX, GRID_PX = 1536, 256, 256  # larger ones as crops around the strokes of each block
RESCAN_BYTES = 1 << 28  # arrays up to this size are scanned in less than 50 ms


class PaintedPlanes:
    """Follows one labels layer. Guards that the cost of taking its strokes grows with them, not with the stack.

    ``take`` and nothing else runs off the GUI thread; ``on_change`` is called on it after every stroke, and when
    an undo, a new array or somebody who writes into the array may have changed strokes. What is written so is found
    anywhere in an array in memory of up to `RESCAN_BYTES`, in others only about known strokes or while there are none.
    With ``is_empty`` a layer that was just made is not scanned for older strokes.
    """

    def __init__(self, labels: Labels, on_change: Callable[[], None], is_empty: bool = False) -> None:
        self._labels = weakref.ref(labels)
        self._on_change = on_change
        self._lock = Lock()
        self._is_empty = is_empty
        self._is_scanned = self._is_doubtful = False
        self._boxes: dict[PlaneIndex, Box] = {}
        self._changed: set[PlaneIndex] = set()
        self._planes: dict[PlaneIndex, tuple[PaintedPlane, ...]] = {}
        self._left_out: dict[PlaneIndex, PictureError] = {}
        self._reader: PlaneReader | None = None
        self._as_objects = False
        self._painting = Painting(())
        labels.events.paint.connect(self._on_labels_paint)
        labels.events.data.connect(self._on_labels_data)
        labels.events.set_data.connect(self._on_labels_set_data)

    @property
    def labels(self) -> Labels | None:
        return self._labels()

    @property
    def left_out(self) -> str:
        """On which planes there were strokes, but nothing to learn from, in a sentence; empty when on none."""
        if not self._left_out or self._reader is None:
            return ""
        axes = self._reader.picture.leading
        at = [", ".join(str(i) for i, a in zip(k, axes, strict=True) if a != "C") for k in sorted(self._left_out)]
        slices = f"slice {at[0]}" if len(at) == 1 else f"slices {' and '.join(at)}"
        return f"the strokes on {slices} are left out: the image has no finite pixel there"

    def close(self) -> None:
        """Stop following the layer; what was taken stays valid."""
        if (labels := self.labels) is not None:
            labels.events.paint.disconnect(self._on_labels_paint)
            labels.events.data.disconnect(self._on_labels_data)
            labels.events.set_data.disconnect(self._on_labels_set_data)

    def take(self, reader: PlaneReader, class_names: tuple[str, ...] = (), as_objects: bool = False) -> Painting:
        """All strokes with the pixels under them; the very same object as before when nothing has changed.

        With ``as_objects`` 1 is background and every other number is an object. Planes without a finite pixel are left
        out; see `left_out`.

        Raises
        ------
        StrokesError
            Negative values, or more classes than can be learned.
        PictureError
            No painted plane has a finite pixel.
        """
        labels = self.labels
        if labels is None:
            return self._painting
        array = array_of(labels)
        changed, boxes = self._take_changed(array, reader, as_objects)
        try:
            while changed:
                index = min(changed)
                self._planes[index] = self._take_plane(array, index, boxes[index], reader)
                changed.discard(index)
        except BaseException:
            with self._lock:
                self._changed |= changed  # nothing is forgotten when a lazy plane cannot be read
            raise
        planes = tuple(p for _, found in sorted(self._planes.items()) for p in found)
        if self._left_out and not planes:
            raise next(iter(self._left_out.values()))
        old = self._painting
        if class_names != old.class_names or list(map(id, planes)) != list(map(id, old.planes)):
            self._painting = Painting(planes, class_names)
        return self._painting

    def take_labels(self, reader: PlaneReader) -> dict[PlaneIndex, np.ndarray]:
        """The painted planes (Y, X) of a picture, uint8, 0 = not painted; after `take`, which knows where they are."""
        found: dict[PlaneIndex, np.ndarray] = {}
        if (labels := self.labels) is None:
            return found
        array = array_of(labels)
        with self._lock:
            boxes = dict(self._boxes)
        for index, box in boxes.items():
            if (source := _picture_index(index, array.shape, reader.picture)) is not None:
                values = np.asarray(array[(*index, *box)])
                plane = found[source] = np.zeros(reader.picture.plane_shape, np.uint8)
                plane[box] = painted_objects(values) if self._as_objects else values
        return found

    def _take_changed(
        self, array: Any, reader: PlaneReader, as_objects: bool
    ) -> tuple[set[PlaneIndex], dict[PlaneIndex, Box]]:
        is_new = self._scan(array)
        with self._lock:
            if is_new or reader is not self._reader or as_objects is not self._as_objects:
                self._reader, self._as_objects, self._planes, self._left_out = reader, as_objects, {}, {}
                self._changed = set(self._boxes)
            changed, self._changed = self._changed, set()
            return changed, dict(self._boxes)

    def _scan(self, array: Any) -> bool:
        """Look for strokes that no event told of, where there may be some; whether this is the first look."""
        with self._lock:
            is_new, is_doubtful, is_known = not self._is_scanned, self._is_doubtful, bool(self._boxes)
            self._is_scanned, self._is_doubtful = True, False
        is_small = isinstance(array, np.ndarray) and array.nbytes <= RESCAN_BYTES
        if (is_doubtful and (is_small or not is_known)) or (is_new and not (self._is_empty and is_known)):
            try:
                found = dict(_find_paint(array))
            except BaseException:
                self._is_scanned = self._is_scanned and not is_new  # a lazy plane that cannot be read now may be later
                raise
            with self._lock:
                for index, box in found.items():
                    self._touch(index, box)
        return is_new

    def _take_plane(self, array: Any, index: PlaneIndex, box: Box, reader: PlaneReader) -> tuple[PaintedPlane, ...]:
        source = _picture_index(index, array.shape, reader.picture)
        if source is None:
            return ()
        values = np.array(array[(*index, *box)])  # a copy: the user may be painting it
        if self._as_objects:
            values = painted_objects(values)
        if values.size and (values.min() < 0 or values.max() > MAXIMUM_CLASS):
            if values.min() >= 0:  # in few words: all of them fit into the status line
                raise StrokesError(
                    f"the strokes hold {values.max()}: use classes 1 to {MAXIMUM_CLASS}, or, if numbers are objects, "
                    "tick 'objects of' and then 'strokes are objects' below Apply"
                )
            raise StrokesError(
                f"the strokes hold values from {values.min()} to {values.max()}: use 0 = not painted "
                f"and classes 1 to {MAXIMUM_CLASS}"
            )
        strokes = Strokes.of_plane(values, self._made_on(index, box, values)).shifted(-box[0].start, -box[1].start)
        old = {(p.key, *_bounds(p.strokes)): p for p in self._planes.get(index, ())}
        self._left_out.pop(index, None)
        try:
            return tuple(_reused(p, old) for p in painted_planes(strokes, source, reader))
        except PictureError as error:
            self._left_out[index] = error
            return ()

    def _made_on(self, index: PlaneIndex, box: Box, values: np.ndarray) -> np.ndarray | None:
        """What a model marked in a box of a plane, 0 elsewhere; None where it marked nothing."""
        labels = self.labels
        dots = made_on(labels).get(index) if labels is not None else None
        if dots is None:
            return None
        made, yx = np.zeros_like(values), dots.yx - [s.start for s in box]
        inside = np.all((yx >= 0) & (yx < values.shape), 1)
        made[tuple(yx[inside].T)] = dots.classes[inside]
        return made

    def _touch(self, index: PlaneIndex, box: Box) -> None:
        old = self._boxes.get(index, box)
        self._boxes[index] = (_united(old[0], box[0]), _united(old[1], box[1]))
        self._changed.add(index)

    def _on_labels_paint(self, event: Any) -> None:
        with self._lock:
            for atom in event.value:
                for index, box in _touched(atom):
                    self._touch(index, box)
        self._on_change()

    def _on_labels_data(self, event: Any = None) -> None:
        with self._lock:
            self._is_scanned = self._is_empty = False
            self._boxes, self._changed = {}, set()
        self._on_change()

    def _on_labels_set_data(self, event: Any = None) -> None:
        """An undo changes pixels without a paint event inside what was painted, who writes into the array anywhere."""
        with self._lock:
            self._is_doubtful = True
            self._changed |= set(self._boxes)
        self._on_change()


def _find_paint(array: Any) -> Iterator[tuple[PlaneIndex, Box]]:
    """Bounding boxes of what is painted, plane by plane."""
    for index in np.ndindex(*array.shape[:-2]):
        plane = np.asarray(array[index])
        if plane.any():
            yield index, (_extent(np.any(plane, axis=1)), _extent(np.any(plane, axis=0)))


def _extent(mask: Any) -> slice:
    where = np.flatnonzero(mask)
    return slice(int(where[0]), int(where[-1]) + 1)


def _united(a: slice, b: slice) -> slice:
    return slice(min(a.start, b.start), max(a.stop, b.stop))


def _touched(atom: Any) -> Iterator[tuple[PlaneIndex, Box]]:
    """Planes and boxes of one entry of napari's paint history: slices (napari >= 0.8) or an index array per axis."""
    key = getattr(atom, "slice_key", None)
    if key is None:
        key = [slice(int(np.min(i)), int(np.max(i)) + 1) for i in atom[0] if np.size(i)]
    key = [k if isinstance(k, slice) else slice(int(k), int(k) + 1) for k in key]
    if len(key) >= 2:
        for index in product(*(range(s.start, s.stop) for s in key[:-2])):
            yield index, (key[-2], key[-1])


def _picture_index(index: PlaneIndex, labels_shape: tuple[int, ...], picture: Picture) -> PlaneIndex | None:
    """The plane of ``picture`` under a plane of the labels; None when it belongs to a channel that is not on display."""
    if picture.channel is None:
        return index
    c = picture.leading.index("C")
    if tuple(labels_shape) != picture.shape and index[c] != picture.channel:
        return None
    return (*index[:c], picture.channel, *index[c + 1 :])


def painted_planes(strokes: Strokes, index: PlaneIndex, reader: PlaneReader) -> Iterator[PaintedPlane]:
    """The plane with its strokes, or crops of it when it is large."""
    if not len(strokes):
        return
    shape = reader.picture.plane_shape
    intensity = reader.take_intensity(index)
    blocks = np.zeros(len(strokes), int) if max(shape) <= WHOLE_PX else (strokes.yx // BLOCK_PX) @ [1 << 20, 1]
    for block in np.unique(blocks):
        part = strokes.only(blocks == block)
        box = (slice(0, shape[0]), slice(0, shape[1]))
        if max(shape) > WHOLE_PX:
            low, high = part.yx.min(0), part.yx.max(0) + 1
            box = tuple(_around(a, b, n) for a, b, n in zip(low, high, shape, strict=True))  # type: ignore[assignment]
        image = reader.picture.take_plane(index, box)
        yield PaintedPlane(key_of(image, intensity), image, part.shifted(box[0].start, box[1].start), intensity)


def _around(low: int, high: int, n: int) -> slice:
    """A margin about [low, high), on a grid so that a few more strokes do not move it."""
    return slice(
        max(0, (int(low) - MARGIN_PX) // GRID_PX * GRID_PX), min(n, -(-(int(high) + MARGIN_PX) // GRID_PX) * GRID_PX)
    )


def _bounds(strokes: Strokes) -> tuple[int, bytes, bytes, bytes]:
    marks = b"" if strokes.marks is None else strokes.marks.tobytes()
    return len(strokes), strokes.yx.tobytes(), strokes.classes.tobytes(), marks


def _reused(plane: PaintedPlane, old: dict[Any, PaintedPlane]) -> PaintedPlane:
    return old.get((plane.key, *_bounds(plane.strokes)), plane)
