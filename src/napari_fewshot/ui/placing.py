"""Whether strokes and targets fit their image: shape, channel, place. Knows no strokes and no job."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_fewshot.core.errors import PictureError, StrokesError
from napari_fewshot.core.picture import Picture
from napari_fewshot.ui.layers import array_of, fits_strokes, same_array, strokes_shapes

MISPLACED_PX = 0.51  # half a pixel may be a matter of corners and centres


def check_strokes(labels: Labels | None, picture: Picture) -> Labels:
    """The layer itself, or StrokesError when it cannot hold strokes on ``picture``."""
    if labels is None:
        raise StrokesError("there is no strokes layer: press 'New strokes layer' and paint at least two classes")
    if labels.multiscale:
        raise StrokesError(f"'{labels.name}' is multiscale and cannot be painted: press 'New strokes layer'")
    if not fits_strokes(labels, picture):
        raise StrokesError(
            f"the strokes '{labels.name}' have shape {tuple(array_of(labels).shape)}, the image '{picture.name}' "
            f"{strokes_shapes(picture)[-1]}: choose another strokes layer or press 'New strokes layer'"
        )
    return labels


def check_channel(labels: Labels, image: Image, picture: Picture) -> None:
    """Raise StrokesError when strokes for one channel alone lie on another than that on display."""
    if picture.channel is None or tuple(array_of(labels).shape) == strokes_shapes(picture)[-1]:
        return
    first = image.world_to_data(labels.data_to_world((0,) * labels.ndim))
    at = round(float(first[picture.leading.index("C")]))
    if at != picture.channel:
        raise StrokesError(
            f"the strokes '{labels.name}' lie on channel {at} of '{picture.name}', channel {picture.channel} is on display: "
            "go back to that channel or press 'New strokes layer'"
        )


def check_place(labels: Labels, image: Image) -> None:
    """Raise StrokesError when strokes lie elsewhere than their pixels."""
    if not lies_over(labels, image):
        raise StrokesError(
            f"the strokes '{labels.name}' do not lie over '{image.name}': one of them was moved or has another scale. Undo "
            "that, or press 'New strokes layer'"
        )


def check_target(target: Image, picture: Picture, factor: int) -> None:
    """Raise PictureError when a target image does not show the same field as ``picture``, ``factor`` times as fine.

    It has the same channels, or the one that is worked on alone, or is one plane for all.
    """
    if same_array(target, picture.data):
        raise PictureError(
            f"'{target.name}' is its own target, from which nothing is learned: choose a better image of the same field, "
            "or 'none' to adapt to the image alone"
        )
    if getattr(target, "rgb", False):
        raise PictureError(
            f"the target '{target.name}' has colours, a restoration learns grey levels: split it (right click, 'Split RGB') "
            "and choose one of its channels"
        )
    shape = tuple(array_of(target).shape)
    fine = tuple(n * factor for n in picture.plane_shape)
    wanted = (*strokes_shapes(picture)[-1][:-2], *fine)
    if shape not in (wanted, (*picture.shape[:-2], *fine), fine):
        raise PictureError(
            f"the target '{target.name}' has shape {shape}, '{picture.name}' needs {wanted}: choose another target, "
            "or 'none' to adapt to the image alone"
        )


def check_target_place(target: Image, image: Image, factor: int) -> None:
    """Raise PictureError when a target lies elsewhere than the pixels it is taken for."""
    if not lies_over(target, image, factor):
        raise PictureError(
            f"the target '{target.name}' does not lie over '{image.name}': one of them was moved or has another scale. Undo "
            "that, or choose another target"
        )


def lies_over(layer: Layer, image: Image, factor: int = 1) -> bool:
    """Whether a layer, ``factor`` times as fine as an image, is seen over it; one without a place of its own is taken by its pixels."""
    height, width = (n / factor for n in array_of(layer).shape[-2:])
    corners = ((0.0, 0.0), (height, 0.0), (0.0, width))
    fine = tuple((y * factor, x * factor) for y, x in corners)
    own, seen = _seen_at(layer, fine), _seen_at(image, corners)
    a_pixel = np.abs(seen[1] - seen[0]).max() / height
    return np.allclose(own, seen, rtol=0, atol=MISPLACED_PX * a_pixel) or np.array_equal(own, fine)


def _seen_at(layer: Layer, corners: tuple[tuple[float, float], ...]) -> np.ndarray:
    """(N, 2) where pixels of the first plane of a layer are on display."""
    others = (0.0,) * (layer.ndim - 2)
    return np.array([layer.data_to_world((*others, *corner))[-2:] for corner in corners])
