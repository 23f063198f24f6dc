"""What happens on Apply: to which layers or which folder, with what the form asks for. Knows no training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import napari
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.restoring import AS_TRAINED
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.applying import FOLDER, SLICE, Applier, check_model, layers_of_scope
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.classes import classes_of
from napari_fewshot.ui.docks.apply_form import ApplyForm
from napari_fewshot.ui.docks.objects_form import ObjectsForm
from napari_fewshot.ui.folder import FolderRun, How
from napari_fewshot.ui.results import METADATA
from napari_fewshot.ui.scene import Params


class ApplyDesk(QObject):
    """Connects the forms of applying to the worker; ``read`` is what the whole dock's form says."""

    started = Signal(object)  # Work
    progressed = Signal(int, object, object)  # planes or files done, in all or None, seconds left or None
    landed = Signal(object)  # the first result layer of an image
    ended = Signal(str, bool)  # a sentence, and whether it is a failure
    said = Signal(str, bool)

    def __init__(
        self, viewer: napari.Viewer, bridge: Bridge, form: ApplyForm, objects: ObjectsForm, read: Callable[[], Params]
    ) -> None:
        super().__init__(form)
        self._viewer, self._bridge, self._form, self._objects, self._read = viewer, bridge, form, objects, read
        self.applier = Applier(viewer, bridge, self)
        self.folder = FolderRun(bridge, self)
        self.applier.landed.connect(self.landed)
        for one in (self.applier, self.folder):
            one.started.connect(self.started)
            one.progressed.connect(self.progressed)
            one.ended.connect(self.ended)
            one.said.connect(self.said)

    @property
    def is_running(self) -> bool:
        return self.applier.is_running or self.folder.is_running

    def stop(self) -> None:
        """End after the current plane; what is done stays."""
        self.applier.stop()
        self.folder.stop()

    def show_classes(self, *what: object) -> None:
        """Offer as objects what the current model answers, or will answer when it has learned from the strokes."""
        params = self._read()
        card = self._bridge.models.known(params.model) if params.model else None
        if card is not None and card.classes:
            self._objects.show_classes({k: card.classes[k - 1].name for k in card.class_numbers})
        elif params.labels is not None:
            self._objects.show_classes({k: c.name for k, c in enumerate(classes_of(params.labels), 1)})

    def apply(self) -> None:
        """Apply the current model to what the scope means; the reason is told when that cannot be."""
        params = self._read()
        try:
            card = self._bridge.models.card(params.model)
            if self._form.scope_key == FOLDER:
                check_model(card)
                self._apply_to_folder(card, params)
            else:
                self._apply_to_layers(card, params)
        except FewshotError as error:
            self.said.emit(str(error), True)
            if params.model and self._bridge.models.is_gone(params.model):
                self._bridge.models_changed.emit()

    def _apply_to_layers(self, card: ModelCard, params: Params) -> None:
        scope = self._form.scope_key
        layers = layers_of_scope(scope, self._viewer, params.image, (METADATA,))
        below = params.labels if TASKS[params.task].needs_strokes else None
        objects = self._objects.objects(card)
        self.applier.apply(
            layers, scope == SLICE, card, params.confidence, below, objects, params.restoring, self.first()
        )

    def first(self) -> ModelCard | None:
        """The model that restores what a segmentation is to see: the user's newest, else the first that is embedded."""
        if not self._form.denoise_first.isChecked():
            return None
        models = self._bridge.models
        cards = models.of_task("denoise")
        return next((card for card in reversed(cards) if not models.is_embedded(card.name)), cards[0])

    def _apply_to_folder(self, card: ModelCard, params: Params) -> None:
        if TASKS[card.task].needs_strokes:
            how = How(card, AS_TRAINED, self.first(), self._objects.objects(card))
        else:
            how = How(card, params.restoring)
        source = QFileDialog.getExistingDirectory(self._form, "Choose the folder of images")
        target = QFileDialog.getExistingDirectory(self._form, "Choose the folder for the results") if source else ""
        if target:
            self.folder.start(how, Path(source), Path(target), params.confidence)
