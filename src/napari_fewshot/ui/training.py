"""Fine-tuning as a conversation: strokes and regions go to the worker, previews and versions come back. Draws no widget."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import napari
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_fewshot.compute.events import End, Failed, Finished, Lost, PlaneDone, Preview, Stopped
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.job import View
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.strokes import Painting
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.ahead import Lookout
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.layers import Region, plan_region, spoken
from napari_fewshot.ui.left_out import note_left_out
from napari_fewshot.ui.live import Live
from napari_fewshot.ui.models import NotSavedError
from napari_fewshot.ui.orders import Orders
from napari_fewshot.ui.others import OtherStrokes
from napari_fewshot.ui.painted import PaintedPlanes
from napari_fewshot.ui.preview import Answer, PreviewLayers
from napari_fewshot.ui.scene import Params, Scene, take_scene
from napari_fewshot.ui.work import Work

SETTLE_MS = 120  # after the last move of camera or slider, before a new preview is asked for


class Trainer(QObject):
    """Guards that one training runs at a time and that everything painted or looked at meanwhile reaches it."""

    started = Signal(object, str)  # Work, and what its score is called
    ended = Signal(object)  # End
    saved = Signal(object, object)  # ModelCard of a new version, maybe kept in memory alone, and what was noted
    said = Signal(str, bool)  # a sentence for the status line, and whether it is a failure
    not_kept = Signal()  # what was trained last has led to no version
    image_gone = Signal()  # what was trained or shown last was removed

    def __init__(self, viewer: napari.Viewer, bridge: Bridge, read: Callable[[], Params], parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._bridge, self._read = viewer, bridge, read
        self.preview = PreviewLayers(viewer)
        self.work: Work | None = None
        self.notes: list[str] = []  # of the training that ended last
        self._scene: Scene | None = None
        self._labels: Labels | None = None
        self._planes: PaintedPlanes | None = None
        self._last: tuple[Params, ModelFile] | None = None
        self._orders = Orders(bridge.models)
        self.live = Live(self, bridge, read, self._orders)
        self._lookout = Lookout(bridge)
        self._strokes_timer = QTimer(self, singleShot=True, interval=15)
        self._strokes_timer.timeout.connect(self._on_strokes_settled)
        self._others = OtherStrokes(viewer, self._strokes_timer.start, self)
        self._others.said.connect(self.said)
        self._view_timer = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._view_timer.timeout.connect(self._on_view_settled)
        camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera  # napari >= 0.9, before
        camera.events.connect(self._on_viewer_moved)
        viewer.dims.events.current_step.connect(self._on_viewer_moved)
        viewer.dims.events.ndisplay.connect(self._on_viewer_moved)
        self._gone_timer = QTimer(self, singleShot=True, interval=0)  # napari is not done with the removed layer before
        self._gone_timer.timeout.connect(self._forget_gone_image)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def is_training(self) -> bool:
        return self.work is not None and self.work.is_running

    @property
    def can_resume(self) -> bool:
        """Whether the image of the last training is there, and strokes on it where it needs some."""
        layers = self._viewer.layers
        if self._last is None or self.is_training or self._last[0].image not in layers:
            return False
        params = self._resumed(self._last[0])
        return params.labels in layers or not TASKS[params.task].needs_strokes

    def follow(self, labels: Labels | None, is_empty: bool = False) -> None:
        """Watch the strokes of another labels layer; a training that runs keeps to its own until it ends."""
        self._labels = labels
        if self.is_training or (self._planes is not None and self._planes.labels is labels):
            return
        if self._planes is not None:
            self._planes.close()
        self._planes = None if labels is None else PaintedPlanes(labels, self._strokes_timer.start, is_empty)

    def fine_tune(self) -> None:
        """Start training with what the form says; the reason is told when that cannot be."""
        self._start(self._read(), None)

    def resume(self) -> None:
        """Go on from where the last training ended."""
        if self._last is not None and self.can_resume:
            params, model = self._last
            self._start(replace(self._resumed(params), model=model.card.name), model)

    def _resumed(self, params: Params) -> Params:
        """What a training goes on with: its own image, and all else as the form says now."""
        form = self._read()
        about = form if form.image is params.image else params  # strokes and target belong to their image
        return replace(form, task=params.task, image=params.image, labels=about.labels, target=about.target)

    def stop(self) -> None:
        """Ask the training to end with the best so far."""
        if self.work is not None and self.is_training:
            self._bridge.stop(self.work)
        self.live.stop()

    def renew_classes(self) -> None:
        """Take the names and colours of the classes as they are now, for the preview and the version to come."""
        if self._scene is not None:
            self._scene.renew_classes()
            self.preview.colour(self._scene.card.classes)

    def _start(self, params: Params, model: ModelFile | None) -> None:
        if self.is_training:
            self.said.emit("a fine-tuning runs already: stop it first", False)
            return
        try:
            card = self._bridge.models.card(params.model) if model is None else model.card
            scene = self.begin_scene(params, card)
        except FewshotError as error:
            self.said.emit(str(error), True)
            return
        self.preview.allow()
        self.live.forget()
        self._orders.forget()
        make = self._orders.make_fit if TASKS[params.task].needs_strokes else self._orders.make_pairs
        self.work = self._bridge.submit(
            partial(make, params, scene, model),
            f"fine-tuning {params.model} on {spoken(scene.picture)}{scene.others.spoken if scene.others else ''}",
            scene.finish,
        )
        self.show_previews(self.work, scene)
        self.work.ended.connect(partial(self._on_work_ended, params))
        self.work.versioned.connect(self._on_work_versioned)
        self.started.emit(self.work, _score_name(params))

    def begin_scene(self, params: Params, card: ModelCard) -> Scene:
        """What a job of a training, or of Live, works on; strokes and moves of the view go there from now on.

        Raises
        ------
        FewshotError
            The image, or what is to be learned from, cannot be worked on.
        """
        scene = take_scene(params, card, self._viewer, self._scene)
        if TASKS[params.task].needs_strokes:
            self.follow(params.labels)
            scene.painted = self._planes
            scene.others = self._others.renew(scene.image, params.labels, params.other_images)
            scene.renew_classes()
        self._scene = scene
        return scene

    def show_previews(self, work: Work, scene: Scene) -> None:
        """Show what a job tells of its scene."""
        work.previewed.connect(partial(self._on_work_previewed, scene))
        work.plane_done.connect(partial(self._on_look_done, scene, scene.region))
        work.noted.connect(lambda message: self.said.emit(message, False))
        note_left_out(self._bridge, work, scene.painted)

    def _on_work_previewed(self, scene: Scene, event: Preview) -> None:
        self._show(scene, Answer(event.index, event.origin, event.values, event.factor, event.confidence))

    def _on_look_done(self, scene: Scene, region: Region, event: PlaneDone) -> None:
        factor = max(1, round(event.values.shape[0] / (region.box[0].stop - region.box[0].start)))
        self._show(scene, Answer(region.index, region.origin, event.values, factor, event.confidence))

    def _show(self, scene: Scene, answer: Answer) -> None:
        if scene.image in self._viewer.layers:
            strokes = scene.painted.labels if scene.painted is not None else None
            self.preview.show(answer, scene.picture, scene.place, scene.card, strokes)

    def _on_work_ended(self, params: Params, end: End) -> None:
        self.notes = [] if self.work is None else self.work.notes
        if isinstance(end, Finished | Stopped) and end.model is not None:
            self._last = (params, end.model)
        if isinstance(end, Failed | Lost):
            self.said.emit(end.message, True)
        self.follow(self._labels)
        self._forget_gone_training()
        if not self.preview.is_alone:  # napari 0.9 crashes when emptied after a layer was removed brush in hand
            self._gone_timer.start()
        self.ended.emit(end)

    def _on_work_versioned(self, card: ModelCard | None, error: Exception | None) -> None:
        card = error.card if isinstance(error, NotSavedError) else card
        if card is not None and self._last is not None:
            self._last = (self._last[0], replace(self._last[1], card=card))
        if card is not None:
            self.saved.emit(card, self.notes)
        else:
            self.not_kept.emit()
        if error is not None:
            self.said.emit(str(error), True)

    def _on_strokes_settled(self) -> None:
        scene = self._scene
        if self.is_training and self.work is not None:
            if scene is not None and scene.painted is not None:
                self._bridge.send(self.work, Painting, partial(self._orders.take_new_painting, scene))
                note_left_out(self._bridge, self.work, scene.painted)
        elif self.live.is_on and TASKS[self._read().task].needs_strokes:
            self._bridge.call(self._has_new_strokes, self._on_strokes_compared)
        else:
            self._look_ahead()

    def _look_ahead(self) -> None:
        """After a stroke the click is coming; what cannot be looked at it will say."""
        params = self._read()
        if TASKS[params.task].needs_strokes:
            with suppress(FewshotError):
                card = self._bridge.models.card(params.model)
                self._lookout.look(card, self.begin_scene(params, card))

    def _has_new_strokes(self) -> bool:
        scene = self._scene
        return scene is None or scene.painted is not self._planes or self._orders.has_new_painting(scene)

    def _on_strokes_compared(self, has_new: bool | None, error: Exception | None) -> None:
        if has_new or error is not None:
            self.live.renew_look()

    def _on_layer_removed(self, event: object = None) -> None:
        self._gone_timer.start()

    def _forget_gone_image(self) -> None:
        """When no training runs, nothing of a removed image is shown, kept in memory or trained on again."""
        if not self.is_training:
            self.preview.remove_without_image()
            self._forget_gone_training()

    def _forget_gone_training(self) -> None:
        layers = self._viewer.layers
        if self._last is not None and self._last[0].image not in layers:
            self._last = None
        if self._scene is not None and self._scene.image not in layers:
            self._scene = self.work = None
            self.image_gone.emit()

    def _on_viewer_moved(self, event: object = None) -> None:
        if self.is_training or self.live.is_on:
            self._view_timer.start()

    def _on_view_settled(self) -> None:
        scene = self._scene
        if scene is None or scene.image not in self._viewer.layers:
            return
        region = plan_region(scene.image, self._viewer, scene.picture)
        if region.place == scene.region.place:
            return
        scene.region = region
        if self.is_training and self.work is not None:
            self._bridge.send(self.work, View, partial(scene.reader.take_view, region, self._read().confidence))
        else:
            self.live.renew_look()


def _score_name(params: Params) -> str:
    """What the score of a training tells; a card says it in the same words."""
    if TASKS[params.task].needs_strokes:
        return "held-out stroke IoU"
    return "held-out gain" if params.target is None else "held-out error removed"
