"""Judging models on the strokes of now: jobs go to the worker, verdicts and the layers of a comparison come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import napari
from qtpy.QtCore import QObject, Signal

from napari_fewshot.compute.events import End, Failed, Finished, Lost
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError, ModelError
from napari_fewshot.core.job import Budget, FineTune, Job, Judge
from napari_fewshot.core.judge import Verdict
from napari_fewshot.core.operating import OperatingPoint
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.strokes import Painting
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.comparing import ComparisonLayers
from napari_fewshot.ui.left_out import note_left_out
from napari_fewshot.ui.models import NotSavedError
from napari_fewshot.ui.others import OtherStrokes
from napari_fewshot.ui.painted import PaintedPlanes
from napari_fewshot.ui.scene import Params, Scene, take_scene
from napari_fewshot.ui.work import Work, with_notes

CLASSIC = "classic"


@dataclass(frozen=True, eq=False)
class Case:
    """What a comparison is about: the form and the scene when it was asked for, the models' cards by name.

    ``first`` restores images on which the models are judged too. ``fitted`` are models made for the comparison, which are no versions but those that are ``kept``.
    """

    params: Params
    scene: Scene
    cards: dict[str, ModelCard]
    first: ModelCard | None = None
    fitted: dict[str, ModelFile] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)

    @cached_property
    def painting(self) -> Painting:
        """The strokes that all its models are judged on and fitted to; taken once, off the GUI thread."""
        return self.scene.take_painting()


class Judging(QObject):
    """Guards that one comparison runs at a time and that a model made for it is kept only when the user says so."""

    started = Signal(object)  # Work
    judged = Signal(object)  # tuple of Verdict
    ended = Signal()
    kept = Signal(object)  # ModelCard to go on with
    withdrawn = Signal()  # what was judged is not there any more
    said = Signal(str, bool)

    def __init__(
        self, viewer: napari.Viewer, bridge: Bridge, read: Callable[[], Params], parent: QObject,
        first: Callable[[], ModelCard | None] = lambda: None,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._viewer, self._bridge, self._read, self._first = viewer, bridge, read, first
        self.layers = ComparisonLayers(viewer)
        self._others = OtherStrokes(viewer, lambda: None, self)
        self._others.said.connect(self.said)
        self.work: Work | None = None
        self.verdicts: tuple[Verdict, ...] = ()
        self._case: Case | None = None

    @property
    def is_running(self) -> bool:
        return self.work is not None and self.work.is_running

    def judge(self, against: str = "") -> None:
        """Judge the current model, side by side with another one; ``classic`` is fitted to the strokes first."""
        if self.is_running:
            self.said.emit("models are being judged already: wait or stop that first", False)
            return
        params = self._read()
        names = dict.fromkeys(n for n in (params.model, against) if n)
        try:
            case = Case(
                params, self._take_scene(params), {n: self._bridge.models.card(n) for n in names}, self._first()
            )
        except FewshotError as error:
            self.said.emit(str(error), True)
            return
        if against == CLASSIC and against != params.model:
            make = partial(self._make_fit, case, CLASSIC)
            self._submit(case, make, "fitting the classic model", partial(self._on_fit_ended, case))
        else:
            self._judge(case)

    def stop(self) -> None:
        if self.work is not None and self.is_running:
            self._bridge.stop(self.work)

    def check_models(self) -> None:
        """Withdraw a judgement when one of its models was renamed or deleted."""
        if self._case is None:
            return
        known, cards = self._bridge.models.known, self._case.cards.items()
        gone = [name for name, card in cards if (now := known(name)) is None or now.id != card.id]
        if gone:
            self._case, self.verdicts = None, ()
            self.layers.remove()
            self.withdrawn.emit()
            self.said.emit(f"'{gone[0]}' was renamed or deleted: judge again", False)

    def keep(self, name: str) -> None:
        """Go on with one of the models.

        One that was made for the comparison becomes a version; one that has not seen any strokes is fitted to those of
        the comparison and becomes one, too.
        """
        case = self._case
        if case is None:
            return
        if self.is_running:
            self.said.emit("wait until this has ended, then choose what to keep", False)
            return
        self.layers.remove()
        if name in case.kept:
            self.said.emit(f"'{name}' is a version already", False)
            return
        if name in case.fitted:
            case.kept.add(name)
            self._bridge.save(case.fitted[name], case.scene.finish, self._on_model_saved)
            return
        try:
            card = self._bridge.models.card(name)
        except FewshotError as error:
            self.said.emit(str(error), True)
            return
        if card.classes:
            self.kept.emit(card)
            return
        make, title = partial(self._make_fit, case, name), f"fitting {name} to the strokes"
        self._submit(case, make, title, partial(self._on_keep_ended, case))

    def set_operating_point(self, point: OperatingPoint) -> None:
        """Make a version of the model that was judged first, with the border of one class moved."""
        case = self._case
        if case is None:
            return

        def make() -> ModelFile:
            model = self._bridge.models.read(case.params.model)
            return ModelFile.sealed(replace(model.card, never_miss=point, parent=model.card.id), model.weights)

        self._bridge.call(make, partial(self._on_model_made, case))

    def _on_model_made(self, case: Case, model: ModelFile | None, error: Exception | None) -> None:
        if model is None:
            self.said.emit(str(error), True)
            return
        self.layers.remove()
        self._bridge.save(model, case.scene.finish, self._on_model_saved)

    def _take_scene(self, params: Params) -> Scene:
        if not TASKS[params.task].needs_strokes:
            raise ModelError("only segmentations are judged on strokes: choose the task Segmentation")
        scene = take_scene(params, self._bridge.models.card(params.model), self._viewer, None)
        assert params.labels is not None  # take_scene would have said so
        scene.painted = PaintedPlanes(params.labels, lambda: None)
        scene.others = self._others.renew(scene.image, params.labels, params.other_images)
        scene.renew_classes()
        return scene

    def _judge(self, case: Case) -> None:
        title = f"judging {' and '.join(case.cards)}"
        self._submit(case, partial(self._make_judge, case), title, partial(self._on_judge_ended, case))

    def _submit(self, case: Case, make: Callable[[], Job], title: str, on_ended: Callable[[End], None]) -> None:
        self.work = self._bridge.submit(make, title)
        self.work.noted.connect(lambda message: self.said.emit(message, False))
        self.work.ended.connect(on_ended)
        note_left_out(self._bridge, self.work, case.scene.painted)
        self.started.emit(self.work)

    def _make_fit(self, case: Case, name: str) -> Job:
        case.painting.check()
        model = self._bridge.models.read(name)
        return FineTune(model, case.painting, (), Budget(steps=0), case.params.seed, None, name)

    def _make_judge(self, case: Case) -> Job:
        models = tuple(case.fitted.get(name) or self._bridge.models.read(name) for name in case.cards)
        view = case.scene.reader.take_view(case.scene.region)
        first = None if case.first is None else self._bridge.models.read(case.first.name)
        return Judge(models, case.painting, view, case.params.seed, first)

    def _on_fit_ended(self, case: Case, end: End) -> None:
        if isinstance(end, Finished) and end.model is not None:
            case.fitted[CLASSIC] = end.model
            self._judge(case)
        else:
            self._on_judge_ended(case, end)

    def _on_keep_ended(self, case: Case, end: End) -> None:
        if isinstance(end, Finished) and end.model is not None:
            self._bridge.save(end.model, case.scene.finish, self._on_model_saved)
        else:
            is_failure = isinstance(end, Failed | Lost)
            self.said.emit(end.message if is_failure else "stopped: nothing was kept", is_failure)  # type: ignore[union-attr]
        self.ended.emit()

    def _on_judge_ended(self, case: Case, end: End) -> None:
        self._others.close()
        if case.scene.painted is not None:
            case.scene.painted.close()
        if isinstance(end, Finished):
            self._case, self.verdicts = case, end.details["verdicts"]
            self._show(case)
            self.judged.emit(self.verdicts)
            scores = ", ".join(spoken(v) for v in self.verdicts if v.held_out)
            sentence = f"mean IoU on strokes held out: {scores or 'too few strokes to tell'}"
            self.said.emit(with_notes(sentence, self.work.notes if self.work is not None else ()), False)
            self.check_models()
        else:
            is_failure = isinstance(end, Failed | Lost)
            self.said.emit(end.message if is_failure else "stopped: nothing was judged", is_failure)  # type: ignore[union-attr]
        self.ended.emit()

    def _show(self, case: Case) -> None:
        scene = case.scene
        if scene.image not in self._viewer.layers:
            return
        here = scene.card.classes  # named and coloured as the strokes are
        cards = case.cards | {name: model.card for name, model in case.fitted.items()}
        answers = [
            (replace(card, classes=here + card.classes[len(here) :]), verdict.view)
            for card, verdict in zip(cards.values(), self.verdicts, strict=True)
            if verdict.view is not None
        ]
        self.layers.show(answers, scene.region, scene.place, case.params.labels)

    def _on_model_saved(self, card: ModelCard | None, error: Exception | None) -> None:
        card = error.card if isinstance(error, NotSavedError) else card
        if error is not None:
            self.said.emit(str(error), True)
        if card is not None:
            self.kept.emit(card)


def spoken(verdict: Verdict) -> str:
    """The score of a model, and what it is on images that were denoised first, where that was asked for."""
    assert verdict.held_out is not None
    denoised = verdict.denoised
    more = "" if denoised is None else f" ({denoised.confusion.mean_iou:.2f} denoised first)"
    return f"{verdict.name} {verdict.held_out.confusion.mean_iou:.2f}{more}"
