"""What happens on Fine-tune, Resume and Live, and what the form shows of it. Knows no strokes and no applying."""

from __future__ import annotations

from collections.abc import Callable

import napari
from qtpy.QtCore import QObject, Signal

from napari_fewshot.compute.events import End, Finished, Stopped
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.docks.train_form import TrainForm
from napari_fewshot.ui.scene import Params
from napari_fewshot.ui.training import Trainer
from napari_fewshot.ui.work import Work


class TrainDesk(QObject):
    """Connects the form of training to the worker; ``read`` is what the whole dock's form says."""

    started = Signal(object)  # Work
    ended = Signal()
    saved = Signal(object, object)  # ModelCard of a new version, and what was noted while it was made
    not_kept = Signal()  # no version comes of what was trained last
    said = Signal(str, bool)

    def __init__(self, viewer: napari.Viewer, bridge: Bridge, form: TrainForm, read: Callable[[], Params]) -> None:
        super().__init__(form)
        self._form = form
        self.trainer = Trainer(viewer, bridge, read, self)
        form.fine_tune_wanted.connect(self.trainer.fine_tune)
        form.resume_wanted.connect(self.trainer.resume)
        form.live_toggled.connect(self.trainer.live.switch)
        form.extras.other_images.toggled.connect(self.renew_look)
        self.trainer.started.connect(self._on_trainer_started)
        self.trainer.ended.connect(self._on_trainer_ended)
        self.trainer.image_gone.connect(self.end_live)
        for one in (self.trainer, self.trainer.live):
            one.saved.connect(self.saved)
            one.not_kept.connect(self.not_kept)
            one.said.connect(self.said)

    @property
    def is_running(self) -> bool:
        return self.trainer.is_training

    def stop(self) -> None:
        """End with the best so far."""
        self.end_live()
        self.trainer.stop()

    def end_live(self) -> bool:
        """Switch Live off; whether what it has learned becomes a version now, `saved` or `not_kept`."""
        is_learning = self.trainer.live.is_learning
        self._form.live.setChecked(False)
        return is_learning

    def renew_look(self, *what: object) -> None:
        """Renew the preview of Live, as what it is about has changed."""
        self.trainer.live.renew_look()

    def _on_trainer_started(self, work: Work, score_name: str) -> None:
        self._form.clear(score_name)
        self._form.show_waiting()
        work.progressed.connect(self._form.show_training)
        self.started.emit(work)

    def _on_trainer_ended(self, end: End) -> None:
        if isinstance(end, Finished | Stopped) and end.model is None:
            self.said.emit("stopped before there was anything to keep", False)
        self.ended.emit()
