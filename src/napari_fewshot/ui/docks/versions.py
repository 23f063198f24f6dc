"""The panel of versions: use one, compare two, rename, delete, export, import. Knows models, not how they are made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QGridLayout,
    QInputDialog,
    QLabel,
    QMessageBox,
    QTableWidget,
    QTableWidgetItem,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.docks.fields import button, named
from napari_fewshot.ui.models import Models

ZIP, FOLDER = "Zip file (*.zip)", "Folder (*)"


class VersionsPanel(QWidget):
    """Lists the models of the shelf; one selected shows what it is, two stand side by side."""

    chosen = Signal(object)  # ModelCard to use from now on
    changed = Signal(str, str)  # a model of another name now: the old one and the new; empty where none is renamed
    said = Signal(str, bool)

    def __init__(self, models: Models) -> None:
        super().__init__()
        self._models = models
        self._cards: dict[str, ModelCard] = {}
        self.list = named(
            QTreeWidget(), "versions", "Versions",
            "All models: those that came with the plugin, then yours. Select one to see what it is, two to compare.",
        )  # fmt: skip
        self.list.setHeaderLabels(["Model", "Score", "Painted"])
        self.list.setRootIsDecorated(False)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setColumnWidth(0, 170)
        self.list.setColumnWidth(1, 60)
        self.facts = named(QTableWidget(), "version_facts", "Facts", "What the selected versions are, side by side.")
        self.facts.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.facts.horizontalHeader().setSectionResizeMode(self.facts.horizontalHeader().ResizeMode.Stretch)
        self.facts.setWordWrap(False)
        self.facts.verticalHeader().setDefaultSectionSize(22)
        self._make_buttons()
        self._lay_out()
        self.list.itemSelectionChanged.connect(self._on_list_selection_changed)
        self.list.itemDoubleClicked.connect(lambda item, column: self._on_use_clicked())
        self.refresh()

    def _make_buttons(self) -> None:
        self.use = button("Use", "use_version", "Makes the selected version the current model.", self._on_use_clicked)
        self.rename = button(
            "Rename", "rename_version", "Gives the selected version another name.", self._on_rename_clicked
        )
        self.delete = button(
            "Delete", "delete_version", "Deletes the selected versions for good.", self._on_delete_clicked
        )
        self.save = button(
            "Save", "save_version", "Tries again to save a version that could not be saved.", self._on_save_clicked
        )
        self.export = button(
            "Export…",
            "export_version",
            "Copies the selected version to a zip file or a folder.",
            self._on_export_clicked,
        )
        self.take_in = button(
            "Import…", "import_version", "Adds a version from a zip file or a model folder.", self._on_import_clicked
        )

    def _lay_out(self) -> None:
        grid = QGridLayout()
        for n, one in enumerate((self.use, self.rename, self.delete, self.export, self.take_in, self.save)):
            grid.addWidget(one, n // 3, n % 3)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 6, 4, 4)
        column.addWidget(self.list, 3)
        column.addLayout(grid)
        column.addWidget(QLabel("Select one version, or two to compare:"))
        column.addWidget(self.facts, 4)

    def showEvent(self, event: Any) -> None:
        """Other viewers may have changed the shelf."""
        super().showEvent(event)
        self.refresh()

    def refresh(self) -> None:
        """Read the shelf again and keep the selection."""
        selected = set(self._selected())
        self._cards = {c.name: c for c in self._models.cards()}
        self.list.clear()
        for name, card in self._cards.items():
            measure, score = card.score or ("", None)
            shown = "" if score is None else f"{score:.3f}"
            item = QTreeWidgetItem([self._shown(name), shown, str(card.n_painted_px or "")])
            item.setToolTip(1, measure)
            item.setData(0, Qt.ItemDataRole.UserRole, name)
            item.setToolTip(0, f"{name} ({TASKS[card.task].title if card.task in TASKS else card.task})")
            self.list.addTopLevelItem(item)
            item.setSelected(name in selected)
        for name, reason in self._models.faults().items():
            item = QTreeWidgetItem([f"{name} (cannot be read)", "", ""])
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            item.setToolTip(0, f"<p>{reason}</p>")
            self.list.addTopLevelItem(item)
        self._on_list_selection_changed()

    def select(self, *names: str) -> None:
        """Select versions by name."""
        for row in range(self.list.topLevelItemCount()):
            item = self.list.topLevelItem(row)
            item.setSelected(item.data(0, Qt.ItemDataRole.UserRole) in names)

    def _shown(self, name: str) -> str:
        return f"{name} (not saved)" if self._models.is_unsaved(name) else name

    def _selected(self) -> list[str]:
        return [item.data(0, Qt.ItemDataRole.UserRole) for item in self.list.selectedItems()]

    def _on_list_selection_changed(self) -> None:
        names = [n for n in self._selected() if n in self._cards]
        own = [n for n in names if not self._models.is_embedded(n)]
        self.use.setEnabled(len(names) == 1)
        self.export.setEnabled(len(names) == 1)
        self.rename.setEnabled(len(own) == 1 == len(names))
        self.delete.setEnabled(bool(own) and len(own) == len(names))
        self.save.setVisible(any(self._models.is_unsaved(n) for n in self._cards))
        self.save.setEnabled(len(names) == 1 and self._models.is_unsaved(names[0]))
        self._show_facts([self._cards[n] for n in names[:2]])

    def _show_facts(self, cards: list[ModelCard]) -> None:
        facts = [_facts(c, self._cards) for c in cards]
        scores = [key for c in cards for key in c.scores]
        rows = list(dict.fromkeys([*scores, *(key for f in facts for key in f)]))
        self.facts.setRowCount(len(rows))
        self.facts.setColumnCount(len(cards))
        self.facts.setHorizontalHeaderLabels([c.name for c in cards])
        self.facts.setVerticalHeaderLabels(rows)
        for column, found in enumerate(facts):
            for row, key in enumerate(rows):
                item = QTableWidgetItem(found.get(key, "–"))
                item.setToolTip(found.get(key, "–"))
                self.facts.setItem(row, column, item)

    def _on_use_clicked(self) -> None:
        if len(self._selected()) == 1:
            self.chosen.emit(self._cards[self._selected()[0]])

    def _on_rename_clicked(self) -> None:
        (old,) = self._selected()
        new, is_given = QInputDialog.getText(self, "Rename a version", f"New name of {old}:", text=old)
        if is_given and new.strip() and new != old:
            if self._try(lambda: self._models.rename(old, new.strip()), f"renamed {old} to {new.strip()}", old):
                self.select(new.strip())

    def _on_delete_clicked(self) -> None:
        names = self._selected()
        answer = QMessageBox.question(self, "Delete versions", f"Delete {', '.join(names)} for good?")
        if answer == QMessageBox.StandardButton.Yes:
            for name in names:
                self._try(lambda name=name: self._models.delete(name), f"deleted {name}")  # type: ignore[misc]

    def _on_export_clicked(self) -> None:
        (name,) = self._selected()
        title, kinds = f"Export {name}", f"{ZIP};;{FOLDER}"
        chosen, kind = QFileDialog.getSaveFileName(self, title, f"{name}.zip", kinds)
        if chosen:
            target = Path(chosen)
            target = target.with_suffix("") if kind == FOLDER and target.suffix.lower() == ".zip" else target
            self._try(lambda: self._models.export(name, target), f"exported {name} to {target}")

    def _on_import_clicked(self) -> None:
        title = "Choose an exported model: its zip file, or the card.json in its folder"
        chosen, _ = QFileDialog.getOpenFileName(self, title, "", "Models (*.zip card.json)")
        if chosen:
            source = Path(chosen)
            source = source if source.suffix.lower() == ".zip" else source.parent
            self._try(lambda: self._models.import_model(source), f"imported the model in {source}")

    def _on_save_clicked(self) -> None:
        (name,) = self._selected()
        self._try(lambda: self._models.save_again(name), f"saved {name}", name)

    def _try(self, change: Callable[[], object], success: str, old: str = "") -> bool:
        """Change the shelf and tell whether that was done; with ``old`` the card it gives has the new name of that model."""
        new, is_done = "", False
        try:
            card = change()
        except FewshotError as error:
            self.said.emit(str(error), True)
        else:
            name = card.name if isinstance(card, ModelCard) else ""
            self.said.emit(f"{success} as {name}" if name and not old else success, False)
            new, is_done = name if old else "", True
        self.refresh()
        self.changed.emit(old, new)
        return is_done


def _facts(card: ModelCard, cards: dict[str, ModelCard]) -> dict[str, str]:
    parent = next((c.name for c in cards.values() if c.id == card.parent), card.parent or "–")
    try:
        created = datetime.fromisoformat(card.created).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        created = card.created
    return {
        "task": TASKS[card.task].title if card.task in TASKS else card.task,
        **{key: f"{value:.3f}" for key, value in card.scores.items()},
        "painted px": str(card.n_painted_px),
        "seconds": f"{card.seconds:.1f}",
        "steps": str(card.steps),
        "last loss": f"{card.losses[-1]:.4g}" if card.losses else "–",
        "classes": ", ".join(c.name for c in card.classes) or "–",
        "parent": parent,
        "created": created or "–",
        "id": card.id,
    }
