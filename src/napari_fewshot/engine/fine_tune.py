"""Fine-tuning from a generator to a new one with a card whose parent it is. The loop itself is fit's."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from napari_fewshot.core.card import IMAGES, PALETTE, WITH_TARGETS, ClassLabel, ModelCard
from napari_fewshot.core.errors import ModelError, PictureError
from napari_fewshot.core.job import STROKES_ALONE, Budget, Extras
from napari_fewshot.core.operating import NeverMiss, OperatingPoint, operating_point
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.spectrum import spectrum, typical
from napari_fewshot.core.strokes import Painting
from napari_fewshot.engine.candidate import candidate_of
from napari_fewshot.engine.classic import ClassicNetwork
from napari_fewshot.engine.extras import terms_of
from napari_fewshot.engine.fit import Fitted, fit
from napari_fewshot.engine.generator import Generator, stamp
from napari_fewshot.engine.grow import fit_classic
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.objects import smallest_strokes
from napari_fewshot.engine.painted import TILE_PX, FeatureCache
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.pretrain import curve
from napari_fewshot.engine.residual import BACKGROUND
from napari_fewshot.engine.restore import OnImages
from napari_fewshot.engine.ridge import ALL_FOLDS, UNSEEN
from napari_fewshot.engine.schedule import Schedule
from napari_fewshot.engine.segment import MARGIN, OnStrokes, solver_of
from napari_fewshot.engine.target import Pair, on_scale
from napari_fewshot.tasks import TASKS

TOO_FEW = "too few strokes to tell whether training helps, so only the last layer is fitted: paint four strokes of each class or more"


def fine_tune_segment(
    generator: Generator,
    painting: Painting,
    budget: Budget,
    *,
    seed: int = 0,
    listener: Listener = SILENT,
    cache: FeatureCache | None = None,
    never_miss: NeverMiss | None = None,
    extras: Extras = STROKES_ALONE,
) -> Generator:
    """Learn the painted classes: closed-form head at once, then the layers until the budget is spent or a stop.

    Parameters
    ----------
    cache : FeatureCache or None
        Features kept from earlier calls with the same generator.
    never_miss : NeverMiss or None
        Of which class at least which share is to be found; None takes over the wish of the given generator.
    extras : Extras
        What the layers learn from beside the strokes.

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
    cache = cache or FeatureCache()
    cache.tile_px = TILE_PX  # an earlier call may have lacked the memory for such
    known = generator.card.never_miss
    wish = never_miss or (known.wish if known is not None else None)
    if isinstance(generator.network, ClassicNetwork):
        return _fit_classic(generator, painting, seed, listener, wish)
    torch.manual_seed(seed)
    network = _headless(generator.network)
    objective = OnStrokes(network, painting, seed, cache)
    objective.never_miss, objective.is_tuned = wish, bool(generator.card.painted)
    objective.more = terms_of(objective, extras)
    schedule = Schedule(budget, rate=3e-4, warm_steps=5, average=0.9, margin=MARGIN, trusts_unjudged=False)
    fitted = fit(objective, schedule, listener, np.random.default_rng(seed), started)
    head = objective.calibrate(fitted.module)
    if head.score is None and fitted.steps:
        listener.note(TOO_FEW)
    painting = objective.painting
    solver_of(fitted.module).fill(head.solved)
    scores = {} if head.score is None else {"held-out stroke IoU": round(head.score, 4)}
    card = _with_painted(generator.card, painting)
    tuned = _finished(generator, card, fitted, scores, seed)
    asked = UNSEEN if objective.is_tuned or fitted.steps else ALL_FOLDS
    return tuned if wish is None else _at_operating_point(tuned, painting, wish, asked, listener, cache)


def fine_tune_restore(
    generator: Generator, pairs: Sequence[Pair], budget: Budget, *, seed: int = 0, listener: Listener = SILENT
) -> Generator:
    """Adapt a restoration to pairs of input and target planes, or, where a target is None, to the image alone.

    Raises
    ------
    PictureError
        No image, targets of another shape or that show something else, or an image too small or constant.
    ModelError
        Not a restoration model.
    """
    started = time.perf_counter()
    _check_task(generator, "image")
    if not pairs:
        raise PictureError("there is no image to adapt to: choose one")
    for image, _ in pairs:
        picture_of(image).check_size()
    given, pairs = pairs, [pair for pair in pairs if _shows_something(pair[0])]
    if not pairs:
        raise PictureError("the image is constant, there is nothing to adapt to: choose another image")
    if len(pairs) < len(given):
        listener.note(f"{len(given) - len(pairs)} of {len(given)} planes are constant or empty and left out")
    pairs = on_scale(pairs, generator.card.factor, generator.card.task == BACKGROUND, listener)
    torch.manual_seed(seed)
    objective = OnImages(generator, pairs, seed)
    if not objective.holds_out:
        listener.note("too few known rows to hold some out: nothing tells whether the result is better")
    schedule = Schedule(budget, rate=objective.rate, warm_steps=10, average=0.95)
    fitted = fit(objective, schedule, listener, np.random.default_rng(seed), started)
    name = "held-out gain" if objective.is_alone else "held-out error removed"
    scores = {} if fitted.best is None else {name: round(fitted.best, 4)}
    if _is_same(fitted.module, generator.network):
        listener.note("nothing better was found: the model stays as it was; give more time, or other images or targets")
        return _finished(generator, generator.card, fitted, scores, seed, generator.card.data)
    card = replace(generator.card, spectrum=typical([spectrum(image) for image, _ in pairs]))
    return _finished(generator, card, fitted, scores, seed, IMAGES if objective.is_alone else WITH_TARGETS)


