"""The controls of applying: to what, with or without confidence."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QHBoxLayout, QWidget

from napari_fewshot.ui.applying import LAYER, SCOPES
from napari_fewshot.ui.docks.fields import button, caption, named, narrow
from napari_fewshot.ui.docks.window import APPLY_KEYS


class ApplyForm(QWidget):
    """Scope, confidence, Apply."""

    apply_wanted = Signal()

    def __init__(self, confidence: bool) -> None:
        super().__init__()
        self.scope = narrow(named(QComboBox(), "apply_scope", "Apply to", "What the current model is applied to."))
        for key, text in SCOPES.items():
            self.scope.addItem(text, key)
        self.scope.setCurrentIndex(self.scope.findData(LAYER))
        self.apply = button(
            "Apply", "apply", "Applies the current model; results appear slice by slice as layers over their images.",
            self.apply_wanted.emit, APPLY_KEYS,
        )  # fmt: skip
        self.confidence = named(
            QCheckBox("with a confidence layer"), "confidence", "Confidence",
            "Adds a layer that tells, from 0 to 1, how sure the model is of each pixel; to previews too.",
        )  # fmt: skip
        self.confidence.setChecked(confidence)
        self.denoise_first = named(
            QCheckBox("denoise first"), "denoise_first", "Denoise first",
            "Restores each image with your newest denoising model, or em-denoise, before the current model sees it: "
            "for models that were fine-tuned on denoised images. The page Judge then tells what that gains on your strokes.",
        )  # fmt: skip
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.addWidget(caption("Apply to", self.scope), 0, 0)
        grid.addWidget(self.scope, 0, 1)
        grid.addWidget(self.apply, 0, 2)
        choices = QHBoxLayout()
        choices.addWidget(self.denoise_first)
        choices.addWidget(self.confidence)
        choices.addStretch()
        grid.addLayout(choices, 1, 0, 1, 3)

    def name_doubts(self, is_classes: bool) -> None:
        """A segmentation is sure of a class to some degree and may be denoised first; a restoration may be off by so much."""
        self.denoise_first.setVisible(is_classes)
        self.confidence.setText("with a confidence layer" if is_classes else "with an uncertainty layer")
        hint = (
            "Adds a layer that tells, from 0 to 1, how sure the model is of each pixel; to previews too."
            if is_classes
            else "Adds a layer that tells how far each pixel may be off: one standard deviation, in the image's units. "
            "Takes five times as long."
        )
        self.confidence.setToolTip(f"<p>{hint}</p>")
        self.confidence.setAccessibleDescription(hint)

    @property
    def scope_key(self) -> str:
        return str(self.scope.currentData())
