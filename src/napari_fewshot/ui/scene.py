"""What the form says and what a job sees: the picture, the region on display, the pixels to learn from. Knows no Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import PictureError, StrokesError
from napari_fewshot.core.job import STROKES_ALONE, Budget, Extras
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.restoring import AS_TRAINED, Regions, Restoring
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.strokes import Painting
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.classes import classes_of
from napari_fewshot.ui.layers import (
    PlaneReader,
    Region,
    plan_region,
    same_array,
    take_picture,
)
from napari_fewshot.ui.others import OtherStrokes
from napari_fewshot.ui.painted import PaintedPlanes
from napari_fewshot.ui.placing import check_channel, check_place, check_strokes, check_target, check_target_place
from napari_fewshot.ui.results import Place

PAIR_PX = 2048  # a side of the planes a restoration learns from
N_PAIRS = 4


@dataclass(frozen=True, eq=False)
class Params:
    """What the dock's form said when the button was pressed."""

    task: str
    model: str
    image: Image | None
    labels: Labels | None = None
    target: Image | Labels | None = None  # a labels layer declares regions good
    budget: Budget = Budget()
    seed: int = 0
    confidence: bool = False
    paints_objects: bool = False
    restoring: Restoring = AS_TRAINED
    extras: Extras = STROKES_ALONE
    other_images: bool = False  # whether strokes on other open images are learned from too


@dataclass(eq=False)
class Scene:
    """The picture a job works on, read from its layer once, and the strokes painted on it."""

    image: Image
    picture: Picture
    place: Place
    reader: PlaneReader
    card: ModelCard  # with the classes of the strokes layer: what previews are coloured by
    region: Region
    painted: PaintedPlanes | None = None
    paints_objects: bool = False
    others: OtherStrokes | None = None

    def take_painting(self) -> Painting:
        """All strokes of the job, off the GUI thread, the very same object while nothing changes; see `PaintedPlanes.take`."""
        if self.painted is None:
            raise StrokesError("there is no strokes layer: press 'New strokes layer' and paint at least two classes")
        names = tuple(c.name for c in self.card.classes)
        if self.paints_objects:
            names = (*names, *("background", "object")[len(names) :])[:2]
        painting = self.painted.take(self.reader, names, self.paints_objects)
        return painting if self.others is None else self.others.join(painting, self.paints_objects)

    def renew_classes(self) -> None:
        """Name and colour the classes as the strokes layer does now."""
        labels = self.painted.labels if self.painted is not None else None
        if labels is not None:
            classes = classes_of(labels)
            self.card = replace(self.card, classes=classes + self.card.classes[len(classes) :])

    def finish(self, model: ModelFile) -> ModelFile:
        """A fine-tuned model with the names and colours its classes are painted in."""
        known = model.card.classes
        classes = self.card.classes[: len(known)] + known[len(self.card.classes) :]
        return model if classes == known else ModelFile.sealed(replace(model.card, classes=classes), model.weights)


def take_scene(params: Params, card: ModelCard, viewer: napari.Viewer, old: Scene | None) -> Scene:
    """Check what can be checked at once, and read nothing yet; intensities already measured are kept.

    Raises
    ------
    PictureError
        No image, one that cannot be worked on, or a target that does not fit it.
    StrokesError
        No strokes layer, or one of another shape or for another channel.
    """
    image = params.image
    if image is None:
        raise PictureError("there is no image layer: open a micrograph, for example with File > Open Sample")
    picture = take_picture(image, viewer)
    picture.check_size()
    if TASKS[params.task].needs_strokes:
        labels = check_strokes(params.labels, picture)
        check_channel(labels, image, picture)
        check_place(labels, image)
    elif isinstance(params.target, Labels):
        check_strokes(params.target, picture)
        check_place(params.target, image)
    elif params.target is not None:
        check_target(params.target, picture, card.factor)
        check_target_place(params.target, image, card.factor)
    is_same = old is not None and same_array(image, old.picture.data) and old.picture.channel == picture.channel
    reader = old.reader if old is not None and is_same else PlaneReader(picture)
    region = plan_region(image, viewer, picture)
    return Scene(image, picture, Place.of_layer(image), reader, card, region, paints_objects=params.paints_objects)


def take_pairs(region: Region, target: Any, factor: int) -> tuple[tuple[np.ndarray, np.ndarray | None], ...]:
    """(Y, X) planes to learn a restoration from: the one on display and a few of the stack, with their targets.

    A target of one plane, such as the mean of a series, is that of all planes. Without a target the planes are neighbours,
    two by two: where they show the same scene, each is an answer to the other.
    """
    picture = region.picture
    box = tuple(_middle(s, n) for s, n in zip(region.box, picture.plane_shape, strict=True))
    fine = tuple(slice(s.start * factor, s.stop * factor) for s in box)
    pairs: list[tuple[np.ndarray, np.ndarray | None]] = []
    indices = _spread(picture, region.index)
    for index in indices if target is not None else _neighbours(picture, indices[: N_PAIRS // 2]):
        plane = picture.take_plane(index, (box[0], box[1]))
        pairs.append((plane, None if target is None else np.asarray(target[(*_beside(picture, index, target), *fine)])))
    return tuple(pairs)


def take_regions(region: Region, labels: Any) -> tuple[tuple[np.ndarray, Regions], ...]:
    """The plane on display, and others of the stack, with what is declared good of them; few, and those with something.

    Raises
    ------
    PictureError
        Nothing is painted.
    """
    picture, found = region.picture, []
    box = tuple(_middle(s, n) for s, n in zip(region.box, picture.plane_shape, strict=True))
    for index in (region.index, *(i for i in picture.plane_indices() if i != region.index)):
        declared = np.asarray(labels[(*_beside(picture, index, labels), *box)])
        if declared.any():
            found.append((picture.take_plane(index, (box[0], box[1])), Regions(declared)))
        if len(found) == N_PAIRS:
            break
    if not found:
        raise PictureError("no good region is painted: paint background with 1, or structure with 2")
    return tuple(found)


def _beside(picture: Picture, index: PlaneIndex, target: Any) -> PlaneIndex:
    """Where a target has the plane that belongs to plane ``index`` of a picture; see `check_target`."""
    if target.ndim == 2:
        return ()
    has_all = tuple(target.shape[:-2]) == tuple(picture.data.shape[: len(index)])
    return index if has_all else picture.result_index(index)


def _neighbours(picture: Picture, indices: list[PlaneIndex]) -> list[PlaneIndex]:
    """Each plane followed by its neighbour along the last leading axis, where there is one; none twice."""
    every = list(picture.plane_indices())
    found: list[PlaneIndex] = []
    for index in indices:
        at = every.index(index)
        beside = every[at + 1] if at + 1 < len(every) and every[at + 1][:-1] == index[:-1] else every[max(at - 1, 0)]
        found += [i for i in (index, beside) if i not in found]
    return found


def _spread(picture: Picture, index: PlaneIndex) -> list[PlaneIndex]:
    others = [i for i in picture.plane_indices() if i != index]
    step = max(1, len(others) // (N_PAIRS - 1))
    return [index, *others[step // 2 :: step][: N_PAIRS - 1]]


def _middle(s: slice, n: int) -> slice:
    length = min(PAIR_PX, n)
    start = int(np.clip((s.start + s.stop - length) // 2, 0, n - length))
    return slice(start, start + length)
