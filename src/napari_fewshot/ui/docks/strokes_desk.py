"""What happens when a strokes layer is made, chosen or accepted. Knows no worker."""

from __future__ import annotations

import napari
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_fewshot.core.errors import FewshotError
from napari_fewshot.ui.classes import new_strokes_layer, other_image
from napari_fewshot.ui.docks.data_form import DataForm
from napari_fewshot.ui.docks.window import NEXT_CLASS_KEYS
from napari_fewshot.ui.layers import take_picture
from napari_fewshot.ui.training import Trainer


class StrokesDesk(QObject):
    """Has the training follow the strokes layer that is chosen in the form."""

    said = Signal(str, bool)

    def __init__(self, viewer: napari.Viewer, form: DataForm, trainer: Trainer) -> None:
        super().__init__(form)
        self._viewer, self._form, self._trainer = viewer, form, trainer
        form.new_strokes_wanted.connect(self._on_new_strokes_wanted)
        form.labels_layer.layer_changed.connect(self._on_strokes_chosen)
        form.classes.classes_changed.connect(trainer.renew_classes)

    def accept(self, labels: Labels) -> None:
        """Paint on, and learn from, a layer with marks that were learned."""
        self._trainer.follow(labels)
        self._form.labels_layer.layer = labels
        self.said.emit(f"'{labels.name}' is what is learned from now; choose your own strokes layer to go back", False)

    def _on_new_strokes_wanted(self) -> None:
        image = self._form.image_layer.layer
        if image is None:
            sentence = "there is no image layer to paint on: open a micrograph, for example File > Open Sample"
            self.said.emit(sentence, True)
            return
        try:
            picture = take_picture(image, self._viewer)
            picture.check_size()
            labels = new_strokes_layer(self._viewer, image, picture)
        except FewshotError as error:
            self.said.emit(str(error), True)
            return
        self._trainer.follow(labels, is_empty=True)
        self._form.labels_layer.layer = labels
        sentence = f"paint a few strokes of each class; [{NEXT_CLASS_KEYS}] takes the next class into the brush"
        self.said.emit(sentence, False)

    def _on_strokes_chosen(self, labels: Labels | None) -> None:
        self._trainer.follow(labels)
        self._trainer.live.renew_look()
        image = self._form.image_layer.layer
        if labels is not None and image is not None and (other := other_image(labels, image)) is not None:
            sentence = f"these strokes were painted on '{other}': they are learned from as if on '{image.name}'"
            self.said.emit(sentence, False)
