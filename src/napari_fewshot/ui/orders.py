"""What a training has the worker do: its jobs and what is sent to them, made off the GUI thread. Draws nothing."""

from __future__ import annotations

from dataclasses import replace

from napari.layers import Labels

from napari_fewshot.core.job import Apply, FineTune, Pairs
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.strokes import Painting
from napari_fewshot.ui.layers import array_of
from napari_fewshot.ui.models import Models
from napari_fewshot.ui.scene import Params, Scene, take_pairs, take_regions


class Orders:
    """Guards that the worker is sent a painting once."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._sent: Painting | None = None

    def forget(self) -> None:
        """The next painting is a new one, whatever was sent before."""
        self._sent = None

    def make_fit(self, params: Params, scene: Scene, model: ModelFile | None) -> FineTune:
        """A training on all strokes of the scene.

        Raises
        ------
        StrokesError
            There is no strokes layer, or too little is painted.
        """
        model = model or self._models.read(params.model)
        painting = scene.take_painting()
        painting.check()
        self._sent = painting
        view = scene.reader.take_view(scene.region, params.confidence)
        name, extras = model.card.name, params.extras
        return FineTune(model, painting, (), params.budget, params.seed, view, name, extras)

    def make_pairs(self, params: Params, scene: Scene, model: ModelFile | None) -> FineTune:
        """A training of a restoration: on targets, on regions declared good, or on the images alone."""
        model = model or self._models.read(params.model)
        target = None if params.target is None else array_of(params.target)
        if isinstance(params.target, Labels):
            pairs: Pairs = take_regions(scene.region, target)
        else:
            pairs = take_pairs(scene.region, target, model.card.factor)
        view = scene.reader.take_view(scene.region, params.confidence)
        return FineTune(model, None, pairs, params.budget, params.seed, view, model.card.name)

    def make_look(self, params: Params, scene: Scene, model: ModelFile | None) -> Apply:
        """The region on display restored as it would be by Apply, without any training."""
        region = scene.region
        seen = Picture(region.take_pixels(), "YX", scene.place.name)
        intensity = scene.reader.take_intensity(region.index)  # that of the whole plane, as when it is applied
        how = replace(params.restoring, background=False)
        return Apply(self._models.read(params.model), seen, ((),), False, intensity, restoring=how)

    def take_new_painting(self, scene: Scene) -> Painting | None:
        """What a training that runs goes on with; None when it has that already.

        Raises
        ------
        StrokesError
            Too little is painted.
        """
        painting = scene.take_painting()
        if painting is self._sent:
            return None
        self._sent = painting
        painting.check()
        return painting

    def has_new_painting(self, scene: Scene) -> bool:
        """Whether strokes of the scene have changed since they were sent."""
        return scene.take_painting() is not self._sent
