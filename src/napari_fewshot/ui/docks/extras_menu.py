"""What a segmentation may learn from beside its strokes, as a small menu."""

from __future__ import annotations

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QPushButton

from napari_fewshot.core.job import Extras
from napari_fewshot.ui.docks.fields import named


class ExtrasMenu(QPushButton):
    """A plus with the number of what is ticked in its menu; narrow, as the score needs the room beside it."""

    def __init__(self) -> None:
        super().__init__()
        named(
            self, "extras", "Also learn from",
            "What else is learned from than the strokes on this image: those on other open images, and, by the layers, what is not "
            "painted. The latter made not much difference on average; strokes held out tell whether what came of it is kept.",
        )  # fmt: skip
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.other_images = self._add(
            menu, "strokes on other open images",
            "All strokes made for other images in this window are learned from too, also those painted while it trains: for "
            "Fine-tune, Live, Next, Propagate and Judge. The same number is the same class on all of them.",
        )  # fmt: skip
        self.contrast = self._add(
            menu, "contrast between classes, in all painted slices",
            "What is painted alike is to look alike to the network, in all images and slices that are painted and where marks "
            "were accepted, and so are pixels around that it is sure of.",
        )  # fmt: skip
        self.copy_paste = self._add(
            menu, "copy-paste of painted objects",
            "Objects that the strokes grow to are cut out, turned, pasted into other places and asked for there.",
        )  # fmt: skip
        self.rank = self._add(
            menu, "rank loss for the Never-miss class",
            "Pixels of the class that is never to be missed are to score above all others, so that finding them costs fewer false "
            "alarms. For classes that are a fraction of a percent; it does nothing while Never miss is off.",
        )  # fmt: skip
        self.setMenu(menu)
        self.setFixedWidth(34)
        self.setStyleSheet("QPushButton::menu-indicator { image: none; width: 0px; }")
        self._show_count()

    @property
    def extras(self) -> Extras:
        return Extras(self.contrast.isChecked(), self.copy_paste.isChecked(), self.rank.isChecked())

    def _add(self, menu: QMenu, text: str, hint: str) -> QAction:
        action = menu.addAction(text)
        assert action is not None
        action.setCheckable(True)
        action.setToolTip(hint)
        action.toggled.connect(self._show_count)
        return action

    def _show_count(self) -> None:
        n = sum(action.isChecked() for action in (self.other_images, self.contrast, self.copy_paste, self.rank))
        self.setText(f"+{n}" if n else "+")
