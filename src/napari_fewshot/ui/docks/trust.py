"""The controls of a restoration: how strong, what was taken away, and which other answers are as likely. Knows no job."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QSlider, QWidget
from superqt import QLabeledSlider

from napari_fewshot.core.restoring import STRENGTHS, Restoring
from napari_fewshot.ui.docks.fields import button, caption, named, quietly

N_ALTERNATIVES = 8
STEPS = 10  # of the slider on each side of 1


class TrustForm(QWidget):
    """Strength, layers of what was taken away, alternatives."""

    alternatives_wanted = Signal()
    alternative_chosen = Signal(int)  # 0 is the answer itself
    strength_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.strength = named(
            QSlider(Qt.Orientation.Horizontal), "strength", "Strength",
            "Left of the middle, detail that stands out of the noise comes back, with a little noise. Right of it, detail "
            "that hardly does is taken away too. The middle is what the model says.",
        )  # fmt: skip
        self.strength.setRange(-STEPS, STEPS)
        self.strength.setMinimumWidth(60)
        self.shown = QLabel()
        self.strength.valueChanged.connect(self._on_strength_changed)
        self.strength.sliderReleased.connect(self.strength_changed)
        self.taken_away = named(
            QCheckBox("with what was taken away"), "taken_away", "What was taken away",
            "Adds the residual, and the background where that is removed, as layers: image = result + background + residual.",
        )  # fmt: skip
        self.show_alternatives = button(
            "Show alternatives", "show_alternatives",
            "Restores the visible region again and again from noise as measured: what changes is not to be trusted.",
            self.alternatives_wanted.emit,
        )  # fmt: skip
        self.alternative = named(
            QLabeledSlider(Qt.Orientation.Horizontal), "alternative", "Alternative",
            "Walks through the alternatives; 0 is the answer itself.",
        )  # fmt: skip
        for part in self.alternative.findChildren(QWidget):  # one of which gets the focus
            part.setAccessibleName(self.alternative.accessibleName())
            part.setToolTip(self.alternative.toolTip())
        self.alternative.valueChanged.connect(self.alternative_chosen)
        self.forget_alternatives()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.addWidget(caption("Strength", self.strength), 0, 0)
        grid.addWidget(self.strength, 0, 1)
        grid.addWidget(self.shown, 0, 2)
        grid.addWidget(self.show_alternatives, 1, 0)
        grid.addWidget(self.alternative, 1, 1, 1, 2)
        grid.addWidget(self.taken_away, 2, 0, 1, 3)
        self._on_strength_changed()

    def restoring(self, n_alternatives: int = 0) -> Restoring:
        """What the form asks for."""
        return Restoring(self._strength(), False, self.taken_away.isChecked(), n_alternatives)

    def offer_alternatives(self, n: int) -> None:
        """Let the slider walk through the answer and ``n`` alternatives."""
        quietly(self.alternative, lambda: self.alternative.setRange(0, n))
        quietly(self.alternative, lambda: self.alternative.setValue(0))
        self.alternative.setEnabled(True)

    def forget_alternatives(self) -> None:
        """There are none (any more)."""
        quietly(self.alternative, lambda: self.alternative.setValue(0))
        self.alternative.setEnabled(False)

    def _strength(self) -> float:
        return float(np.clip(STRENGTHS[1] ** (self.strength.value() / STEPS), *STRENGTHS))

    def _on_strength_changed(self, value: int = 0) -> None:
        self.shown.setText(f"{self._strength():.2f}")
        if not self.strength.isSliderDown():  # by key or wheel
            self.strength_changed.emit()
