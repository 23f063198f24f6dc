"""The page on which models are judged: scores by class, confusion, two models side by side. Knows no layer and no worker."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_fewshot.core.card import ClassLabel
from napari_fewshot.core.judge import Confusion, Verdict
from napari_fewshot.ui.docks.fields import button, caption, named, narrow, quietly
from napari_fewshot.ui.docks.never_miss import NeverMissForm

ROW_PX = 22
NAME_PX = 110  # the most that names of classes take from the numbers beside them
DENOISED = "denoised first"


class JudgePage(QWidget):
    """Asks for a judgement and shows what comes of it."""

    judge_wanted = Signal(str)  # the model to compare with, or empty
    classic_wanted = Signal()
    look_wanted = Signal(int)  # the model of that number; the next one is their differences, the last one nothing
    keep_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._verdicts: tuple[Verdict, ...] = ()
        self._classes: tuple[ClassLabel, ...] = ()
        self._nothing: QPushButton | None = None
        self._make_controls()
        self.never_miss = NeverMissForm()
        self.scores = _table("judge_scores", "Scores", (
            "Intersection over union of each class on strokes that the last layer did not learn from; "
            "the last row is the model as it is, on all strokes."
        ))  # fmt: skip
        self.confusion = _table(
            "judge_confusion", "Confusion", "Of each painted class (row), how much is taken for which (column)."
        )
        self.shown = narrow(named(QComboBox(), "judge_shown", "Confusion of", "Whose confusion is shown."))
        self.shown.currentIndexChanged.connect(lambda index: self._show_confusion())
        self._lay_out()
        self.show_verdicts((), ())

    def _make_controls(self) -> None:
        self.against = narrow(
            named(QComboBox(), "judge_against", "Against", "A second model to compare the current one with.")
        )
        self.judge = button(
            "Judge", "judge", "Asks the current model, and the one chosen here, for strokes held out from them.",
            lambda: self.judge_wanted.emit(str(self.against.currentData() or "")),
        )  # fmt: skip
        self.classic = button(
            "Compare with classic", "compare_classic",
            "Fits a forest of decision trees on hand-made features (intensity, edges and texture at five scales) to the "
            "same strokes and compares it with the current model.", self.classic_wanted.emit,
        )  # fmt: skip
        self.looks = QButtonGroup(self)
        self.looks.idClicked.connect(self.look_wanted)
        self._choices = QGridLayout()
        self._choices.setColumnStretch(1, 1)
        self._choices.setColumnStretch(2, 1)
        self.hint = QLabel()
        self.hint.setObjectName("judge_hint")
        self.hint.setWordWrap(True)

    def _lay_out(self) -> None:
        top = QGridLayout()
        top.setColumnStretch(1, 1)
        top.addWidget(caption("Against", self.against), 0, 0)
        top.addWidget(self.against, 0, 1)
        top.addWidget(self.judge, 0, 2)
        top.addWidget(self.classic, 1, 0, 1, 3)
        whose = QHBoxLayout()
        of_whom = caption("Confusion of", self.shown)
        self._outcome = (self.scores, of_whom, self.shown, self.confusion)
        whose.addWidget(of_whom)
        whose.addWidget(self.shown, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 6, 4, 4)
        column.addLayout(top)
        column.addWidget(self.hint)
        column.addWidget(self.scores)
        column.addLayout(whose)
        column.addWidget(self.confusion)
        column.addLayout(self._choices)
        column.addWidget(self.never_miss)
        column.addStretch()

    def list_models(self, names: Sequence[str]) -> None:
        """Offer models to compare with."""
        before = self.against.currentData()
        quietly(self.against, self.against.clear)
        for text, name in (("no other model", ""), *((n, n) for n in names)):
            self.against.addItem(text, name)
        self.against.setCurrentIndex(max(0, self.against.findData(before)))

    def show_verdicts(self, verdicts: Sequence[Verdict], classes: Sequence[ClassLabel]) -> None:
        """Show how the models do, the current one first; ``classes`` are those of 1 .. K."""
        self.never_miss.judge(
            verdicts[0].held_out if verdicts else None, classes, bool(verdicts and verdicts[0].as_saved)
        )
        self._verdicts, self._classes = tuple(verdicts), tuple(classes)
        names = [v.name for v in verdicts]
        quietly(self.shown, lambda: (self.shown.clear(), self.shown.addItems(names)))
        self._fill_scores()
        self._show_confusion()
        both = len(verdicts) == 2
        self._renew_buttons(names, ["differences"] if both else [])
        for widget in self._outcome:
            widget.setVisible(bool(verdicts))
        self.hint.setText(self._advice())

    def look_away(self) -> None:
        """Show nothing of what was judged any more, as something else is to be seen."""
        if self._nothing is not None:
            self._nothing.click()

    def _advice(self) -> str:
        if not self._verdicts:
            return "How well is a stroke answered that the model has not learned from?"
        if any(v.held_out is None for v in self._verdicts):
            return "Too few strokes to hold some out: paint at least two of each class, apart from each other."
        n = min(len(v.held_out.truth) for v in self._verdicts if v.held_out)
        return f"IoU on {n} painted pixels held out; 1 is perfect."

    def _fill_scores(self) -> None:
        held_out = [v.held_out.confusion if v.held_out else None for v in self._verdicts]
        numbers = next((c.classes for c in held_out if c is not None), ())
        is_denoised = any(v.denoised for v in self._verdicts)
        rows = [*(self._name(k) for k in numbers), "mean", *([DENOISED] if is_denoised else []), "all strokes"]
        columns = [[*_ious(c, len(numbers)), *([v.denoised and v.denoised.confusion.mean_iou] if is_denoised else []),
                    v.as_saved.mean_iou if v.as_saved else None]
                   for v, c in zip(self._verdicts, held_out, strict=True)]  # fmt: skip
        heads = [v.name for v in self._verdicts]
        _resize(self.scores, rows if columns else [], [*heads, "difference"] if len(columns) == 2 else heads)
        for row in range(len(rows) if columns else 0):
            values = [column[row] for column in columns]
            hint = "those it learned from included" if row == len(rows) - 1 else "on strokes held out"
            hint = "the mean, fitted and asked on denoised images" if rows[row] == DENOISED else hint
            for at, value in enumerate(values):
                self.scores.setItem(row, at, _item("–" if value is None else f"{value:.2f}", hint))
            if len(values) == 2:
                first, second = values
                known = first is not None and second is not None
                self.scores.setItem(row, 2, _item(f"{second - first:+.2f}" if known else "–"))  # type: ignore[operator]

    def _show_confusion(self) -> None:
        chosen = next((v for v in self._verdicts if v.name == self.shown.currentText()), None)
        confusion = chosen.held_out.confusion if chosen and chosen.held_out else None
        names = [self._name(k) for k in confusion.classes] if confusion else []
        _resize(self.confusion, names, names)
        if confusion is None:
            return
        for row, column in np.ndindex(confusion.shares.shape):
            share = float(confusion.shares[row, column])
            item = _item(f"{100 * share:.0f} %", f"{share:.1%} of {names[row]} is taken for {names[column]}")
            tint = QColor("#228833" if row == column else "#ee6677")
            tint.setAlphaF(0.6 * share)
            item.setBackground(tint)
            self.confusion.setItem(row, column, item)

    def _renew_buttons(self, names: Sequence[str], extra: Sequence[str]) -> None:
        """What can be shown over the image, and what can be kept."""
        while self._choices.count():
            self._choices.takeAt(0).widget().deleteLater()
        self._nothing = None
        if not names:
            return
        self._choices.addWidget(QLabel("Show"), 0, 0)
        for n, look in enumerate([*names, *extra, "nothing"]):
            one = named(QPushButton(look), f"look_{n}", f"Show {look}", f"Shows {look} over the image.")
            one.setCheckable(True)
            one.setChecked(n == 0)
            self.looks.addButton(one, n)
            self._choices.addWidget(one, n // 2, 1 + n % 2)
            self._nothing = one
        self._choices.addWidget(QLabel("Keep"), 2, 0)
        for n, name in enumerate(names):
            hint = f"Goes on with {name} as the current model; one that is no version yet becomes one."
            one = button(name, f"keep_{n}", hint, partial(self.keep_wanted.emit, name))
            one.setAccessibleName(f"Keep {name}")
            self._choices.addWidget(one, 2, 1 + n)

    def _name(self, k: int) -> str:
        return self._classes[k - 1].name if k <= len(self._classes) else f"class {k}"


def _ious(confusion: Confusion | None, n_classes: int) -> list[float | None]:
    return [None] * (n_classes + 1) if confusion is None else [*map(float, confusion.ious), confusion.mean_iou]


def _table(object_name: str, title: str, hint: str) -> QTableWidget:
    table = named(QTableWidget(), object_name, title, hint)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.horizontalHeader().setSectionResizeMode(table.horizontalHeader().ResizeMode.Stretch)
    for header in (table.horizontalHeader(), table.verticalHeader()):
        header.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    table.verticalHeader().setMaximumWidth(NAME_PX)
    table.verticalHeader().setDefaultSectionSize(ROW_PX)
    return table


def _resize(table: QTableWidget, rows: Sequence[str], columns: Sequence[str]) -> None:
    """As many rows and columns as are named, and no more room than they need, up to eight rows."""
    table.clear()
    table.setRowCount(len(rows))
    table.setColumnCount(len(columns))
    table.setVerticalHeaderLabels(list(rows))
    table.setHorizontalHeaderLabels(list(columns))
    for n, name in enumerate(columns):
        table.horizontalHeaderItem(n).setToolTip(name)
    for n, name in enumerate(rows):
        table.verticalHeaderItem(n).setToolTip(name)
    table.setFixedHeight(ROW_PX * (min(len(rows), 8) + 1) + 10)


def _item(text: str, hint: str = "") -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    item.setToolTip(hint or text)
    return item
