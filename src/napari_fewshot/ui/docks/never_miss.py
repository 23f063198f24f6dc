"""The control of a class that is never to be missed: how much of it is to be found, and what that costs. Knows no worker."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QSpinBox, QWidget

from napari_fewshot.core.card import ClassLabel
from napari_fewshot.core.judge import HeldOut
from napari_fewshot.core.operating import NeverMiss, OperatingPoint, operating_point
from napari_fewshot.ui.docks.class_combo import ClassCombo
from napari_fewshot.ui.docks.fields import button, caption, named

PERCENT = 95


class NeverMissForm(QWidget):
    """Chooses an operating point by recall on the strokes that were held out; shown once there are some."""

    set_wanted = Signal(object)  # OperatingPoint

    def __init__(self) -> None:
        super().__init__()
        self._held_out: HeldOut | None = None
        hint = "The class of which little may be missed, however rare it is."
        self.of_class = ClassCombo("never_miss_class", "Never miss", hint)
        self.recall = named(
            QSpinBox(), "never_miss_recall", "Share to be found",
            "At least this share of the class is found among strokes held out; more costs more false alarms.",
        )  # fmt: skip
        self.recall.setRange(50, 100)
        self.recall.setValue(PERCENT)
        self.recall.setSuffix(" %")
        self.set = button(
            "Set", "never_miss_set",
            "Makes a version of the current model with this operating point: previews and Apply use it, and so does what "
            "is fine-tuned from it.", self._on_set_clicked,
        )  # fmt: skip
        self.cost = named(QLabel(), "never_miss_cost", "Expected false alarms", "What the chosen share costs.")
        self.cost.setWordWrap(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.addWidget(caption("Never miss", self.of_class), 0, 0)
        grid.addWidget(self.of_class, 0, 1)
        grid.addWidget(self.recall, 0, 2, 1, 2)
        grid.addWidget(self.cost, 1, 0, 1, 3)
        grid.addWidget(self.set, 1, 3, Qt.AlignmentFlag.AlignTop)
        self.of_class.currentIndexChanged.connect(lambda index: self._show())
        self.recall.valueChanged.connect(lambda percent: self._show())
        self.judge(None, (), False)

    @property
    def point(self) -> OperatingPoint | None:
        """The operating point of what is chosen."""
        number = self.of_class.number
        if self._held_out is None or number is None:
            return None
        return operating_point(self._held_out, NeverMiss(number, self.recall.value() / 100))

    def judge(self, held_out: HeldOut | None, classes: Sequence[ClassLabel], can_set: bool) -> None:
        """Take what the current model answers on strokes held out; ``can_set`` when it is a version."""
        self._held_out = held_out
        numbers = held_out.classes if held_out is not None else ()
        self.of_class.show_classes({k: classes[k - 1].name if k <= len(classes) else f"class {k}" for k in numbers})
        self.set.setEnabled(can_set)
        self.setVisible(held_out is not None)
        self._show()

    def _show(self) -> None:
        point = self.point
        if point is None:
            return
        as_is = ", as it is" if point.offset == 0 else ""
        later = "" if self.set.isEnabled() else " Fine-tune first to set it."
        self.cost.setText(
            f"Expected false alarms{as_is}: {point.false_alarms:.1%} of what is painted otherwise, "
            f"by {point.n_pixels} pixels held out.{later}"
        )

    def _on_set_clicked(self) -> None:
        if (point := self.point) is not None:
            self.set_wanted.emit(point)
