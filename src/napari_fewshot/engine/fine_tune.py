"""Fine-tuning from a generator to a new one with a card whose parent it is. The loop itself is fit's."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from napari_fewshot.core.card import PALETTE, ClassLabel, ModelCard
from napari_fewshot.core.errors import ModelError, PictureError
from napari_fewshot.core.job import Budget
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.strokes import Painting
from napari_fewshot.engine.fit import Fitted, Schedule, fit
from napari_fewshot.engine.generator import Generator, stamp
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.painted import FeatureCache
from napari_fewshot.engine.pretrain import curve
from napari_fewshot.engine.restore import OnImages, Pair
from napari_fewshot.engine.segment import OnStrokes, solver_of
from napari_fewshot.tasks import TASKS


def fine_tune_segment(
    generator: Generator,
    painting: Painting,
    budget: Budget,
    *,
    seed: int = 0,
    listener: Listener = SILENT,
    cache: FeatureCache | None = None,
) -> Generator:
    """Learn the painted classes: closed-form head at once, then the layers until the budget is spent or a stop.

    Parameters
    ----------
    cache : FeatureCache or None
        Features kept from earlier calls with the same generator.

    Returns
    -------
    Generator
        The best by strokes held out; the given one stays as it was.

    Raises
    ------
    StrokesError
        Nothing or one class only is painted.
    ModelError
        Not a segmentation model.
    """
    started = time.perf_counter()
    _check_task(generator, "classes")
    painting.check()
    for plane in painting.planes:
        picture_of(plane.image).check_size()
    torch.manual_seed(seed)
    network = _headless(generator.network)
    objective = OnStrokes(network, painting, seed, cache or FeatureCache())
    schedule = Schedule(budget, rate=3e-4, warm_steps=5, average=0.9)
    fitted = fit(objective, schedule, listener, np.random.default_rng(seed), started)
    head = objective.solve(fitted.module)
    painting = objective.painting
    solver_of(fitted.module).fill(head.weight, head.bias)
    scores = {} if head.score is None else {"held-out stroke IoU": round(head.score, 4)}
    card = replace(
        generator.card, classes=_class_labels(painting), painted=painting.classes, n_strokes=painting.n_painted
    )
    return _finished(generator, card, fitted, scores, seed)


def fine_tune_restore(
    generator: Generator, pairs: Sequence[Pair], budget: Budget, *, seed: int = 0, listener: Listener = SILENT
) -> Generator:
    """Adapt a restoration to pairs of input and target planes, or, where a target is None, to the image alone.

    Raises
    ------
    PictureError
        No image, a target of another shape, or an image too small or constant.
    ModelError
        Not a restoration model.
    """
    started = time.perf_counter()
    _check_task(generator, "image")
    if not pairs:
        raise PictureError("there is no image to adapt to: choose an image layer")
    for image, _ in pairs:
        picture_of(image).check_size()
        if np.ptp(np.nan_to_num(image.astype(np.float64), nan=0.0)) == 0:
            raise PictureError("the image is constant, there is nothing to adapt to: choose another layer")
    torch.manual_seed(seed)
    objective = OnImages(generator, pairs, seed)
    schedule = Schedule(budget, rate=2e-4, warm_steps=10, average=0.95)
    fitted = fit(objective, schedule, listener, np.random.default_rng(seed), started)
    name = "held-out error removed" if any(t is not None for _, t in pairs) else "held-out agreement with itself"
    scores = {} if fitted.best is None else {name: round(fitted.best, 4)}
    return _finished(generator, generator.card, fitted, scores, seed)


def _check_task(generator: Generator, answer: str) -> None:
    if TASKS[generator.card.task].answer != answer:
        wanted = "a segmentation" if answer == "classes" else "a restoration"
        raise ModelError(
            f"'{generator.card.name}' does {TASKS[generator.card.task].title.lower()}: choose {wanted} model"
        )


def _headless(network: Network) -> Network:
    """A copy whose head is not fitted, so that its state fits whatever is painted."""
    network = copy.deepcopy(network)
    head = solver_of(network)
    head.fill(head.weight[:0], head.bias[:0])
    return network


def _class_labels(painting: Painting) -> tuple[ClassLabel, ...]:
    names = dict(enumerate(painting.class_names, start=1))
    return tuple(
        ClassLabel(names.get(k, f"class {k}"), PALETTE[(k - 1) % len(PALETTE)])
        for k in range(1, max(painting.classes) + 1)
    )


def _finished(
    parent: Generator, card: ModelCard, fitted: Fitted[Network], scores: dict[str, float], seed: int
) -> Generator:
    card = stamp(
        card,
        parent=parent.card.id or None,
        steps=fitted.steps,
        seconds=round(fitted.seconds, 2),
        seed=seed,
        scores=scores,
        losses=curve(fitted.losses),
        data="the user's images",
        command="",
    )
    tuned = Generator(card, fitted.module, parent.device)
    tuned.card = tuned.to_file().card
    return tuned
