"""Small form fields: controls that say what they are, and a chooser of layers that holds layers, not names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import napari
from napari.layers import Layer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QSizePolicy, QWidget

Control = TypeVar("Control", bound=QWidget)


def named(control: Control, object_name: str, title: str, hint: str, keys: str = "") -> Control:
    """Give a control its object name, accessible name and tooltip, with the shortcut where it has one."""
    control.setObjectName(object_name)
    control.setAccessibleName(title)
    control.setAccessibleDescription(hint)
    control.setToolTip(f"<p>{hint}{f' <b>[{keys}]</b>' if keys else ''}</p>")  # rich text wraps
    return control


def button(text: str, object_name: str, hint: str, on_click: Callable[[], Any], keys: str = "") -> QPushButton:
    """A push button with all its names."""
    made = named(QPushButton(text), object_name, text.rstrip("…"), hint, keys)
    made.clicked.connect(lambda checked=False: on_click())
    return made


def sign_button(
    sign: str, object_name: str, title: str, hint: str, on_click: Callable[[], Any], keys: str = ""
) -> QPushButton:
    """A small button whose face is a sign; ``title`` is its name."""
    made = named(QPushButton(sign), object_name, title, hint, keys)
    made.clicked.connect(lambda checked=False: on_click())
    made.setFixedSize(28, 26)
    return made


def caption(text: str, control: QWidget) -> QLabel:
    """The label in front of a control."""
    label = QLabel(text)
    label.setBuddy(control)
    label.setToolTip(control.toolTip())
    return label


def narrow(combo: QComboBox) -> QComboBox:
    """Let a combo box be narrower than its longest entry."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(8)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return combo


class LayerCombo(QComboBox):
    """Chooses one of the viewer's layers. Guards that the choice is the layer itself, whatever its name or place."""

    layer_changed = Signal(object)  # Layer or None

    def __init__(self, viewer: napari.Viewer, accepts: Callable[[Layer], bool], none_text: str) -> None:
        super().__init__()
        self._viewer, self._accepts = viewer, accepts
        self._layers: list[Layer | None] = [None]
        self._told: Layer | None = None
        self.addItem(none_text)
        narrow(self)
        self.currentIndexChanged.connect(self._on_self_index_changed)
        for emitter in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            emitter.connect(self._on_layers_changed)
        self._on_layers_changed()

    @property
    def layer(self) -> Layer | None:
        return self._layers[self.currentIndex()] if self.currentIndex() >= 0 else None

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        self.setCurrentIndex(self._layers.index(layer) if layer in self._layers else 0)

    def layers(self) -> list[Layer]:
        """What can be chosen, top layer first."""
        return [layer for layer in self._layers if layer is not None]

    def _on_layers_changed(self, event: Any = None) -> None:
        chosen = self.layer
        found = [layer for layer in reversed(self._viewer.layers) if self._accepts(layer)]
        self.blockSignals(True)
        while self.count() > 1:
            self.removeItem(1)
        self._layers = [None, *found]
        for layer in found:
            layer.events.name.connect(self._on_layer_renamed)
            self.addItem(layer.name)
        self.setCurrentIndex(self._layers.index(chosen) if chosen in found else 0)
        self.blockSignals(False)
        self._on_self_index_changed()

    def _on_layer_renamed(self, event: Any) -> None:
        if event.source in self._layers:
            self.setItemText(self._layers.index(event.source), event.source.name)

    def _on_self_index_changed(self, index: int = 0) -> None:
        if self.layer is not self._told:
            self._told = self.layer
            self.layer_changed.emit(self._told)


def quietly(source: QObject, change: Callable[[], Any]) -> None:
    """Change a control from code without its signals."""
    was_blocked = source.blockSignals(True)
    try:
        change()
    finally:
        source.blockSignals(was_blocked)
