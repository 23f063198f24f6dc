"""The controls of fine-tuning and what they show while it runs: progress, time left, loss curve, score."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_fewshot.compute.events import Progress
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.job import Budget
from napari_fewshot.ui.docks.extras_menu import ExtrasMenu
from napari_fewshot.ui.docks.fields import button, caption, named
from napari_fewshot.ui.docks.loss_plot import LossPlot
from napari_fewshot.ui.docks.window import FINE_TUNE_KEYS, STOP_KEYS


class TrainForm(QWidget):
    """Fine-tune, Live, Stop, Resume; shows `Progress` as it comes."""

    fine_tune_wanted = Signal()
    stop_wanted = Signal()
    resume_wanted = Signal()
    live_toggled = Signal(bool)

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self._make_buttons()
        self.seconds = named(QSpinBox(), "seconds", "Seconds", "How long to fine-tune; 0 goes on until you stop it.")
        self.seconds.setRange(0, 36000)
        self.seconds.setSpecialValueText("until stopped")
        self.seconds.setSuffix(" s")
        self.seconds.setValue(seconds)
        self.extras = ExtrasMenu()
        self.progress = named(QProgressBar(), "progress", "Progress", "How far the job is, and the time left.")
        self.progress.setRange(0, 1000)
        self.progress.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.plot = LossPlot()
        self.score = named(
            QLabel(), "score", "Score", "How well what was held out from training is answered; 1 is perfect."
        )
        self.score.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._lay_out()
        self.clear()

    def _make_buttons(self) -> None:
        self.fine_tune = button(
            "Fine-tune", "fine_tune", "Trains the model on the strokes, or on the image, and shows the result while it trains.",
            self.fine_tune_wanted.emit, FINE_TUNE_KEYS,
        )  # fmt: skip
        self.live = named(
            QPushButton("Live"), "live", "Live",
            "While on, every finished stroke and every move of the view renews the preview. "
            "Switched off, what it has learned becomes a version.",
        )  # fmt: skip
        self.live.setCheckable(True)
        self.live.toggled.connect(self.live_toggled)
        self.stop = button(
            "Stop", "stop", "Ends what runs; the best model so far, and planes that are done, are kept.",
            self.stop_wanted.emit, STOP_KEYS,
        )  # fmt: skip
        self.resume = button(
            "Resume",
            "resume",
            "Goes on from where the last fine-tuning ended, with the strokes of now.",
            self.resume_wanted.emit,
        )

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for one, stretch in ((self.fine_tune, 3), (self.live, 2), (self.stop, 2), (self.resume, 2)):
            buttons.addWidget(one, stretch)
        budget = QHBoxLayout()
        budget.addWidget(caption("Train for", self.seconds))
        budget.addWidget(self.seconds)
        budget.addWidget(self.extras)
        budget.addWidget(self.score, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(buttons)
        column.addLayout(budget)
        column.addWidget(self.progress)
        column.addWidget(self.plot, 1)

    @property
    def budget(self) -> Budget:
        return Budget(seconds=float(self.seconds.value()) or None)

    def clear(self, score_name: str = "score") -> None:
        """Forget the last job; the score of the next one goes by this name."""
        self._score_name = score_name
        self.plot.clear_curve()
        self.score.setText("")
        self.show_idle()

    def show_waiting(self) -> None:
        """Something was asked for and has not answered yet."""
        self._show_share(0.0, "working…")

    def show_idle(self) -> None:
        self._show_share(0.0, "idle")

    def show_training(self, event: Progress) -> None:
        """Progress, loss and score of a fine-tuning."""
        if event.losses:
            self.plot.add(event.done, sum(event.losses.values()))
        if event.score is not None:
            self._show_score(self._score_name, event.score)
        if event.seconds_left is None:
            self._show_share(0.0, f"step {event.done} · until you stop it")
            return
        share = event.seconds / max(event.seconds + event.seconds_left, 1e-6)
        self._show_share(share, f"step {event.done} · {_spoken(event.seconds_left)} left")

    def show_planes(self, done: int, total: int | None, seconds_left: float | None) -> None:
        """Progress of an apply."""
        left = f" · {_spoken(seconds_left)} left" if seconds_left else ""
        self._show_share(done / total if total else 0.0, f"{done} of {total or '?'}{left}")

    def show_card(self, card: ModelCard) -> None:
        """The history of a version that is there, and its score."""
        self.plot.show_history(card.losses, card.steps)
        self._show_score(*(card.score or ("", None)))

    def _show_score(self, name: str, score: float | None) -> None:
        """In few words, as the tooltip tells that it is about what was held out."""
        short = name.removeprefix("held-out ").removeprefix("episode ")
        self.score.setText("" if score is None else f"{short} {score:.2f}")

    def _show_share(self, share: float, text: str) -> None:
        """Without Qt's animation of a job without an end, and painted with the next frame, not at once.

        Either would compose the whole window, the canvas included, one more time.
        """
        self.progress.setUpdatesEnabled(False)
        self.progress.setValue(round(1000 * min(1.0, share)))
        self.progress.setFormat(text)
        self.progress.setUpdatesEnabled(True)


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
