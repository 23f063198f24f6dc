"""Where the dock's restorations are looked after: alternatives on request, a word when a model does not fit the image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import napari
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.spectrum import Spectrum
from napari_fewshot.tasks import TASKS
from napari_fewshot.ui.alternatives import Alternatives
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.docks.trust import N_ALTERNATIVES, TrustForm
from napari_fewshot.ui.fitting import advice, take_spectrum
from napari_fewshot.ui.layers import current_index, take_picture
from napari_fewshot.ui.scene import Params


class TrustDesk(QObject):
    """Connects the form of trust to the worker; ``read`` is what the whole dock's form says."""

    started = Signal(object)  # Work
    ended = Signal()
    said = Signal(str, bool)

    def __init__(self, viewer: napari.Viewer, bridge: Bridge, form: TrustForm, read: Callable[[], Params]) -> None:
        super().__init__(form)
        self._viewer, self._bridge, self._form, self._read = viewer, bridge, form, read
        self.alternatives = Alternatives(viewer, bridge, self)
        form.alternatives_wanted.connect(self._on_alternatives_wanted)
        form.alternative_chosen.connect(self.alternatives.show)
        self.alternatives.started.connect(self.started)
        self.alternatives.offered.connect(self._on_alternatives_offered)
        self.alternatives.gone.connect(self._on_alternatives_gone)
        self.alternatives.ended.connect(self.ended)
        self.alternatives.said.connect(self.said)

    @property
    def is_running(self) -> bool:
        return self.alternatives.is_running

    def stop(self) -> None:
        """Give up what is under way."""
        self.alternatives.stop()

    def forget(self) -> None:
        """Offer no alternatives to what was asked of another task, and show none."""
        self.alternatives.forget()
        self._form.forget_alternatives()

    def look_at_spectrum(self, *what: object) -> None:
        """Say so when the current model was trained on nothing like the current image."""
        params = self._read()
        if params.image is None or not params.model or TASKS[params.task].needs_strokes:
            return
        try:
            picture = take_picture(params.image, self._viewer)
            picture.check_size()
            index = current_index(params.image, self._viewer, picture)
        except FewshotError:  # said when it is worked on
            return
        self._bridge.call(partial(take_spectrum, picture, index), partial(self._on_spectrum_taken, params.image))

    def _on_spectrum_taken(self, image: Image, found: Spectrum, error: Exception | None) -> None:
        params = self._read()
        is_news = error is None and image is params.image and params.model and not self._bridge.is_busy
        if not is_news or TASKS[params.task].needs_strokes:
            return
        models = self._bridge.models
        with suppress(FewshotError):  # a damaged model is told of when it is used
            word = advice(found, models.card(params.model), models.of_task(params.task))
            if word is not None:
                self.said.emit(word, False)

    def _on_alternatives_wanted(self) -> None:
        params = self._read()
        restoring = self._form.restoring(N_ALTERNATIVES)
        try:
            card = self._bridge.models.card(params.model)
        except FewshotError as error:
            self.said.emit(str(error), True)
            if self._bridge.models.is_gone(params.model):
                self._bridge.models_changed.emit()
            return
        self.alternatives.ask(params, card, restoring)

    def _on_alternatives_gone(self) -> None:
        self._form.forget_alternatives()
        self.said.emit("there are no alternatives any more: press Show alternatives for new ones", False)

    def _on_alternatives_offered(self, n: int, elsewhere: str) -> None:
        self._form.offer_alternatives(n)
        look = f" of {elsewhere}: go back there and" if elsewhere else ":"
        self.said.emit(f"{n} alternatives{look} move the slider; what changes cannot be told from this image", False)
