"""Strokes on the other open images, which may be learned from together with those of a job. Knows no worker and no form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import napari
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_fewshot.core.errors import FewshotError, PictureError
from napari_fewshot.core.strokes import PaintedPlane, Painting
from napari_fewshot.ui.classes import is_made_for
from napari_fewshot.ui.layers import PlaneReader, same_array, take_picture
from napari_fewshot.ui.painted import PaintedPlanes
from napari_fewshot.ui.placing import check_channel, check_place, check_strokes


class Other(NamedTuple):
    """An image and the strokes that were made for it."""

    painted: PaintedPlanes
    reader: PlaneReader

    @property
    def name(self) -> str:
        return self.reader.picture.name


class OtherStrokes(QObject):
    """Follows strokes on other images. Guards that one that cannot be used is left out, and that this is said.

    Of each image the topmost strokes layer counts that was made for it. ``join`` and nothing else runs off the GUI thread;
    ``on_change`` is called on it after every stroke.
    """

    said = Signal(str, bool)

    def __init__(self, viewer: napari.Viewer, on_change: Callable[[], None], parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._on_change = viewer, on_change
        self._own: tuple[str, ...] | None = None  # ids of the job's image and strokes; None: others do not count
        self._others: dict[str, Other] = {}  # by the id of their strokes layer
        self._left_out: tuple[str, ...] = ()
        self._last_said = ""
        self._joined = Painting(())
        self._layers_timer = QTimer(self, singleShot=True, interval=0)  # napari is not done with a new layer before
        self._layers_timer.timeout.connect(self._follow)
        viewer.layers.events.inserted.connect(self._on_layers_changed)
        viewer.layers.events.removed.connect(self._on_layers_changed)

    @property
    def spoken(self) -> str:
        """What a job's title says of them."""
        names = [f"'{other.name}'" for other in self._others.values()]
        return f", with the strokes on {' and '.join(names)}" if names else ""

    def renew(self, image: Image, labels: Labels | None, are_wanted: bool) -> OtherStrokes:
        """Follow those beside an image and its strokes from now on, or none."""
        own = (str(layer.unique_id) for layer in (image, labels) if layer is not None)
        self._own = tuple(own) if are_wanted else None
        self._follow()
        return self

    def close(self) -> None:
        """Follow none any more."""
        self._own = None
        self._follow()

    def join(self, own: Painting, as_objects: bool) -> Painting:
        """All strokes together; the very same object as before when nothing has changed."""
        planes, left_out = list(own.planes), list(self._left_out)
        for other in tuple(self._others.values()):
            try:
                planes += _take(other, as_objects)
            except FewshotError as error:
                left_out.append(str(error))
        self._say("strokes on other images left out: " + "; ".join(left_out) if left_out else "")
        if len(planes) == len(own.planes):
            return own
        old = self._joined
        if own.class_names != old.class_names or list(map(id, planes)) != list(map(id, old.planes)):
            self._joined = Painting(tuple(planes), own.class_names)
        return self._joined

    def _say(self, sentence: str) -> None:
        """Once, as strokes are joined time and again."""
        if sentence and sentence != self._last_said:
            self.said.emit(sentence, False)
        self._last_said = sentence

    def _follow(self) -> None:
        others, left_out = {}, []
        for labels, image in self._pairs():
            try:
                others[str(labels.unique_id)] = self._other(labels, image)
            except FewshotError as error:
                left_out.append(str(error))
        for key, old in self._others.items():
            if others.get(key) is not old:
                old.painted.close()
        if others != self._others:
            self._joined = Painting(())  # nothing of a removed image is kept
        self._others, self._left_out = others, tuple(left_out)

    def _pairs(self) -> Iterator[tuple[Labels, Image]]:
        if self._own is None:
            return
        free = [layer for layer in reversed(self._viewer.layers) if str(layer.unique_id) not in self._own]
        for image in free:
            if isinstance(image, Image):
                made = (labels for labels in free if isinstance(labels, Labels) and is_made_for(labels, image))
                yield from ((labels, image) for labels in list(made)[:1])

    def _other(self, labels: Labels, image: Image) -> Other:
        """What is followed already, or a new one where the image shows something else now."""
        picture, old = take_picture(image, self._viewer), self._others.get(str(labels.unique_id))
        picture.check_size()
        check_strokes(labels, picture)
        check_channel(labels, image, picture)
        check_place(labels, image)
        if (
            old is not None
            and same_array(image, old.reader.picture.data)
            and old.reader.picture.channel == picture.channel
        ):
            return old
        return Other(PaintedPlanes(labels, self._on_change), PlaneReader(picture))

    def _on_layers_changed(self, event: object = None) -> None:
        if self._own is not None:
            self._layers_timer.start()


def _take(other: Other, as_objects: bool) -> tuple[PaintedPlane, ...]:
    """The strokes on another image; whatever its reader may raise leaves it out."""
    try:
        return other.painted.take(other.reader, (), as_objects).planes
    except FewshotError:
        raise
    except Exception as error:
        raise PictureError(f"'{other.name}' cannot be read ({type(error).__name__}: {error})") from error
