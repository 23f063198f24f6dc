"""Guiding the user through a stack: surveys, the next place to paint, when a slice is propagated. Draws no widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import napari
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_fewshot.compute.events import End, Failed, Finished, Lost, PlaneDone, Progress, Surveyed
from napari_fewshot.core.errors import FewshotError, ModelError, PictureError
from napari_fewshot.core.guide import Seen, Spot, curve_of, leading_axis, next_spot, ranked
from napari_fewshot.core.job import Job, Survey
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.strokes import Painting
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.classes import name_image
from napari_fewshot.ui.layers import (
    PlaneReader,
    current_index,
    plan_region,
    same_array,
    show_box,
    show_plane,
    take_picture,
)
from napari_fewshot.ui.learning import LearnedDots
from napari_fewshot.ui.left_out import note_left_out
from napari_fewshot.ui.others import OtherStrokes
from napari_fewshot.ui.painted import PaintedPlanes
from napari_fewshot.ui.propagating import Propagation
from napari_fewshot.ui.results import Place
from napari_fewshot.ui.scene import Params, Scene, take_scene
from napari_fewshot.ui.work import Work, with_notes

SURVEY_S = 3.0  # of looking around, after the first answer


class Guiding(QObject):
    """Guards that one survey or propagation runs at a time and that *Next* never shows a place twice in a row.

    What a survey saw is used until a stroke, the model or the image changes.
    """

    started = Signal(object)  # Work
    progressed = Signal(int, object, object)  # looks or slices done, in all, seconds left or None
    seen_changed = Signal()
    ended = Signal()
    said = Signal(str, bool)

    def __init__(self, viewer: napari.Viewer, bridge: Bridge, read: Callable[[], Params], parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._bridge, self._read = viewer, bridge, read
        self.learned = LearnedDots(viewer)
        self.seen: list[Seen] = []
        self.work: Work | None = None
        self.learns = False
        self._others = OtherStrokes(viewer, lambda: None, self)
        self._others.said.connect(self.said)
        self._scene: Scene | None = None
        self._planes: PaintedPlanes | None = None
        self._shown: list[Spot] = []
        self._about: tuple[object, ...] | None = None  # what `seen` is about, and the strokes it knows
        self._painting: Painting | None = None

    @property
    def is_running(self) -> bool:
        return self.work is not None and self.work.is_running

    @property
    def _notes(self) -> Sequence[str]:
        return () if self.work is None else self.work.notes

    @property
    def curve(self) -> tuple[list[int], list[float]]:
        """Slices along the stack that were looked at and the quality expected there; empty for a single plane."""
        axis = None if self._scene is None else leading_axis(self._scene.picture)
        if axis is None:
            return [], []
        positions, quality = curve_of(self.seen, axis)
        return positions.tolist(), quality.tolist()

    @property
    def here(self) -> int | None:
        """The slice on display, None for a single plane."""
        scene = self._scene
        axis = None if scene is None else leading_axis(scene.picture)
        if scene is None or axis is None or scene.image not in self._viewer.layers:
            return None
        return current_index(scene.image, self._viewer, scene.picture)[axis]

    def next(self) -> None:
        """Show where a stroke helps most now; looks around first when something has changed since the last time."""
        params = self._read()
        if self.seen and self._scene is not None and self._about == _about(params, self.learns, self._picture(params)):
            self._bridge.call(partial(_painting_of, self._scene), partial(self._on_painting_taken, params))
        else:
            self._survey(params)

    def go_to_slice(self, position: int) -> None:
        """Show a slice of the stack that was looked at."""
        scene = self._scene
        axis = None if scene is None else leading_axis(scene.picture)
        if scene is not None and axis is not None and scene.image in self._viewer.layers:
            index = list(current_index(scene.image, self._viewer, scene.picture))
            index[axis] = position
            show_plane(scene.image, self._viewer, tuple(index))

    def propagate(self) -> None:
        """Carry what is known of the slice on display through the stack, both ways, until the quality drops."""
        params = self._read()
        scene = self._begin(params)
        if scene is None:
            return
        try:
            run = Propagation(scene, self._viewer)
        except FewshotError as error:
            self.said.emit(str(error), True)
            return
        read = self._bridge.models.read
        work = self.work = self._bridge.submit(lambda: run.make_job(read(params.model), params), run.title)
        work.plane_done.connect(partial(self._on_work_plane_done, run))
        work.ended.connect(partial(self._on_propagation_ended, run))
        self._watch(work)

    def accept(self) -> Labels | None:
        """Make strokes of what was learned from unpainted slices, together with the painted ones; the new layer.

        None, and the reason told, when another image was chosen since.
        """
        scene, image = self._scene, self._read().image
        if scene is not None and (image is not scene.image or not same_array(image, scene.picture.data)):
            name = scene.picture.name
            self.said.emit(
                f"the marks were learned on '{name}', not on this image: choose it again or reject them", True
            )
            return None
        strokes = self._planes.labels if self._planes is not None else None
        layer = self.learned.accept(strokes)
        if layer is not None and scene is not None:
            name_image(layer, scene.image)
        return layer

    def stop(self) -> None:
        """End what runs; what was seen or done stays."""
        if self.work is not None and self.work.is_running:
            self._bridge.stop(self.work)

    def _begin(self, params: Params) -> Scene | None:
        """The scene of a new job; None, and the reason told, when there cannot be one."""
        if self.is_running:
            self.said.emit("a survey or a propagation runs already: wait or stop it first", False)
            return None
        try:
            if not TASKS[params.task].needs_strokes:
                raise ModelError("only a segmentation is guided: choose the task Segmentation")
            scene = self._take_scene(params)
        except FewshotError as error:
            self.said.emit(str(error), True)
            return None
        self._follow(params.labels)
        scene.painted = self._planes
        scene.others = self._others.renew(scene.image, params.labels, params.other_images)
        scene.renew_classes()
        self._scene = scene
        return scene

    def _take_scene(self, params: Params) -> Scene:
        """With the strokes of the form, or without any where the model knows its classes already."""
        card, image = self._bridge.models.card(params.model), params.image
        if image is None or params.labels is not None or not card.classes:
            return take_scene(params, card, self._viewer, self._scene)
        picture = take_picture(image, self._viewer)
        picture.check_size()
        region = plan_region(image, self._viewer, picture)
        return Scene(image, picture, Place.of_layer(image), PlaneReader(picture), card, region)

    def _follow(self, labels: Labels | None) -> None:
        """Watch the strokes of a labels layer, or none."""
        if self._planes is not None and self._planes.labels is not labels:
            self._planes.close()
            self._planes = None
        if self._planes is None and labels is not None:
            self._planes = PaintedPlanes(labels, lambda: None)

    def _survey(self, params: Params) -> None:
        scene = self._begin(params)
        if scene is None:
            return
        about = _about(params, self.learns, scene.picture)
        # the last place is not shown again at once, although something was painted
        self.seen, self._shown, self._about = [], self._shown[-1:] if about == self._about else [], about
        self.learned.follow(scene.picture, scene.place, scene.card)
        self.seen_changed.emit()
        here = current_index(scene.image, self._viewer, scene.picture)
        work = self.work = self._bridge.submit(
            partial(self._make_survey, params, scene, here),
            f"looking for the next place to paint on {scene.place.name}",
        )
        work.surveyed.connect(self._on_work_surveyed)
        work.ended.connect(self._on_survey_ended)
        self._watch(work)

    def _picture(self, params: Params) -> Picture | None:
        """What the image shows now; None where it cannot be worked on, of which the next survey tells."""
        with suppress(PictureError):
            return None if params.image is None else take_picture(params.image, self._viewer)
        return None

    def _watch(self, work: Work) -> None:
        work.progressed.connect(self._on_work_progressed)
        work.noted.connect(lambda message: self.said.emit(message, False))
        note_left_out(self._bridge, work, self._planes)
        self.started.emit(work)

    def _make_survey(self, params: Params, scene: Scene, here: PlaneIndex) -> Job:
        model = self._bridge.models.read(params.model)
        self._painting = _painting_of(scene)
        return Survey(model, scene.picture, self._painting, here, SURVEY_S, self.learns, params.seed)

    def _go(self, spot: Spot | None, notes: Sequence[str] = ()) -> None:
        scene = self._scene
        if spot is None or scene is None or scene.image not in self._viewer.layers:
            self.said.emit("there is no place to suggest: the image is gone or was not looked at", False)
            return
        self._shown.append(spot)
        show_box(scene.image, self._viewer, scene.picture, spot.index, spot.box)
        at = [str(i) for i, axis in zip(spot.index, scene.picture.leading, strict=True) if axis != "C"]
        where = "here" if leading_axis(scene.picture) is None else f"slice {', '.join(at)}"
        sentence = f"{where}: correct what is wrong in the middle of the view, then press Next again"
        self.said.emit(with_notes(sentence, notes), False)

    def _on_painting_taken(self, params: Params, painting: Painting | None, error: Exception | None) -> None:
        """Go on with what was seen while nobody painted; the painting is the same object then."""
        if error is None and painting is self._painting:
            self._go(next_spot(ranked(self.seen), self._shown))
        elif not self.is_running:
            self._survey(params)

    def _on_work_surveyed(self, event: Surveyed) -> None:
        self.seen.append(event.seen)
        if self.learns and event.seen.learned is not None:
            try:
                self.learned.add(event.seen.look.index, event.seen.learned)
            except FewshotError as error:
                self.stop()
                self.said.emit(str(error), True)
        self.seen_changed.emit()

    def _on_work_progressed(self, event: Progress) -> None:
        self.progressed.emit(event.done, event.total, event.seconds_left)

    def _on_work_plane_done(self, run: Propagation, event: PlaneDone) -> None:
        if not run.land(event):
            self.stop()

    def _on_survey_ended(self, end: End) -> None:
        if isinstance(end, Failed | Lost):
            self._about = None
            self.said.emit(end.message, True)
        elif isinstance(end, Finished):
            self._go(next_spot(ranked(self.seen), self._shown), self._notes)
        else:
            self.said.emit(f"stopped: {len(self.seen)} places were looked at", False)
        self.ended.emit()

    def _on_propagation_ended(self, run: Propagation, end: End) -> None:
        sentence, is_failure = run.finish(end)
        self.said.emit(sentence if is_failure else with_notes(sentence, self._notes), is_failure)
        self.ended.emit()


def _painting_of(scene: Scene) -> Painting | None:
    """All strokes; None without a layer of them."""
    return None if scene.painted is None else scene.take_painting()


def _about(params: Params, learns: bool, picture: Picture | None) -> tuple[object, ...]:
    """Two surveys about the same see the same, as long as no stroke changes."""
    shown = None if picture is None else (id(picture.data), picture.channel)
    strokes = params.labels, params.paints_objects, params.other_images
    return params.image, shown, strokes, params.model, params.task, learns
