"""One propagation of a slice through its stack: what it starts from, where its planes land, how it ended. Knows no Qt and no worker."""

from __future__ import annotations

import napari
import numpy as np

from napari_fewshot.compute.events import End, Failed, Finished, Lost, PlaneDone
from napari_fewshot.core.errors import FewshotError, PictureError
from napari_fewshot.core.guide import line_from
from napari_fewshot.core.job import Propagate
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.core.strokes import Painting, thinned_strokes
from napari_fewshot.ui.corrected import results_of, with_confidence
from napari_fewshot.ui.landing import Landing, Target
from napari_fewshot.ui.layers import current_index
from napari_fewshot.ui.painted import painted_planes
from napari_fewshot.ui.results import METADATA, provenance
from napari_fewshot.ui.scene import Params, Scene

KNOWN_PER_CLASS = 2000  # pixels of a corrected slice that are learned from


class Propagation:
    """From the slice on display, both ways. Guards that what the user corrected in an earlier result is not lost.

    Raises
    ------
    PictureError
        There is no stack to carry the slice through.
    """

    def __init__(self, scene: Scene, viewer: napari.Viewer) -> None:
        self._scene, self._viewer = scene, viewer
        start = self._start = current_index(scene.image, viewer, scene.picture)
        channel = scene.picture.channel
        if not any(line_from(scene.picture, start, step) for step in (1, -1)):
            raise PictureError(
                f"'{scene.place.name}' is a single slice, with no stack to carry it through: press Apply"
            )
        about = provenance(scene.card, scene.place.name, {"scope": "propagate", "start": start, "channel": channel})
        self._landing = Landing(Target(scene.picture, scene.place, (start,), False), scene.card, about)
        results = results_of(viewer, scene.image, scene.picture, scene.painted)
        corrected = next((r for r in results if r.is_corrected_at(start)), None)
        self._before = corrected or next((r for r in results if r.is_propagated()), None)
        if self._before is not None and self._before.is_propagated(scene.card):
            self._landing.go_on(with_confidence(self._before.layer, viewer, scene.card, channel))
        self.title = f"propagating from slice {', '.join(map(str, start))}"
        self.title += "" if corrected is None else f" as corrected in '{corrected.layer.name}'"
        self._fault = ""  # why no plane can be kept any more

    def make_job(self, model: ModelFile, params: Params) -> Propagate:
        """With all slices of an earlier result that the user corrected, which are learned from like painted ones."""
        scene, landing = self._scene, self._landing
        painting, known = Painting(()), {}
        if scene.painted is not None:
            painting, known = scene.take_painting(), scene.painted.take_labels(scene.reader)
        landing.corrected = {} if self._before is None else self._before.corrected()
        planes = list(painting.planes)
        for index, values in landing.corrected.items():
            strokes = thinned_strokes(values, KNOWN_PER_CLASS, np.random.default_rng(params.seed))
            planes += painted_planes(strokes, index, scene.reader)
            known[index] = np.where(values > 0, values, known.get(index, values))
        known_painting = Painting(tuple(planes), painting.class_names) if planes else None
        confidence = params.confidence or "confidence" in landing.layers
        return Propagate(model, scene.picture, self._start, known_painting, confidence, params.seed, known)

    def land(self, event: PlaneDone) -> bool:
        """Show a plane; whether more of them are wanted."""
        if self._fault or self._landing.is_removed(self._viewer):
            return False
        strokes = None if self._scene.painted is None else self._scene.painted.labels
        try:
            self._landing.land(event, self._viewer, strokes)
        except FewshotError as error:
            self._fault = str(error)
        return not self._fault

    def finish(self, end: End) -> tuple[str, bool]:
        """Note in the layers where and why it stopped; a sentence on that, and whether it is a failure."""
        if isinstance(end, Failed | Lost):
            stops, sentence = (end.message,), end.message
        elif self._fault:
            stops, sentence = (self._fault,), f"stopped: {self._fault}; what is done stays"
        elif isinstance(end, Finished):
            stops, sentence = end.details["stops"], f"propagated: {end.details['n_planes']} slices done"
        else:
            stops, sentence = ("stopped by the user",), "propagated: what is done stays"
        for layer in self._landing.layers.values():
            about = layer.metadata[METADATA]
            ended = {"stops": list(stops), "corrected": sorted(self._landing.corrected)}
            about["parameters"] = {**about["parameters"], **ended}
        if isinstance(end, Failed | Lost) or self._fault:
            return sentence, True
        if self._landing.is_removed(self._viewer):
            return "the result layer was removed: the propagation is stopped", False
        return "; ".join((sentence, *stops)), False
