"""What runs on a worker to guide a user: one look of a survey, or one slice of a propagation. Knows no viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_fewshot.compute.events import Event, PlaneLeftOut, Surveyed
from napari_fewshot.compute.jobs import Bench, Line, ending
from napari_fewshot.compute.wire import Carried, Known, Order
from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.guide import Look
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import PlaneIndex
from napari_fewshot.core.shelf import ModelFile

if TYPE_CHECKING:
    from napari_fewshot.engine.guide import Guide


def run_look(
    order: Order, look: Look, taken: tuple[np.ndarray, Intensity], learn: bool, model: ModelFile, known: Known
) -> Event:
    """Look over a part of a plane (Y, X); returns what was seen, or how the job ended."""

    def work(bench: Bench, line: Line) -> Event:
        from napari_fewshot.engine.guide import look_over

        guide = _guide(bench, order, model, known)
        return Surveyed(order.job_id, look_over(guide, look, *taken, learn=learn, listener=line))

    return ending(order, work)


def run_carry(order: Order, index: PlaneIndex, plane: np.ndarray, model: ModelFile, known: Known) -> Event:
    """Answer for one plane (Y, X) with the strokes of now; returns it, why it is left out, or how the job ended."""

    def work(bench: Bench, line: Line) -> Event:
        try:
            answer = _guide(bench, order, model, known).answer(plane, Intensity.measure(plane), line)
        except PictureError as error:
            return PlaneLeftOut(order.job_id, index, str(error))
        return Carried(order.job_id, index, answer.values, answer.sure, answer.quality)

    return ending(order, work)


def _guide(bench: Bench, order: Order, model: ModelFile, known: Known) -> Guide:
    """The guide of a job, made with its first part on this worker and kept until another job needs one."""
    from napari_fewshot.engine.guide import Guide
    from napari_fewshot.engine.painted import FeatureCache

    if bench.guide is None or bench.guide[0] != order.job_id:
        generator = bench.generator(model, order.device)
        bench.guide = order.job_id, Guide.of(generator, known.painting, bench.features or FeatureCache(), known.seed)
    return bench.guide[1]
