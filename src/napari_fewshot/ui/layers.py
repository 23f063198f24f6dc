"""What a napari layer holds, as pictures and regions of them. The only file that touches ``layer.data``; knows no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.intensity import Intensity, key_of
from napari_fewshot.core.job import View
from napari_fewshot.core.picture import MAXIMUM_AXES, Picture, PlaneIndex
from napari_fewshot.core.strokes import MAXIMUM_CLASS

VIEW_PX = 1024  # a side of what is previewed: the most a CPU answers while a user waits
LOOK_BYTES = 2**26  # of labels that are looked at without being asked for
Box = tuple[slice, slice]


def array_of(layer: Layer) -> Any:
    """The array behind an image or labels layer at full resolution, lazy where the layer's is."""
    return layer.data[0] if layer.multiscale else layer.data


def set_array(layer: Layer, values: Any) -> None:
    """Give ``layer`` another array; in place, and so without a new texture, where shape and dtype allow it."""
    data = layer.data
    if isinstance(data, np.ndarray) and data.shape == values.shape and data.dtype == values.dtype:
        data[...] = values
        layer.refresh(thumbnail=False, highlight=False, extent=False)
    else:
        layer.data = values


def same_array(layer: Layer, array: Any) -> bool:
    """Whether ``layer`` still shows ``array`` and not another one it was given since."""
    return array_of(layer) is array


def axes_of(layer: Layer) -> str:
    """One letter per axis of the layer's array, from ``axis_labels``; unnamed leading axes are Z, then T, then C.

    Y and X are the last two axes, as napari shows them.

    Raises
    ------
    PictureError
        More axes than can be worked on, fewer than two, or channels last in a layer that is not RGB.
    """
    n = layer.ndim
    if n < 2 or n > MAXIMUM_AXES:
        cure = "open it as an image" if n < 2 else "select a part of it first (for example layer.data[0])"
        raise PictureError(f"'{layer.name}' has {n} axes, 2 to {MAXIMUM_AXES} (T, C, Z, Y, X) can be worked on: {cure}")
    named = [_letter(label) for label in layer.axis_labels]
    if "C" in named[-2:]:
        raise PictureError(f"'{layer.name}' has its channels last: move that axis to the front, or open it as RGB")
    free = [a for a in "ZTCPQ" if a not in named[:-2]]
    leading = ""
    for letter in reversed(named[:-2]):
        leading = (letter if letter and letter not in leading else free.pop(0)) + leading
    return leading + "YX" + ("S" if getattr(layer, "rgb", False) else "")


def take_picture(layer: Image, viewer: napari.Viewer) -> Picture:
    """The picture a layer shows; a named channel axis is narrowed to the channel on display.

    Raises
    ------
    PictureError
        See `axes_of` and `Picture`.
    """
    axes = axes_of(layer)
    named_channel = "C" in [_letter(label) for label in layer.axis_labels]
    channel = _position(layer, viewer)[axes.index("C")] if named_channel else None
    return Picture(array_of(layer), axes, layer.name, channel)


def spoken(picture: Picture) -> str:
    """The name of a picture, and what is made of it where that is not plain."""
    if picture.is_rgb:
        return f"{picture.name} (RGB: its luminance)"
    return picture.name if picture.channel is None else f"{picture.name} (channel {picture.channel})"


def current_index(layer: Image, viewer: napari.Viewer, picture: Picture) -> PlaneIndex:
    """The plane of ``picture`` that the sliders stand at, the nearest one when they stand outside the layer."""
    index = list(_position(layer, viewer)[:-2])
    if picture.channel is not None:
        index[picture.leading.index("C")] = picture.channel
    return tuple(index)


@dataclass(frozen=True, eq=False)
class Region:
    """A box of one plane of a picture: cheap to plan, read only when it is taken."""

    picture: Picture
    index: PlaneIndex
    box: Box

    @property
    def origin(self) -> tuple[int, int]:
        return self.box[0].start, self.box[1].start

    @property
    def place(self) -> tuple[Any, ...]:
        """Two regions of one picture with the same place show the same pixels."""
        return (self.index, *((s.start, s.stop) for s in self.box))

    def take_pixels(self) -> np.ndarray:
        """(Y, X) pixels of the box."""
        return self.picture.take_plane(self.index, self.box)


def plan_region(layer: Image, viewer: napari.Viewer, picture: Picture) -> Region:
    """What is visible of the current plane, at most `VIEW_PX` a side around its middle.

    In 3D, and when other axes than Y and X are on display, it is the middle of the current plane.
    """
    low, high = _visible_bounds(layer, viewer, picture.plane_shape)
    box = tuple(_cut(a, b, n) for a, b, n in zip(low, high, picture.plane_shape, strict=True))
    return Region(picture, current_index(layer, viewer, picture), (box[0], box[1]))


def show_plane(layer: Layer, viewer: napari.Viewer, index: PlaneIndex) -> None:
    """Move the sliders to a plane of a layer's picture."""
    world = layer.data_to_world((*index, 0.0, 0.0))
    first = viewer.dims.ndim - layer.ndim
    axes = [axis for axis in range(len(index)) if first + axis not in viewer.dims.displayed]
    viewer.dims.set_point([first + axis for axis in axes], [float(world[axis]) for axis in axes])


