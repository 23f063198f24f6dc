"""The named, coloured classes of a strokes layer, kept with the layer itself. Knows no Qt and no worker."""

from __future__ import annotations

import importlib

import napari
import numpy as np
import psutil
from napari.layers import Image, Labels

from napari_fewshot.core.card import ClassLabel
from napari_fewshot.core.picture import Picture
from napari_fewshot.ui.layers import plan_region, strokes_shapes, take_largest
from napari_fewshot.ui.results import (
    MEMORY_SHARE,
    METADATA,
    Place,
    ResultStack,
    class_colours,
    default_class,
)

CLASSES = "classes"
MOST_CLASSES = 20  # a higher number is taken for an object, not a class
PAINTED_ON = "painted_on"


def classes_of(labels: Labels) -> tuple[ClassLabel, ...]:
    """The classes of a layer: as named here before; of a result those of its model; else background and object."""
    known = labels.metadata.get(METADATA, {}).get(CLASSES)
    if has_classes(labels):
        return tuple(ClassLabel(**c) for c in known)
    names = known or (default_class(1).name, default_class(2).name)  # alone: the colours are those of the layer
    return tuple(ClassLabel(name, _colour_of(labels, k)) for k, name in enumerate(names, 1))


def is_brought(labels: Labels) -> bool:
    """Whether a layer is the user's own: neither made here, nor its classes named here."""
    return labels.metadata.get(METADATA, {}).keys() <= {CLASSES} and not has_classes(labels)


def count_classes(labels: Labels, viewer: napari.Viewer) -> None:
    """Know the classes of a layer that the user brought by the largest number on display."""
    if is_brought(labels):
        know_class(labels, take_largest(labels, viewer))


def know_class(labels: Labels, k: int) -> None:
    """Make ``k`` a class, and those below it, of a layer whose colours are the user's own."""
    n = len(classes_of(labels))
    if n < k <= MOST_CLASSES:
        names = [c.name for c in classes_of(labels)] + [default_class(i).name for i in range(n + 1, k + 1)]
        labels.metadata = {**labels.metadata, METADATA: {**labels.metadata.get(METADATA, {}), CLASSES: names}}


def _colour_of(labels: Labels, k: int) -> str:
    colour = np.asarray(labels.colormap.map(k)).ravel()
    return "#" + "".join(f"{round(255 * c):02x}" for c in colour[:3]) if colour[3] > 0 else default_class(k).color


def has_classes(labels: Labels) -> bool:
    """Whether a layer was made, or its classes named, by this plugin for painting."""
    known = labels.metadata.get(METADATA, {}).get(CLASSES)
    return bool(known) and isinstance(known[0], dict)


def name_classes(labels: Labels, classes: tuple[ClassLabel, ...]) -> None:
    """Keep the classes with the layer and paint it in their colours."""
    about = {CLASSES: [{"name": c.name, "color": c.color} for c in classes]}
    labels.metadata = {**labels.metadata, METADATA: {**labels.metadata.get(METADATA, {}), **about}}
    selected = labels.selected_label
    labels.colormap = class_colours(classes)
    labels.selected_label = selected


def name_image(labels: Labels, image: Image) -> None:
    """Keep with a strokes layer on which image it is painted."""
    about = {PAINTED_ON: {"name": image.name, "id": str(image.unique_id)}}
    labels.metadata = {**labels.metadata, METADATA: {**labels.metadata.get(METADATA, {}), **about}}


def is_made_for(labels: Labels, image: Image) -> bool:
    """Whether a strokes layer was made for ``image``; one that the user brought was made for none."""
    return labels.metadata.get(METADATA, {}).get(PAINTED_ON, {}).get("id") == str(image.unique_id)


def other_image(labels: Labels, image: Image | None) -> str | None:
    """The name of the image that a strokes layer was made for, where that is not ``image``."""
    known = labels.metadata.get(METADATA, {}).get(PAINTED_ON)
    return None if known is None or (image is not None and is_made_for(labels, image)) else str(known["name"])


def warm_up() -> None:
    """Import what napari needs for the first labels layer of a session, which takes most of a second.

    To make such a layer would do it too, but two threads that make layers get into each other's way (in pint).
    """
    for module in ("pandas", "skimage.color"):
        importlib.import_module(module)


def new_strokes_layer(viewer: napari.Viewer, image: Image, picture: Picture) -> Labels:
    """An empty labels layer exactly over ``image``, all its channels included, on top, with the brush in hand."""
    limit = MEMORY_SHARE * psutil.virtual_memory().available
    shape = strokes_shapes(picture)[-1]
    stack = ResultStack(shape, np.uint8, limit)
    place = Place.of_layer(image).over((0.0,) * len(shape))
    labels = Labels(stack.array, name=f"{image.name} strokes", opacity=0.8, **place)
    name_classes(labels, (default_class(1), default_class(2)))
    name_image(labels, image)
    region = plan_region(image, viewer, picture)
    viewer.add_layer(labels)
    visible_px = min(s.stop - s.start for s in region.box)
    labels.brush_size = int(np.clip(round(visible_px / 80), 2, 20))
    labels.selected_label = 1
    labels.mode = "paint"
    return labels
