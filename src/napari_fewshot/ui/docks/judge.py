"""The part of the dock that judges models: its page, and who has the judging done. Knows neither worker nor layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_fewshot.core.card import ModelCard
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.classes import classes_of
from napari_fewshot.ui.docks.judge_page import JudgePage
from napari_fewshot.ui.judging import CLASSIC, Judging
from napari_fewshot.ui.scene import Params


class JudgePanel(QWidget):
    """How good the current model is, beside another version or the classic way."""

    def __init__(
        self, viewer: napari.Viewer, bridge: Bridge, read: Callable[[], Params], first: Callable[[], ModelCard | None]
    ) -> None:
        super().__init__()
        self._bridge, self._read = bridge, read
        self.page = JudgePage()
        self.judging = Judging(viewer, bridge, read, self, first)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.page)
        self.page.judge_wanted.connect(self.judging.judge)
        self.page.classic_wanted.connect(lambda: self.judging.judge(CLASSIC))
        self.page.look_wanted.connect(self.judging.layers.look_at)
        self.page.keep_wanted.connect(self.judging.keep)
        self.page.never_miss.set_wanted.connect(self.judging.set_operating_point)
        self.judging.judged.connect(self._on_judging_judged)
        self.judging.kept.connect(self._on_judging_kept)
        self.judging.withdrawn.connect(self._on_judging_kept)
        bridge.busy_changed.connect(self._on_bridge_busy_changed)
        bridge.models_changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *what: object) -> None:
        """Offer the models there are now, and judge none that is not there."""
        self.page.list_models([c.name for c in self._bridge.models.of_task("segment")])
        self.judging.check_models()

    def _on_judging_judged(self, verdicts: Any) -> None:
        labels = self._read().labels
        self.page.show_verdicts(verdicts, () if labels is None else classes_of(labels))

    def _on_judging_kept(self, card: ModelCard | None = None) -> None:
        self.page.show_verdicts((), ())

    def _on_bridge_busy_changed(self, is_busy: bool) -> None:
        for one in (self.page.judge, self.page.classic):
            one.setEnabled(not is_busy)
