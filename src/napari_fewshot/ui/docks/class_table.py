"""The table of classes to paint: name, colour, which one the brush holds. Knows no worker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHBoxLayout,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_fewshot.core.card import ClassLabel
from napari_fewshot.ui.classes import MOST_CLASSES, classes_of, has_classes, know_class, name_classes
from napari_fewshot.ui.docks.fields import named, quietly, sign_button
from napari_fewshot.ui.docks.window import NEXT_CLASS_KEYS
from napari_fewshot.ui.results import default_class

NUMBER, NAME, COLOUR = range(3)
ROW_PX = 22


class ClassTable(QWidget):
    """Shows and edits the classes of one strokes layer; the selected row is the class the brush paints."""

    classes_changed = Signal()
    said = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self._labels: Labels | None = None
        self.table = named(
            QTableWidget(0, 3), "classes", "Classes",
            "The classes to paint. Click a row to paint that class, double-click its name or colour to change it. "
            "Background is a class that gets painted too; what is not painted (0) is not learned from.",
        )  # fmt: skip
        self.table.setHorizontalHeaderLabels(["", "Class", "Colour"])
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(ROW_PX)
        self.table.horizontalHeader().setSectionResizeMode(NAME, self.table.horizontalHeader().ResizeMode.Stretch)
        self.table.setColumnWidth(NUMBER, 28)
        self.table.setColumnWidth(COLOUR, 32)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setFixedHeight(3 * ROW_PX + 6)
        self.add = sign_button("+", "add_class", "Add a class", "Adds one more class to paint.", self.add_class)
        self.next = sign_button(
            "›", "next_class", "Next class", "Takes the next class into the brush.", self.next_class, NEXT_CLASS_KEYS
        )
        self._lay_out()
        self.table.itemChanged.connect(self._on_table_item_changed)
        self.table.itemSelectionChanged.connect(self._on_table_selection_changed)
        self.table.cellDoubleClicked.connect(self._on_table_cell_double_clicked)
        self.follow(None)

    def _lay_out(self) -> None:
        side = QVBoxLayout()
        side.addWidget(self.add)
        side.addWidget(self.next)
        side.addStretch()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.table)
        row.addLayout(side)

    def follow(self, labels: Labels | None) -> None:
        """Show the classes of another layer."""
        if self._labels is not None:
            self._labels.events.selected_label.disconnect(self._on_labels_selected_label)
            self._labels.events.paint.disconnect(self._on_labels_paint)
        self._labels = labels
        if labels is not None:
            labels.events.selected_label.connect(self._on_labels_selected_label)
            labels.events.paint.connect(self._on_labels_paint)
        self.setEnabled(labels is not None)
        self._show()

    def add_class(self) -> None:
        """One more class, with the next colour, in the brush."""
        if self._labels is not None:
            classes = classes_of(self._labels)
            self._set((*classes, default_class(len(classes) + 1)))
            self._labels.selected_label = len(classes) + 1

    def next_class(self) -> None:
        """Put the next class into the brush, after the last one the first."""
        if self._labels is not None:
            self._labels.selected_label = self._labels.selected_label % len(classes_of(self._labels)) + 1

    def _set(self, classes: tuple[ClassLabel, ...]) -> None:
        if self._labels is not None:
            name_classes(self._labels, classes)
            self._show()
            self.classes_changed.emit()

    def _show(self) -> None:
        classes = () if self._labels is None else classes_of(self._labels)
        quietly(self.table, lambda: self._fill(classes))
        self._on_labels_selected_label()

    def _fill(self, classes: tuple[ClassLabel, ...]) -> None:
        self.table.setRowCount(len(classes))
        for row, one in enumerate(classes):
            number = QTableWidgetItem(str(row + 1))
            number.setFlags(number.flags() & ~Qt.ItemFlag.ItemIsEditable)
            colour = QTableWidgetItem(_swatch(one.color), "")
            colour.setFlags(colour.flags() & ~Qt.ItemFlag.ItemIsEditable)
            colour.setToolTip(f"{one.color}: double-click to choose another colour")
            for column, item in ((NUMBER, number), (NAME, QTableWidgetItem(one.name)), (COLOUR, colour)):
                self.table.setItem(row, column, item)

    def _on_table_item_changed(self, item: QTableWidgetItem) -> None:
        if self._labels is None or item.column() != NAME:
            return
        classes = list(classes_of(self._labels))
        name = item.text().strip() or classes[item.row()].name
        if name in (c.name for n, c in enumerate(classes) if n != item.row()):
            self.said.emit(f"there is a class '{name}' already: choose another name", True)
            self._show()
            return
        classes[item.row()] = replace(classes[item.row()], name=name)
        self._set(tuple(classes))

    def _on_table_selection_changed(self) -> None:
        row = self.table.currentRow()
        if self._labels is not None and row >= 0 and self._labels.selected_label != row + 1:
            self._labels.selected_label = row + 1

    def _on_table_cell_double_clicked(self, row: int, column: int) -> None:
        if self._labels is None or column != COLOUR:
            return
        classes = list(classes_of(self._labels))
        chosen = QColorDialog.getColor(QColor(classes[row].color), self, f"Colour of {classes[row].name}")
        if chosen.isValid():
            classes[row] = replace(classes[row], color=chosen.name())
            self._set(tuple(classes))

    def _on_labels_paint(self, event: Any = None) -> None:
        """A class whose number was dialled in napari's own controls gets a name and a row once it is painted."""
        if self._labels is None:
            return
        classes, painted = classes_of(self._labels), self._labels.selected_label
        if not has_classes(self._labels):
            know_class(self._labels, painted)
            if len(classes) < len(classes_of(self._labels)):
                self._show()
                self.classes_changed.emit()
        elif len(classes) < painted <= MOST_CLASSES:
            self._set((*classes, *map(default_class, range(len(classes) + 1, painted + 1))))

    def _on_labels_selected_label(self, event: Any = None) -> None:
        if self._labels is not None and 1 <= self._labels.selected_label <= self.table.rowCount():
            row = self._labels.selected_label - 1
            quietly(self.table, lambda: self.table.setCurrentCell(row, NAME))


def _swatch(colour: str) -> QIcon:
    pixmap = QPixmap(16, 16)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)
