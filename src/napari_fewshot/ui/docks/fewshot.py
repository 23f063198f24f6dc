"""The dock "Few-shot": puts the forms together, reads them, calls, and shows what comes back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import napari
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QShortcut, QTabWidget, QVBoxLayout, QWidget

from napari_fewshot.core.card import ModelCard
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.bridge import bridge_for
from napari_fewshot.ui.classes import warm_up
from napari_fewshot.ui.docks.apply_desk import ApplyDesk
from napari_fewshot.ui.docks.apply_form import ApplyForm
from napari_fewshot.ui.docks.compute_choice import ComputeChoice
from napari_fewshot.ui.docks.data_form import DataForm
from napari_fewshot.ui.docks.fields import named
from napari_fewshot.ui.docks.guide import GuidePanel
from napari_fewshot.ui.docks.judge import JudgePanel
from napari_fewshot.ui.docks.objects_form import ObjectsForm
from napari_fewshot.ui.docks.pages import page_of
from napari_fewshot.ui.docks.status_line import StatusLine
from napari_fewshot.ui.docks.strokes_desk import StrokesDesk
from napari_fewshot.ui.docks.train_desk import TrainDesk
from napari_fewshot.ui.docks.train_form import TrainForm
from napari_fewshot.ui.docks.trust import TrustForm
from napari_fewshot.ui.docks.trust_desk import TrustDesk
from napari_fewshot.ui.docks.versions import VersionsPanel
from napari_fewshot.ui.docks.window import (
    APPLY_KEYS,
    FINE_TUNE_KEYS,
    NEXT_CLASS_KEYS,
    NEXT_PLACE_KEYS,
    STOP_KEYS,
    WindowWatch,
    add_shortcuts,
    theme_colours,
    window_of,
)
from napari_fewshot.ui.preferences import read_preferences
from napari_fewshot.ui.scene import Params
from napari_fewshot.ui.work import Work, with_notes


class FewshotDock(QWidget):
    """Paint a few strokes, fine-tune, watch, apply."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._preferences = read_preferences()
        self._bridge = bridge_for(napari_viewer, self._preferences.device)
        self._shortcuts: list[QShortcut] = []
        self._applies_when_saved = False
        self._is_stopping = False  # and nobody has said anything since
        self._make_forms()
        self._lay_out()
        self._connect()
        self._on_viewer_theme_changed()
        self._on_task_changed(self.data.task_name)
        self._show_state()
        self._computer.show()

    def _make_forms(self) -> None:
        self.data = DataForm(self._viewer, self._bridge.models)
        self._computer = ComputeChoice(self.data, self._bridge, self)
        self.train = TrainForm(self._preferences.seconds)
        self._train_desk = TrainDesk(self._viewer, self._bridge, self.train, self._read_form)
        self._trainer = self._train_desk.trainer
        self._strokes_desk = StrokesDesk(self._viewer, self.data, self._trainer)
        self.apply = ApplyForm(self._preferences.confidence)
        self.objects = ObjectsForm(self.apply)
        self._apply_desk = ApplyDesk(self._viewer, self._bridge, self.apply, self.objects, self._read_form)
        self.trust = TrustForm()
        self._trust_desk = TrustDesk(self._viewer, self._bridge, self.trust, self._read_form)
        self.versions = VersionsPanel(self._bridge.models)
        self.judge = JudgePanel(self._viewer, self._bridge, self._read_form, self._apply_desk.first)
        self.guide = GuidePanel(self._viewer, self._bridge, self._read_form)
        self._desks = (
            self._train_desk, self._apply_desk, self._trust_desk, self.judge.judging, self.guide.guiding
        )  # fmt: skip
        self.status = StatusLine()

    def _lay_out(self) -> None:
        self.setObjectName("fewshot_dock")
        tabs = self._tabs = named(QTabWidget(), "pages", "Pages", "Working, and the versions it has led to.")
        tabs.addTab(page_of({self.data: 0, self.train: 1, self.trust: 0}, self.apply), "Fine-tune and apply")
        tabs.addTab(page_of({self.guide: 1}), "Where next")
        tabs.addTab(self.versions, "Versions")
        tabs.addTab(page_of({self.judge: 1}), "Judge")
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(tabs, 1)
        outer.addWidget(self.status)

    def _connect(self) -> None:
        self._connect_forms()
        self._connect_desks()
        self._bridge.state_changed.connect(self._on_bridge_state_changed)
        self._bridge.busy_changed.connect(self._on_bridge_busy_changed)
        self._bridge.models_changed.connect(self._on_bridge_models_changed)
        for parting in (self._computer.moving, self._bridge.closing):
            parting.connect(self._train_desk.end_live)  # what Live has learned becomes a version
        self._viewer.layers.events.removed.connect(self._on_viewer_layers_removed)
        self._viewer.events.theme.connect(self._on_viewer_theme_changed)

    def _connect_forms(self) -> None:
        model, image, strokes = self.data.model_changed, self.data.image_layer.layer_changed, self.data.labels_layer
        for changed in (model, self.data.classes.classes_changed, strokes.layer_changed):
            changed.connect(self._apply_desk.show_classes)
        for changed in (model, image):
            changed.connect(self._trust_desk.look_at_spectrum)
            changed.connect(self._train_desk.renew_look)
        for changed in (model, image, strokes.layer_changed, self.train.live_toggled):
            changed.connect(lambda what: self._show_state())
        self.data.subject_changed.connect(self._on_data_subject_changed)
        self.data.task_changed.connect(self._on_task_changed)
        self.data.model_changed.connect(self._on_model_changed)
        self.train.live_toggled.connect(lambda is_on: self.judge.page.look_away() if is_on else None)
        self.train.stop_wanted.connect(self._on_stop_wanted)
        self.apply.apply_wanted.connect(self._on_apply_wanted)
        self.trust.strength_changed.connect(self._train_desk.renew_look)
        self.versions.chosen.connect(self._on_version_chosen)
        self.versions.changed.connect(self.data.refresh_models)
        self.versions.changed.connect(self.judge.refresh)
        self.guide.strokes_accepted.connect(self._strokes_desk.accept)

    def _connect_desks(self) -> None:
        for desk in self._desks:
            desk.started.connect(self._on_work_started)
        for desk in (self._train_desk, self._trust_desk, self.guide.guiding):
            desk.ended.connect(self._on_work_ended)
        self.judge.judging.ended.connect(self._show_state)
        self._train_desk.saved.connect(self._on_train_desk_saved)
        self._train_desk.not_kept.connect(self._on_train_desk_not_kept)
        self._apply_desk.ended.connect(self._on_apply_desk_ended)
        self._apply_desk.folder.started.connect(self.train.show_waiting)
        self.judge.judging.kept.connect(self._on_version_chosen)
        for planes in (self._apply_desk.progressed, self.guide.guiding.progressed):
            planes.connect(self.train.show_planes)
        for answered in (self._apply_desk.landed, self._trust_desk.started, self.judge.judging.judged):
            answered.connect(lambda what: self._trainer.preview.remove())
        for shown in (self._train_desk.started, self._apply_desk.landed):
            shown.connect(lambda what: self.judge.page.look_away())
        forms = (self._computer, self.data, self.data.classes, self.versions)
        for speaker in (self._strokes_desk, *self._desks, *forms):
            speaker.said.connect(self.say)

    def say(self, sentence: str, is_failure: bool = False) -> None:
        """Show a sentence in the status line; a failure also as a napari notification."""
        self._is_stopping = False
        text = self.status.show_sentence(sentence, is_failure)
        if is_failure:
            show_error(text)

    def showEvent(self, event: Any) -> None:
        """The window around the dock is known from now on."""
        super().showEvent(event)
        window = window_of(self)
        if window is None or self._shortcuts:
            return
        WindowWatch.keep(window, self._bridge)
        self._shortcuts = add_shortcuts(
            window,
            self,
            {
                FINE_TUNE_KEYS: self.train.fine_tune.click,
                STOP_KEYS: self.train.stop.click,
                APPLY_KEYS: self.apply.apply.click,
                NEXT_CLASS_KEYS: self.data.classes.next_class,
                NEXT_PLACE_KEYS: self.guide.next.click,
            },
        )

    def event(self, event: Any) -> bool:
        """A dock that is taken out of its window leaves nothing running that nobody could stop."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and self._shortcuts:
            self._on_stop_wanted()
        return bool(super().event(event))

    def _read_form(self) -> Params:
        return Params(
            task=self.data.task_name,
            model=self.data.model_name,
            image=self.data.image_layer.layer,
            labels=self.data.labels_layer.layer,
            target=self.data.target_layer.layer,
            budget=self.train.budget,
            seed=self._preferences.seed,
            confidence=self.apply.confidence.isChecked(),
            paints_objects=self.objects.paints_objects,
            restoring=self.trust.restoring(),
            extras=self.train.extras.extras,
            other_images=self.train.extras.other_images.isChecked(),
        )

    def _show_state(self) -> None:
        is_busy = any(desk.is_running for desk in self._desks)
        self.trust.show_alternatives.setEnabled(not is_busy)
        self.train.fine_tune.setEnabled(not is_busy)
        self.apply.apply.setEnabled(not is_busy)
        self.guide.set_busy(is_busy)
        self.train.stop.setEnabled(is_busy or self.train.live.isChecked())
        self.train.resume.setEnabled(not is_busy and self._trainer.can_resume)
        self.data.compute.setEnabled(not is_busy)

    def _on_bridge_state_changed(self, state: str) -> None:
        if state == "ready":  # not before: the worker needs the cores to start
            threading.Thread(target=warm_up, name="fewshot-warm-up", daemon=True).start()

    def _on_data_subject_changed(self) -> None:
        """What was said of another image or task is not true of this one."""
        if self._bridge.state == "ready" and not self._bridge.is_busy:
            self.say(self.data.hint)

    def _on_task_changed(self, task: str) -> None:
        self.objects.setVisible(TASKS[task].needs_strokes)
        self.train.extras.setVisible(TASKS[task].needs_strokes)
        self.trust.setVisible(not TASKS[task].needs_strokes)
        self._trust_desk.forget()
        self.apply.name_doubts(TASKS[task].needs_strokes)
        self._train_desk.end_live()
        if self._trainer.is_training:
            self.say("the task is changed; the fine-tuning that runs goes on and is saved under its own task")

    def _on_model_changed(self, name: str) -> None:
        card = self._bridge.models.known(name) if name else None
        if card is not None and not self._trainer.is_training:
            self.train.show_card(card)

    def _on_stop_wanted(self) -> None:
        self.say("stopping…" if self._bridge.is_busy else "stopped")
        self._is_stopping = self._bridge.is_busy
        for desk in self._desks:
            desk.stop()

    def _on_apply_wanted(self) -> None:
        is_learning = self._train_desk.end_live()  # what it has learned becomes a version first
        self._applies_when_saved |= is_learning
        if not is_learning:
            self._apply_desk.apply()

    def _on_version_chosen(self, card: ModelCard) -> None:
        self.data.choose_model(card)
        self._tabs.setCurrentIndex(0)
        self.say(f"{card.name} is the current model")

    def _on_train_desk_saved(self, card: ModelCard, notes: Sequence[str]) -> None:
        score = "".join(f", {key} {value:.2f}" for key, value in card.scores.items())
        is_current = card.task == self.data.task_name
        if is_current:
            self.data.choose_model(card)
        sentence = f"saved as {card.name} ({card.seconds:.0f} s, {card.steps} steps{score}): apply it, or go on"
        self.say(with_notes(sentence, notes))
        applies, self._applies_when_saved = self._applies_when_saved and is_current, False
        if applies:
            self._on_apply_wanted()

    def _on_train_desk_not_kept(self) -> None:
        self._applies_when_saved = False

    def _on_work_started(self, work: Work) -> None:
        self.say(f"{work.title}…")
        self._show_state()

    def _on_work_ended(self) -> None:
        self.train.show_idle()
        self._show_state()

    def _on_apply_desk_ended(self, sentence: str, is_failure: bool) -> None:
        self.say(sentence, is_failure)
        self._on_work_ended()

    def _on_bridge_busy_changed(self, is_busy: bool) -> None:
        if not is_busy and self._is_stopping:  # what ended had nothing more to say
            self.say("stopped")
        self._show_state()

    def _on_bridge_models_changed(self) -> None:
        self.data.refresh_models()
        self.versions.refresh()

    def _on_viewer_layers_removed(self, event: Any = None) -> None:
        self._show_state()

    def _on_viewer_theme_changed(self, event: Any = None) -> None:
        self.train.plot.paint_theme(*theme_colours(self._viewer))
