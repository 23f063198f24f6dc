"""The public function that tells where to paint next. Loads torch when it is called, not before."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_fewshot.api_arguments import Images, check_generator, check_seed, painting_from
from napari_fewshot.api_listeners import OnEvent, Teller
from napari_fewshot.core.errors import ModelError, PictureError, memory_errors_told
from napari_fewshot.core.guide import Spot, plan_looks, ranked, take_look
from napari_fewshot.core.picture import picture_of
from napari_fewshot.engine.listen import Silent
from napari_fewshot.tasks import TASKS

if TYPE_CHECKING:
    from napari_fewshot.engine.generator import Generator


@memory_errors_told()
def suggest(
    generator: Generator,
    image: Any,
    painted: Images | None = None,
    *,
    seconds: float = 4.0,
    seed: int = 0,
    on_event: OnEvent | None = None,
) -> list[Spot]:
    """Where in an image the next stroke of a segmentation helps most: unsure, and unlike anything painted.

    Parameters
    ----------
    generator : Generator
        Its last layer is fitted to ``painted`` first, if given; else it must have been fine-tuned.
    image : array
        As for `predict`. Slices are looked at coarse to fine until the time is over, so a stack may be of any size.
    painted : ndarray, optional
        Integers of the image's shape, 0 = not painted, k >= 1 = class k.
    seconds : float
        To look around, from the first look on; the current strokes' features come on top.

    Returns
    -------
    list of (index, box, gain)
        The best first: ``index`` of a plane, ``box`` of two slices along its Y and X, and what a stroke is expected to
        gain there, comparable within one call.

    Raises
    ------
    FewshotError
        The image or the strokes cannot be used, or the generator has not seen any.
    """
    from napari_fewshot.engine.guide import Guide, look_over
    from napari_fewshot.engine.painted import FeatureCache

    check_generator(generator)
    check_seed(seed)
    if not TASKS[generator.card.task].needs_strokes:
        raise ModelError(f"'{generator.card.name}' needs no strokes: suggest is for segmentation models")
    picture, listener = picture_of(image), Teller(on_event) if on_event else Silent()
    picture.check_size()
    painting = None if painted is None else painting_from(image, painted)
    guide = Guide.of(generator, painting, FeatureCache(), seed)
    began, looks, seen = time.monotonic(), plan_looks(picture), []
    for look in looks:
        with suppress(PictureError):  # a plane without a finite pixel shows nothing to paint on
            seen.append(look_over(guide, look, *take_look(picture, look)))
        spent = time.monotonic() - began
        listener.progress(len(seen), len(looks), spent, max(0.0, seconds - spent), {}, None)
        if spent > seconds:
            break
    return ranked(seen)
