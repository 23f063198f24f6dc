"""The form that says what to work on: image, task, model, device, and strokes or target. Knows no job."""

from __future__ import annotations

import napari
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QVBoxLayout, QWidget

from napari_fewshot.core.card import ModelCard
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.classes import count_classes, has_classes, is_brought, is_made_for, other_image
from napari_fewshot.ui.docks.class_table import ClassTable
from napari_fewshot.ui.docks.fields import LayerCombo, button, caption, named, narrow, quietly
from napari_fewshot.ui.models import Models
from napari_fewshot.ui.results import METADATA, NOT_A_SOURCE

SIZES = ("", "-base")  # of embedded models, as their names end; the small one is first


class DataForm(QWidget):
    """Guards that model and strokes or target always fit the task on display, and that strokes follow their image."""

    subject_changed = Signal()  # another image or task, before anything else is chosen for it
    task_changed = Signal(str)
    model_changed = Signal(str)
    device_chosen = Signal(str)
    new_strokes_wanted = Signal()
    said = Signal(str, bool)

    def __init__(self, viewer: napari.Viewer, models: Models) -> None:
        super().__init__()
        self._viewer, self._models = viewer, models
        self._cards: list[ModelCard] = []  # that can be chosen
        self._make_controls(viewer)
        self._lay_out()
        self.task.currentIndexChanged.connect(self._on_task_changed)
        self.model.currentIndexChanged.connect(lambda index: self.model_changed.emit(self.model_name))
        self.compute.activated.connect(lambda index: self.device_chosen.emit(self.compute.currentText()))
        self.image_layer.layer_changed.connect(self._on_image_changed)
        self.labels_layer.layer_changed.connect(self._on_labels_changed)
        viewer.layers.events.inserted.connect(self._on_layers_inserted)
        for layer in viewer.layers:
            self._choose(layer)
        self._on_task_changed()

    def _make_controls(self, viewer: napari.Viewer) -> None:
        self.image_layer = named(
            LayerCombo(viewer, _is_source, "no image layer"), "image_layer", "Image layer",
            "The image to work on. RGB is worked on as its luminance; of a named channel axis, the channel on display.",
        )  # fmt: skip
        self.task = narrow(named(QComboBox(), "task", "Task", "What to make of the image."))
        for task in TASKS.values():
            self.task.addItem(task.title, task.name)
        self.model = narrow(
            named(
                QComboBox(),
                "model",
                "Model",
                "The generator to start from and to apply: pretrained ones, then your versions.",
            )
        )
        self.compute = narrow(
            named(QComboBox(), "compute", "Compute", "The device that computes; 'auto' takes a GPU when there is one.")
        )
        self.compute.addItem("auto")
        self.labels_layer = named(
            LayerCombo(viewer, _may_be_strokes, "no strokes layer"), "labels_layer", "Strokes layer",
            "The labels layer that holds the strokes: 1 is the first class, 0 is not painted.",
        )  # fmt: skip
        self.new_strokes = button(
            "New strokes layer", "new_strokes",
            "Makes a labels layer over the image, with classes to paint, and takes the brush.",
            self.new_strokes_wanted.emit,
        )  # fmt: skip
        self.target_layer = named(
            LayerCombo(viewer, _is_target, "none: adapt to this image alone"), "target_layer", "Target layer",
            "A better image of the same field to learn from, if there is one; for super-resolution as many times finer. Or a labels "
            "layer that says what is good: 1 is background, to become even, 2 is structure, to stay as it is.",
        )  # fmt: skip
        self.classes = ClassTable()

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        self._rows = {}
        strokes = QWidget()
        pair = QVBoxLayout(strokes)
        pair.setContentsMargins(0, 0, 0, 0)
        pair.addWidget(self.labels_layer)
        pair.addWidget(self.new_strokes)
        rows = (
            ("Image", self.image_layer, self.image_layer),
            ("Task", self.task, self.task),
            ("Model", self.model, self.model),
            ("Compute", self.compute, self.compute),
            ("Strokes", self.labels_layer, strokes),
            ("Classes", self.classes.table, self.classes),
            ("Target", self.target_layer, self.target_layer),
        )
        for n, (text, control, widget) in enumerate(rows):
            label = caption(text, control)
            grid.addWidget(label, n, 0)
            grid.addWidget(widget, n, 1)
            self._rows[text] = (label, widget)

    @property
    def task_name(self) -> str:
        return str(self.task.currentData())

    @property
    def hint(self) -> str:
        """What to do next with the image and the task that are chosen."""
        if self.image_layer.layer is None:
            return "Choose an image; there are micrographs to try under File > Open Sample"
        task = TASKS[self.task_name]
        return task.hint if task.needs_strokes else f"{task.hint} No strokes are needed: press Apply."

    @property
    def model_name(self) -> str:
        return str(self.model.currentData() or "")

    def choose_model(self, card: ModelCard) -> None:
        """Make a model the current one, and its task with it."""
        if card.task != self.task_name:
            self.task.setCurrentIndex(self.task.findData(card.task))
        self.refresh_models()
        self.model.setCurrentIndex(self.model.findData(card.name))

    def refresh_models(self, old: str = "", new: str = "") -> None:
        """Read the shelf again; the current model stays current while it is there, also when ``old`` is ``new`` now.

        After one that was deleted comes its parent, or else the newest of its task.
        """
        before = self.model_name
        chosen = new if new and before == old else before
        lost = next((c for c in self._cards if c.name == chosen), None)
        quietly(self.model, self._fill_models)
        is_lost = lost is not None and lost.task == self.task_name and self.model.findData(chosen) < 0
        if lost is not None and is_lost:
            chosen = self._heir(lost)
        at = self.model.findData(chosen)
        quietly(self.model, lambda: self.model.setCurrentIndex(max(at, 0)))
        if self.model_name != before:
            self.model_changed.emit(self.model_name)
        if is_lost:
            self.said.emit(f"'{before}' is gone: {self.model_name} is the current model now", False)

    def show_devices(self, devices: list[str], current: str) -> None:
        """List the devices the worker has told of."""
        names = list(dict.fromkeys(["auto", *devices, current]))
        quietly(self.compute, lambda: (self.compute.clear(), self.compute.addItems(names)))
        quietly(self.compute, lambda: self.compute.setCurrentText(current))

    def _fill_models(self) -> None:
        self.model.clear()
        task = TASKS[self.task_name]
        cards = self._cards = self._models.of_task(task.name)
        names = [c.name for c in cards]
        first = [name + size for name in task.models for size in SIZES if name + size in names]
        for name in first + [name for name in names if name not in first]:
            self.model.addItem(f"{name} (not saved)" if self._models.is_unsaved(name) else name, name)

    def _heir(self, lost: ModelCard) -> str:
        """The name of the model to go on with after one that was deleted."""
        parent = next((c for c in self._cards if c.id == lost.parent), None)
        return (parent or max(self._cards, key=lambda c: c.created)).name

    def _on_task_changed(self, index: int = 0) -> None:
        task = TASKS[self.task_name]
        self.task.setToolTip(f"<p>{task.hint}</p>")
        for text, (label, widget) in self._rows.items():
            is_shown = text not in ("Strokes", "Classes", "Target") or (text == "Target") != task.needs_strokes
            label.setVisible(is_shown)
            widget.setVisible(is_shown)
        self.subject_changed.emit()
        self.task_changed.emit(task.name)  # first: Live ends before a model of the new task comes
        self.refresh_models()

    def _on_image_changed(self, image: Image | None) -> None:
        """Take the strokes made for another image, or none rather than those of the one before."""
        self.subject_changed.emit()
        before = self.labels_layer.layer
        own = [labels for labels in self.labels_layer.layers() if image is not None and is_made_for(labels, image)]
        if own and before not in own:
            self.labels_layer.layer = own[0]
        elif image is not None and before is not None and other_image(before, image) is not None:
            self.labels_layer.layer = None

    def _on_labels_changed(self, labels: Labels | None) -> None:
        if labels is not None:
            count_classes(labels, self._viewer)
        self.classes.follow(labels)

    def _on_layers_inserted(self, event: object) -> None:
        self._choose(event.value)  # type: ignore[attr-defined]

    def _choose(self, layer: Layer) -> None:
        """Take a new layer where nothing is chosen yet: an image, strokes, or a visible labels layer of the user."""
        if isinstance(layer, Image) and self.image_layer.layer is None and _is_source(layer):
            self.image_layer.layer = layer
        if not isinstance(layer, Labels) or self.labels_layer.layer is not None:
            return
        is_own = layer.visible and is_brought(layer)
        if (has_classes(layer) or is_own) and other_image(layer, self.image_layer.layer) is None:
            self.labels_layer.layer = layer


def _is_source(layer: Layer) -> bool:
    """Image layers but previews and maps that tell about a result; a denoised result may well be segmented next."""
    about = layer.metadata.get(METADATA, {}) if isinstance(layer, Image) else {}
    return isinstance(layer, Image) and not about.get("preview") and not about.get(NOT_A_SOURCE)


def _may_be_strokes(layer: Layer) -> bool:
    """Labels layers but previews, which are renewed and go by themselves."""
    return isinstance(layer, Labels) and not layer.metadata.get(METADATA, {}).get("preview")


def _is_target(layer: Layer) -> bool:
    """What an image may be; and labels that the user painted."""
    return _is_source(layer) or (isinstance(layer, Labels) and (has_classes(layer) or is_brought(layer)))