def _is_same(network: Network, parent: Network) -> bool:
    own, others = network.state_dict(), parent.state_dict()
    return all(torch.equal(own[name], values) for name, values in others.items())


def _shows_something(image: np.ndarray) -> bool:
    seen = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    return seen.size > 0 and seen.min() < seen.max()


def _at_operating_point(
    tuned: Generator,
    painting: Painting,
    wish: NeverMiss,
    asked: tuple[int, ...],
    listener: Listener,
    cache: FeatureCache,
) -> Generator:
    """The same generator with the border of one class moved as was wished for; the wish stays where it cannot be yet."""
    held_out = candidate_of(tuned, painting, tuned.card.seed, cache).held_out(asked)
    if held_out is None or wish.class_number not in held_out.classes:
        listener.note("too few strokes to hold some out: paint more of the class that is never to be missed")
        point = OperatingPoint.waiting(wish)
    else:
        point = operating_point(held_out, wish)
    card = replace(tuned.card, never_miss=point)
    tuned = Generator(card, tuned.network, tuned.device)
    tuned.seal()
    return tuned


def _fit_classic(
    parent: Generator, painting: Painting, seed: int, listener: Listener, wish: NeverMiss | None
) -> Generator:
    """A forest is fitted at once: there are no layers to train, nothing to resume and no budget to spend."""
    fitted = fit_classic(painting, seed)
    card = stamp(
        _with_painted(parent.card, painting),
        net=fitted.net,
        parent=parent.card.id or None,
        seconds=round(fitted.seconds, 2),
        seed=seed,
        scores={} if fitted.score is None else {"held-out stroke IoU": round(fitted.score, 4)},
        data=IMAGES,
        command="",
    )
    tuned = Generator(card, fitted.module)
    tuned.seal()
    if wish is not None:
        tuned = _at_operating_point(tuned, painting, wish, ALL_FOLDS, listener, FeatureCache())
    if (view := listener.view()) is not None:
        values, sure = predict_plane(tuned, view.image, intensity=view.intensity, confidence=view.confidence)
        listener.preview(view, values, 1, sure)
    return tuned


def _check_task(generator: Generator, answer: str) -> None:
    if TASKS[generator.card.task].answer != answer:
        wanted = "a segmentation" if answer == "classes" else "a restoration"
        raise ModelError(
            f"'{generator.card.name}' does {TASKS[generator.card.task].title.lower()}: choose {wanted} model"
        )


def _headless(network: Network) -> Network:
    """A copy whose head is not fitted, so that its state fits whatever is painted."""
    network = copy.deepcopy(network)
    solver_of(network).fill(None)
    return network


def _with_painted(card: ModelCard, painting: Painting) -> ModelCard:
    """A card that tells what was painted."""
    return replace(
        card,
        classes=_class_labels(painting),
        painted=painting.classes,
        smallest_px=smallest_strokes(painting),
        never_miss=None,
        n_painted_px=painting.n_painted,
    )


def _class_labels(painting: Painting) -> tuple[ClassLabel, ...]:
    names = dict(enumerate(painting.class_names, start=1))
    return tuple(
        ClassLabel(names.get(k, f"class {k}"), PALETTE[(k - 1) % len(PALETTE)])
        for k in range(1, max(painting.classes) + 1)
    )


def _finished(
    parent: Generator, card: ModelCard, fitted: Fitted[Network], scores: dict[str, float], seed: int, data: str = IMAGES
) -> Generator:  # fmt: skip
    card = stamp(
        card,
        parent=parent.card.id or None,
        steps=fitted.steps,
        seconds=round(fitted.seconds, 2),
        seed=seed,
        scores=scores,
        losses=curve(fitted.losses),
        data=data,
        command="",
    )
    tuned = Generator(card, fitted.module, parent.device)
    tuned.seal()
    return tuned