def show_box(layer: Layer, viewer: napari.Viewer, picture: Picture, index: PlaneIndex, box: Box) -> None:
    """Move sliders and camera to a box of a plane; zoom only where it would be lost in the view or not fit into it."""
    show_plane(layer, viewer, index)
    low, high = _visible_bounds(layer, viewer, picture.plane_shape)
    first = viewer.dims.ndim - layer.ndim
    if viewer.dims.ndisplay != 2 or set(viewer.dims.displayed) != {first + layer.ndim - 2, first + layer.ndim - 1}:
        return
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera  # napari >= 0.9, before
    world = layer.data_to_world((*index, *((s.start + s.stop - 1) / 2 for s in box)))
    visible_px = min(float(b) - float(a) for a, b in zip(low, high, strict=True))
    wanted_px = max(s.stop - s.start for s in box)
    if not 1.5 <= visible_px / wanted_px <= 5:
        camera.zoom *= visible_px / (3 * wanted_px)
    camera.center = (0.0, float(world[-2]), float(world[-1]))


def copy_painted(source: Labels, target: Labels, picture: Picture) -> None:
    """Write all that is painted on a strokes layer into a labels layer over the same picture.

    Numbers of objects that are beyond those of classes become the last one: any number but 1 is an object.
    """
    painted, array = array_of(source), array_of(target)
    for index in picture.plane_indices():
        where = picture.result_index(index)
        plane = np.asarray(painted[where if tuple(painted.shape) == picture.shape else index])
        if plane.any():
            plane = np.minimum(plane.astype(np.int64), MAXIMUM_CLASS)
            array[where] = np.where(plane > 0, plane, np.asarray(array[where]))
    target.refresh(extent=False)


class PlaneReader:
    """Reads planes of one picture away from the GUI thread, measuring each plane's intensity only once."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self._intensities: dict[PlaneIndex, Intensity] = {}

    def take_intensity(self, index: PlaneIndex) -> Intensity:
        """The intensity of a whole plane, from the same strided sample as `Intensity.measure` without reading more."""
        if index not in self._intensities:
            self._intensities[index] = Intensity.measure(self.picture.take_sample(index))
        return self._intensities[index]

    def take_view(self, region: Region, confidence: bool = False) -> View:
        """Read a region for a preview; that of a plane without a finite pixel will be empty."""
        try:
            intensity = self.take_intensity(region.index)
        except PictureError:
            intensity = Intensity(0.0, 1.0)
        pixels = region.take_pixels()
        return View(region.index, region.origin, pixels, intensity, key_of(pixels, intensity), confidence)


def take_largest(labels: Labels, viewer: napari.Viewer) -> int:
    """The largest number of a labels layer, of the plane on display where looking at all of it would take long."""
    array = array_of(labels)
    is_small = isinstance(array, np.ndarray) and array.nbytes <= LOOK_BYTES
    seen = np.asarray(array if is_small else array[_position(labels, viewer)[:-2]])
    return int(seen.max(initial=0))


def strokes_shapes(picture: Picture) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes a labels layer over ``picture`` may have: that of the walked planes, and that of the whole array."""
    return picture.shape, tuple(picture.data.shape[: len(picture.axes.removesuffix("S"))])


def fits_strokes(labels: Labels, picture: Picture) -> bool:
    """Whether a labels layer can hold strokes on ``picture``."""
    return not labels.multiscale and tuple(array_of(labels).shape) in strokes_shapes(picture)


def _letter(label: str) -> str:
    name = label.strip().lower()
    known = {"t": "T", "time": "T", "z": "Z", "slice": "Z", "c": "C", "ch": "C", "channel": "C", "channels": "C"}
    return known.get(name, "")


def _position(layer: Layer, viewer: napari.Viewer) -> tuple[int, ...]:
    """Where the sliders stand, in pixels of the layer at full resolution, inside its bounds."""
    shape = array_of(layer).shape[: layer.ndim]
    position = layer.world_to_data(viewer.dims.point)
    return tuple(int(np.clip(np.rint(p), 0, n - 1)) for p, n in zip(position, shape, strict=True))


def _visible_bounds(
    layer: Image, viewer: napari.Viewer, plane_shape: tuple[int, int]
) -> tuple[Sequence[float], Sequence[float]]:
    first = viewer.dims.ndim - layer.ndim
    shown = {axis - first for axis in viewer.dims.displayed}
    corners = np.asarray(layer.corner_pixels, float)[:, -2:]
    if viewer.dims.ndisplay != 2 or shown != {layer.ndim - 2, layer.ndim - 1} or not corners.any():
        return (0, 0), plane_shape
    per_px = layer.downsample_factors[layer.data_level][-2:] if layer.multiscale else np.ones(2)
    return corners[0] * per_px, (corners[1] + 1) * per_px


def _cut(low: float, high: float, n: int) -> slice:
    """[low, high] within an axis of ``n`` px, at least 64 and at most `VIEW_PX` long, about its own middle."""
    low, high = np.clip([low, high], 0, n)
    length = int(min(max(np.ceil(high - low), 64), VIEW_PX, n))
    start = int(np.clip(np.rint((low + high - length) / 2), 0, n - length))
    return slice(start, start + length)
