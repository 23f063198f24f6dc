"""The controls of objects: of which class, how readily they are cut apart, whether the strokes are objects. Knows no layer."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QGridLayout, QWidget

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.objects import SPLIT, Objects
from napari_fewshot.ui.docks.class_combo import ClassCombo
from napari_fewshot.ui.docks.fields import caption, named


class ObjectsForm(QWidget):
    """Whether Apply answers objects instead of classes."""

    def __init__(self, below: QWidget) -> None:
        super().__init__()
        below.layout().addWidget(self, 2, 0, 1, 3)
        self.wanted = named(
            QCheckBox("objects of"), "as_objects", "As objects",
            "Gives every object of one class an id of its own, the same in all slices, and measures it: "
            "see the features table of the result layer.",
        )  # fmt: skip
        hint = "The class whose objects are told apart."
        self.of_class = ClassCombo("objects_class", "Class of objects", hint)
        self.split = named(
            QDoubleSpinBox(), "objects_split", "Split",
            "How readily what touches is cut apart: two parts are two objects where the neck between them is narrower "
            "than this share of the narrower part. 0 cuts nothing, 1 cuts at every neck.",
        )  # fmt: skip
        self.split.setRange(0.0, 1.0)
        self.split.setSingleStep(0.05)
        self.split.setValue(SPLIT)
        self.painted = named(
            QCheckBox("strokes are objects (1 = background,\nany other number = one object)"), "painted_objects", "Painted as objects",
            "Takes the strokes for objects: what is painted as 1 is background, every other number is one object.",
        )  # fmt: skip
        self._lay_out()
        self.wanted.toggled.connect(self._on_wanted_toggled)
        self._on_wanted_toggled(False)

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.addWidget(self.wanted, 0, 0)
        grid.addWidget(self.of_class, 0, 1)
        grid.addWidget(caption("split", self.split), 0, 2)
        grid.addWidget(self.split, 0, 3)
        grid.addWidget(self.painted, 1, 0, 1, 4)

    @property
    def paints_objects(self) -> bool:
        return bool(self.wanted.isChecked() and self.painted.isChecked())

    def show_classes(self, names: dict[int, str]) -> None:
        """Offer classes by number."""
        self.of_class.show_classes(names)

    def objects(self, card: ModelCard) -> Objects | None:
        """What is asked of a model; None for classes."""
        number = self.of_class.number
        if not self.wanted.isChecked() or number is None:
            return None
        return Objects(number, self.split.value(), card.smallest_of(number))

    def _on_wanted_toggled(self, is_wanted: bool) -> None:
        for one in (self.of_class, self.split):
            one.setEnabled(is_wanted)
        self.painted.setVisible(is_wanted)
