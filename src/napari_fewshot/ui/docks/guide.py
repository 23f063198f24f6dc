"""The part of the dock that tells where to paint next: its controls, and who does the looking. Knows no layer's data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.docks.fields import button, named
from napari_fewshot.ui.docks.quality_plot import QualityPlot
from napari_fewshot.ui.docks.window import NEXT_PLACE_KEYS, theme_colours
from napari_fewshot.ui.guiding import Guiding
from napari_fewshot.ui.scene import Params

HINT = (
    "Paint a few strokes, then press Next: it looks over the image with them in mind and goes "
    "to the slice and region where another stroke helps most. With Live on you see the answer there."
)


class GuidePanel(QWidget):
    """Next, the quality along the stack, Propagate, and what can be learned from unpainted slices."""

    strokes_accepted = Signal(object)  # the Labels layer to paint on from now on

    def __init__(self, viewer: napari.Viewer, bridge: Bridge, read: Callable[[], Params]) -> None:
        super().__init__()
        self._viewer = viewer
        self.guiding = Guiding(viewer, bridge, read, self)
        self._make_controls()
        self._lay_out()
        self.plot.slice_chosen.connect(self.guiding.go_to_slice)
        self.guiding.seen_changed.connect(self._on_guiding_seen_changed)
        self.guiding.started.connect(self._show_state)
        self.guiding.ended.connect(self._show_state)
        viewer.dims.events.current_step.connect(self._on_viewer_dims_changed)
        viewer.layers.events.removed.connect(self._show_state)
        viewer.events.theme.connect(self._on_viewer_theme_changed)
        self._on_viewer_theme_changed()
        self._show_state()

    def _make_controls(self) -> None:
        self.next = button(
            "Next", "next_place", "Goes to the slice and region where another stroke helps most.",
            self.guiding.next, NEXT_PLACE_KEYS,
        )  # fmt: skip
        self.propagate = button(
            "Propagate", "propagate",
            "Carries this slice through the stack in both directions, and stops where the expected quality drops. Correct a slice of "
            "the result and press it again: it stays as corrected, and the others learn from it.",
            self.guiding.propagate,
        )  # fmt: skip
        self.stop = button("Stop", "stop_guide", "Ends what runs; what is done stays.", self.guiding.stop)
        self.hint = QLabel(HINT)
        self.hint.setWordWrap(True)
        self.plot = QualityPlot()
        self.learn = named(
            QCheckBox("Learn from unpainted slices"), "learn_unpainted", "Learn from unpainted slices",
            "The next look around also marks pixels the model is sure of (90 %), on any slice, as strokes to accept or to "
            "reject. It helps where brightness or sharpness drift along the stack; look at the marks before accepting.",
        )  # fmt: skip
        self.learn.toggled.connect(self._on_learn_toggled)
        self.accept = button(
            "Accept", "accept_learned", "Makes a strokes layer of the marks and all that is painted; your own one stays.",
            self._on_accept_wanted,
        )  # fmt: skip
        self.reject = button("Reject", "reject_learned", "Throws the marks away.", self._on_reject_wanted)

    def _lay_out(self) -> None:
        first = QHBoxLayout()
        for one, stretch in ((self.next, 3), (self.propagate, 3), (self.stop, 2)):
            first.addWidget(one, stretch)
        answers = QHBoxLayout()
        answers.addWidget(self.learn)
        answers.addStretch(1)
        answers.addWidget(self.accept)
        answers.addWidget(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(first)
        column.addWidget(self.hint)
        column.addWidget(self.plot, 1)
        column.addLayout(answers)

    def set_busy(self, is_busy: bool) -> None:
        """Whether something long runs; a refit by Live does not count, what is asked for now comes after it."""
        for one in (self.next, self.propagate):
            one.setEnabled(not is_busy)

    def _show_state(self, event: Any = None) -> None:
        self.stop.setEnabled(self.guiding.is_running)
        for one in (self.accept, self.reject):
            one.setEnabled(self.guiding.learned.is_waiting and not self.guiding.is_running)

    def _on_guiding_seen_changed(self) -> None:
        positions, quality = self.guiding.curve
        self.plot.show_curve(positions, quality)
        self.plot.show_here(self.guiding.here)
        self._show_state()

    def _on_viewer_dims_changed(self, event: Any = None) -> None:
        if self.plot.n_points:
            self.plot.show_here(self.guiding.here)

    def _on_learn_toggled(self, learns: bool) -> None:
        self.guiding.learns = learns

    def _on_accept_wanted(self) -> None:
        layer = self.guiding.accept()
        if layer is not None:
            self.strokes_accepted.emit(layer)
        self._show_state()

    def _on_reject_wanted(self) -> None:
        self.guiding.learned.reject()
        self._show_state()

    def _on_viewer_theme_changed(self, event: Any = None) -> None:
        self.plot.paint_theme(*theme_colours(self._viewer))
