"""Judges generators on painted pixels they did not learn from, all on the same ones. Trains no layer, keeps no model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_fewshot.core.intensity import Intensity, key_of
from napari_fewshot.core.job import Budget, View
from napari_fewshot.core.judge import Confusion, HeldOut, Verdict
from napari_fewshot.core.strokes import Painting
from napari_fewshot.engine.candidate import Candidate, candidate_of
from napari_fewshot.engine.classic import ClassicNetwork
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import SILENT, Listener, StopRequested
from napari_fewshot.engine.painted import FeatureCache
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.restoration import restore_plane
from napari_fewshot.engine.ridge import ALL_FOLDS, UNSEEN


def judge(
    generators: Sequence[Generator],
    painting: Painting,
    *,
    view: View | None = None,
    seed: int = 0,
    listener: Listener = SILENT,
    cache: FeatureCache | None = None,
    first: Generator | None = None,
) -> tuple[Verdict, ...]:
    """Ask each generator for the same strokes, held out from its last layer, and for the visible region.

    With ``first`` also on the painted images as it restores them.

    Layers that were fine-tuned have seen all strokes but those of fold 0, so as soon as one of the generators was,
    fold 0 alone is asked for; else every stroke is once.

    Raises
    ------
    StrokesError
        Nothing or one class only is painted.
    StopRequested
        The listener asked to stop.
    """
    painting.check()
    cache = cache or FeatureCache()
    denoised = None if first is None else _restored(first, painting, listener)
    asked = UNSEEN if any(_has_tuned_layers(g) for g in generators) else ALL_FOLDS
    verdicts, began = [], time.perf_counter()
    for n_done, generator in enumerate(generators, start=1):
        if listener.stopped():
            raise StopRequested
        candidate = candidate_of(generator, painting, seed, cache)
        held_out = _held_out(generator, candidate, asked)
        seen = None if view is None else _answer(generator, painting, view, seed, listener, cache)
        verdict = _verdict(generator, painting, candidate, held_out, seen)
        if denoised is not None:
            again = candidate_of(generator, denoised, seed, cache)
            verdict = replace(verdict, denoised=_held_out(generator, again, asked))
        verdicts.append(verdict)
        seconds = time.perf_counter() - began
        listener.progress(n_done, len(generators), seconds, seconds / n_done * (len(generators) - n_done), {}, None)
    return tuple(verdicts)


def _held_out(generator: Generator, candidate: Candidate, asked: tuple[int, ...]) -> HeldOut | None:
    held_out = candidate.held_out(asked)
    if held_out is None or generator.card.never_miss is None:
        return held_out
    return replace(held_out, offsets=generator.card.never_miss.offsets(held_out.classes))


def _restored(first: Generator, painting: Painting, listener: Listener) -> Painting:
    """The same strokes on restored planes."""
    planes = []
    for plane in painting.planes:
        if listener.stopped():
            raise StopRequested
        image = restore_plane(first, plane.image, intensity=plane.intensity).values
        is_whole = Intensity.measure(plane.image) == plane.intensity  # else that of the whole plane is not to be had
        intensity = Intensity.measure(image) if is_whole else plane.intensity
        planes.append(replace(plane, key=key_of(image, intensity), image=image, intensity=intensity))
    return replace(painting, planes=tuple(planes))


def _verdict(
    generator: Generator, painting: Painting, candidate: Candidate, held_out: HeldOut | None, seen: np.ndarray | None
) -> Verdict:
    as_saved = None
    if candidate.saved is not None:
        numbers, point = generator.card.class_numbers, generator.card.never_miss
        scores = candidate.saved(candidate.x) + (0.0 if point is None else point.offsets(numbers))
        found = np.array(numbers)[scores.argmax(1)]
        as_saved = Confusion.between(np.array(painting.classes)[candidate.y], found, painting.classes)
    return Verdict(generator.card.name, held_out, as_saved, seen)


def _answer(
    generator: Generator, painting: Painting, view: View, seed: int, listener: Listener, cache: FeatureCache
) -> np.ndarray:
    """(Y, X) classes of the visible region; a generator without a head gets one for all strokes."""
    if not generator.has_head:
        generator = fine_tune_segment(generator, painting, Budget(steps=0), seed=seed, cache=cache)
    return predict_plane(generator, view.image, intensity=view.intensity, listener=listener)[0]


def _has_tuned_layers(generator: Generator) -> bool:
    # a head fitted again (steps 0) may sit on layers that an ancestor tuned
    return bool(generator.card.painted) and not isinstance(generator.network, ClassicNetwork)
