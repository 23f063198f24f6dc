"""How sure a fitted head may be: heads of other strokes vote on pixels nobody painted. Trains no layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from napari_fewshot.core.strokes import Painting
from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.folds import N_FOLDS
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.heads.solved import Around
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.painted import FeatureCache, Samples

N_PIXELS = 2000  # unpainted pixels that are voted on
LEAST_LOG_FACTOR = -3.0
TRUST = 0.7  # in the vote, the rest in the learned temperature: half the strokes make worse heads than all of them
Score = Callable[[Tensor], Tensor]  # features (N, D) -> scores (N, K)
Learn = Callable[[Tensor, Tensor], Score]  # from features (N, D) and classes (N,)


def calibrating_factor(learn: Learn, samples: Samples, pixels: Tensor, score: Score, scale: float) -> float:
    """By what the logits of a head are to be multiplied, 0.12 to 1, so that it is as sure as it is right.

    Pixels that are painted are easier than those at borders, which nobody paints; so strokes held out say too little.
    Two heads fitted to different halves of the strokes, however, disagree on pixels of any kind about as often as
    they err (Jiang et al. 2022, "Assessing generalization of SGD via disagreement", arXiv 2106.13799): the mean
    confidence on ``pixels`` is lowered towards the share on which they agree. It is never raised above what the
    temperature learned in pretraining, on all pixels of its episodes, says.

    Parameters
    ----------
    learn : callable
        Fits a head.
    samples : Samples
        Painted pixels.
    pixels : Tensor
        (N, D) features of pixels painted or not.
    score : callable
        The head for all strokes.
    scale : float
        What turns the head's scores into logits.
    """
    scores = score(pixels)
    agreed = _agreement(learn, samples, pixels, scores.shape[1])
    if agreed is None:
        return 1.0
    logits = scores * scale
    low, high = LEAST_LOG_FACTOR, 0.0
    for _ in range(12):  # the mean confidence rises with the factor: bisect
        middle = (low + high) / 2
        sure = float((logits * np.exp(middle)).softmax(1).amax(1).mean())
        low, high = (middle, high) if sure < agreed else (low, middle)
    return float(np.exp(TRUST * high))


def pixels_around(network: Network, painting: Painting, cache: FeatureCache, seed: int) -> Around:
    """Random pixels of the tiles in which something is painted: their looks are in the cache."""
    assert isinstance(network.head, ClassesHead)
    found = [
        (plane, tile) for plane in painting.planes for tile, _ in cache.painted_tiles(network, plane, plane.strokes.yx)
    ]
    wanted = max(1, N_PIXELS // len(found))
    asked = 1 << (wanted - 1).bit_length()  # the same ones while there are a few tiles more or less
    rows = []
    for plane, tile in found:
        rng = np.random.default_rng((seed, *(s.start for s in tile.inner)))
        yx = rng.integers(*_corners(tile.inner), (asked, 2))
        rows.append(cache.rows_at(network, plane, tile, yx)[:wanted])
    with torch.no_grad():
        return network.head.survey(torch.cat(rows))


def _agreement(learn: Learn, samples: Samples, pixels: Tensor, n_classes: int) -> float | None:
    """The share of ``pixels`` on which heads of two halves of the strokes agree; None when no half has all classes."""
    shares = []
    for other in range(1, N_FOLDS):
        half = (samples.fold == 0) | (samples.fold == other)
        if not all(len(torch.unique(samples.y[part])) == n_classes for part in (half, ~half)):
            continue
        answers = [learn(samples.x[part], samples.y[part])(pixels).argmax(1) for part in (half, ~half)]
        shares.append(float((answers[0] == answers[1]).float().mean()))
    return float(np.mean(shares)) if shares else None


def _corners(box: Box) -> tuple[list[int], list[int]]:
    return [s.start for s in box], [s.stop for s in box]
