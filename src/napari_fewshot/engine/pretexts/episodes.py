"""Draws few-shot episodes: two views, their classes, and strokes on the first. Numpy only; knows no network.

The classes come from real labels, from drawn scenes, or from clusters of an unlabelled patch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude, gaussian_laplace
from skimage.transform import resize

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.simulate import Brush, simulate_strokes
from napari_fewshot.engine.patches import Patches, crop, recontrasted, turned
from napari_fewshot.engine.pretexts.pretext import LabelledSet, Sources
from napari_fewshot.engine.pretexts.scenes import draw_scene
from napari_fewshot.tasks.degrade import add_noise

SIDE_PX = 192
SCENE_PX = 288  # two views of it overlap, but differ
CLUSTERED_PX = 256  # of a patch whose clusters are the classes
LABELLED_SHARE = 0.4  # of the episodes, where there are labels
MAGNIFICATIONS = (0.5, 1.5)  # of a labelled image: at which structures and pixels meet differs between microscopes
DRAWN_SHARE = 0.6  # of the others; the rest are clusters
MAX_PAINTED = 512  # painted pixels per episode that enter the head
MINIMUM_CLASS_PX = 60

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Episode:
    """Two views (2, Y, X) float32, their classes (2, Y, X) 0 .. K, 0 is unknown, and the strokes on the first (Y, X)."""

    views: np.ndarray
    truth: np.ndarray
    painted: np.ndarray
    n_classes: int


def draw_episode(sources: Sources, rng: Rng) -> Episode:
    """One episode of any kind."""
    if sources.labelled and rng.random() < LABELLED_SHARE:
        episode = _from_labels(sources.labelled[int(rng.integers(len(sources.labelled)))], rng)
        if episode is not None:
            return episode
    return _from_scene(rng) if rng.random() < DRAWN_SHARE else from_clusters(sources.patches, rng)


def from_clusters(patches: Patches, rng: Rng) -> Episode:
    """Two views of one patch whose classes are clusters of a few simple features."""
    while True:
        patch = patches.draw(CLUSTERED_PX, rng, shrink=0.5)
        classes = _clusters(patch, int(rng.integers(2, 5)), rng)
        both = np.stack([patch, classes])
        views = [turned(crop(both, SIDE_PX, rng), rng) for _ in range(2)]
        if _can_be_painted(views[0][1]):
            return _episode(views, rng)


def _from_scene(rng: Rng) -> Episode:
    """Two views of one drawn scene."""
    while True:
        both = np.stack(draw_scene(SCENE_PX, rng)).astype(np.float32)
        views = [turned(crop(both, SIDE_PX, rng), rng) for _ in range(2)]
        if _can_be_painted(views[0][1]):
            return _episode(views, rng)


def _from_labels(source: LabelledSet, rng: Rng) -> Episode | None:
    """Two crops of different images of a set; None when no stroke of two classes fits the first."""
    first = int(rng.integers(len(source.images)))
    second = int(rng.integers(len(source.images)))
    for _ in range(10):
        views = [_labelled_crop(source, i, rng) for i in (first, second)]
        if _can_be_painted(views[0][1]):
            return _episode(views, rng)
    return None


def _can_be_painted(classes: np.ndarray) -> bool:
    return int(np.sum(np.bincount(classes.astype(int).ravel()) > MINIMUM_CLASS_PX)) >= 2


def _labelled_crop(source: LabelledSet, i: int, rng: Rng) -> np.ndarray:
    """(2, SIDE_PX, SIDE_PX) grey levels and classes, at another magnification each time."""
    side_px = round(SIDE_PX / np.exp(rng.uniform(*np.log(MAGNIFICATIONS))))
    image, labels = source.images[i], source.labels[i]
    both = np.stack([Intensity.measure(image).to_unit(image), labels + np.float32(1)])
    grey, classes = turned(crop(both, side_px, rng), rng)
    shape = (SIDE_PX, SIDE_PX)
    return np.stack([resize(grey, shape, 1, anti_aliasing=side_px > SIDE_PX), resize(classes, shape, 0)])


def _clusters(patch: np.ndarray, n: int, rng: Rng) -> np.ndarray:
    """(Y, X) classes 1 .. n by k-means of one to three random features of smoothed intensity, edges, blobs, texture."""
    sigma = float(np.exp(rng.uniform(np.log(1.0), np.log(6.0))))
    smooth = gaussian_filter(patch, sigma)
    choices = [
        smooth,
        gaussian_gradient_magnitude(patch, sigma),
        gaussian_laplace(patch, sigma),
        np.sqrt(np.maximum(gaussian_filter((patch - gaussian_filter(patch, 1)) ** 2, 2 * sigma), 0)),
    ]
    use = [choices[0]] if rng.random() < 0.4 else [choices[i] for i in rng.permutation(4)[: rng.integers(1, 4)]]
    values = np.stack([(f - f.mean()) / (f.std() + 1e-6) for f in use], -1).reshape(-1, len(use))
    centres = values[rng.choice(len(values), n, replace=False)]
    for _ in range(6):
        nearest = ((values[::7, None] - centres) ** 2).sum(-1).argmin(1)
        centres = np.stack(
            [values[::7][nearest == k].mean(0) if np.any(nearest == k) else centres[k] for k in range(n)]
        )
    classes = ((values[:, None] - centres) ** 2).sum(-1).argmin(1).reshape(patch.shape)
    return (classes + 1).astype(np.float32)


def _episode(views: list[np.ndarray], rng: Rng) -> Episode:
    """Strokes on the first view; both views lose some quality and change contrast, each in its own way."""
    images = np.stack([_spoiled(v[0], rng) for v in views])
    truth = np.stack([v[1] for v in views]).astype(np.int32)
    kept = [k for k in np.unique(truth[0]) if np.sum(truth[0] == k) > MINIMUM_CLASS_PX]
    truth = np.select([truth == k for k in kept], list(range(1, len(kept) + 1)), 0)
    brush = Brush(int(rng.integers(15, 61)), int(rng.integers(1, 5)))
    painted = simulate_strokes(truth[0], int(rng.integers(1, 8)), int(rng.integers(2**31)), brush)
    at = np.flatnonzero(painted)
    if len(at) > MAX_PAINTED:
        painted.ravel()[rng.choice(at, len(at) - MAX_PAINTED, replace=False)] = 0
    return Episode(images, truth, painted, len(kept))


def _spoiled(image: np.ndarray, rng: Rng) -> np.ndarray:
    if rng.random() < 0.3:
        image = add_noise(np.clip(image, 0, 1.2), rng)
    image = recontrasted(image, rng, invert=0.0)
    return Intensity.measure(image).to_unit(image)
