"""The control that chooses one of the painted classes. Knows no layer."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox

from napari_fewshot.core.objects import BACKGROUND
from napari_fewshot.ui.docks.fields import named, narrow, quietly


class ClassCombo(QComboBox):
    """Guards that the class the user chose is chosen wherever it is offered, and else the first that is not background."""

    def __init__(self, object_name: str, title: str, hint: str) -> None:
        super().__init__()
        narrow(named(self, object_name, title, hint))
        self.setMinimumContentsLength(5)
        self._wanted: int | None = None
        self.currentIndexChanged.connect(self._on_self_index_changed)

    @property
    def number(self) -> int | None:
        """The number of the class that is chosen."""
        return self.currentData()

    def show_classes(self, names: dict[int, str]) -> None:
        """Offer classes by number."""
        quietly(self, lambda: self._fill(names))

    def _fill(self, names: dict[int, str]) -> None:
        self.clear()
        for number, name in names.items():
            self.addItem(name, number)
        default = next((number for number in names if number != BACKGROUND), BACKGROUND)
        self.setCurrentIndex(max(0, self.findData(self._wanted if self._wanted in names else default)))

    def _on_self_index_changed(self, index: int) -> None:
        self._wanted = self.number
