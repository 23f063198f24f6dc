"""Live: every finished stroke refits the last layer and renews the preview; switched off, that becomes a version. Draws no widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_fewshot.compute.events import End, Failed, Finished, Lost, Stopped
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.job import Budget
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.models import NotSavedError
from napari_fewshot.ui.orders import Orders
from napari_fewshot.ui.scene import Params, Scene
from napari_fewshot.ui.work import Work, with_notes

if TYPE_CHECKING:
    from napari_fewshot.ui.training import Trainer


ANSWERS = "Live is on: every finished stroke renews the preview; switch it off to keep what it has learned"
SHOWS = "Live is on: every move of the view renews the preview"


class Live(QObject):
    """Guards that one refit runs at a time, that the last stroke counts, and that a model of Live is kept once.

    It says that it works when it begins to, and again when what it complained of is no more.
    """

    saved = Signal(object, object)  # as that of a training
    not_kept = Signal()  # it is off and has led to no version
    refitted = Signal()  # the last stroke is answered
    said = Signal(str, bool)

    def __init__(self, trainer: Trainer, bridge: Bridge, read: Callable[[], Params], orders: Orders) -> None:
        super().__init__(trainer)
        self._trainer, self._bridge, self._read, self._orders = trainer, bridge, read, orders
        self.is_on = False
        self.work: Work | None = None
        self.model: ModelFile | None = None
        self.notes: list[str] = []  # of the refit that ended last
        self._scene: Scene | None = None  # that of the model
        self._again = self._is_fit = self._works = False

    @property
    def is_running(self) -> bool:
        return self.work is not None and self.work.is_running

    @property
    def is_learning(self) -> bool:
        """Whether there is a model to keep or one is being fitted; a restoration is only shown."""
        return self.model is not None or (self._is_fit and self.is_running)

    def switch(self, is_on: bool) -> None:
        """Refit the head after every stroke; switched off, what was learned becomes a version."""
        self.is_on, self._works = is_on, False
        if is_on and not self._trainer.is_training:
            self._trainer.preview.allow()
            self.refit()
        elif not is_on:
            self._keep()

    def renew_look(self) -> None:
        """Show the preview with what the form says now."""
        if self.is_on and not self._trainer.is_training:
            self.refit()

    def refit(self) -> None:
        """Fit the head to all strokes and renew the preview, or renew the preview alone for a restoration."""
        if self.is_running:
            self._again = True
            return
        params = self._read()
        try:
            scene = self._trainer.begin_scene(params, self._bridge.models.card(params.model))
        except FewshotError as error:
            self._complain(str(error))
            return
        self._is_fit = TASKS[params.task].needs_strokes
        make = self._orders.make_fit if self._is_fit else self._orders.make_look
        params = replace(params, budget=Budget(steps=0))
        self.work = self._bridge.submit(partial(make, params, scene, None), "Live")
        self._trainer.show_previews(self.work, scene)
        self.work.ended.connect(partial(self._on_work_ended, scene))

    def forget(self) -> None:
        """A training begins, which learns all that Live has learned."""
        self.model = None

    def stop(self) -> None:
        if self.work is not None and self.is_running:
            self._bridge.stop(self.work)

    def _keep(self) -> None:
        """Save the model as a version, when the refit that runs has ended."""
        if self.is_running:
            return
        model, self.model = self.model, None
        scene, self._scene = self._scene, None
        if model is None or scene is None:
            self.not_kept.emit()
            return
        work = Work(self._bridge, "Live")  # its signal knows when Live is gone with its window
        work.versioned.connect(self._on_versioned)
        work.versioned.connect(work.deleteLater)
        self._bridge.save(model, scene.finish, work.versioned.emit)

    def _on_work_ended(self, scene: Scene, end: End) -> None:
        self.notes = [] if self.work is None else self.work.notes
        if isinstance(end, Finished | Stopped) and end.model is not None and not self._trainer.is_training:
            self.model, self._scene = end.model, scene
        if isinstance(end, Failed | Lost):
            self._complain(end.message)
        elif isinstance(end, Finished) and self.is_on and not (self._works or self._trainer.is_training):
            self._works = True
            self.said.emit(with_notes(ANSWERS if self._is_fit else SHOWS, self.notes), False)
        is_done = isinstance(end, Finished) and self._read().task == scene.card.task
        again, self._again = self._again, False
        # the last stroke counts, also when Live is off
        if again and (self.is_on or is_done) and not self._trainer.is_training:
            self.refit()
        if not self.is_on:
            self._keep()
        self.refitted.emit()

    def _complain(self, sentence: str) -> None:
        self._works = False
        self.said.emit(sentence, False)

    def _on_versioned(self, card: ModelCard | None, error: Exception | None) -> None:
        card = error.card if isinstance(error, NotSavedError) else card
        if card is not None:
            self.saved.emit(card, self.notes)
        else:
            self.not_kept.emit()
        if error is not None:
            self.said.emit(str(error), True)
