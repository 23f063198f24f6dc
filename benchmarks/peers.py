"""Labelled sets and the classifiers that napari-fewshot's few strokes are compared with. Shared by the benchmarks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.scores import class_ious

SIDE_PX = 1024  # larger images are cropped to this
N_OTHERS = 4
PAINTED, OTHERS = "painted image", "other images"

Predictor = Callable[[np.ndarray], np.ndarray]
Picture = tuple[np.ndarray, np.ndarray]  # (Y, X) uint8 and its classes 1 .. K


def spread(items: list[Path], n: int) -> list[Path]:
    """At most ``n`` of the items, evenly spaced."""
    return items if len(items) <= n else [items[i] for i in np.linspace(0, len(items) - 1, n).round().astype(int)]


def labelled(folder: Path, side_px: int = SIDE_PX, n_others: int = N_OTHERS) -> list[Picture]:
    """The image to paint on, which is the first with the most classes, then some others of the set."""
    names = sorted((folder / "images").glob("*.tif"))
    truths = {n: tifffile.imread(folder / "labels" / n.name)[:side_px, :side_px].astype(np.uint8) + 1 for n in names}
    first = max(names, key=lambda n: len(np.unique(truths[n])))
    chosen = [first, *spread([n for n in names if n != first], n_others)]
    return [(tifffile.imread(n)[:side_px, :side_px], truths[n]) for n in chosen]


def score(predict: Predictor, pictures: list[Picture], strokes: np.ndarray) -> dict[str, Any]:
    """Mean IoU on the unpainted pixels of the first picture, and on all of the others; "classes" tells it class by class."""
    (image, truth), others = pictures[0], pictures[1:]
    same = class_ious(np.where(strokes > 0, 0, predict(image)), np.where(strokes > 0, 0, truth))
    apart = [class_ious(predict(plane), t) for plane, t in others]
    by_class = {k: float(np.mean([found[k] for found in apart if k in found])) for k in sorted({*chain(*apart)})}
    mean = [float(np.mean(list(found.values()))) for found in (same, *apart)]
    return {PAINTED: mean[0], OTHERS: float(np.mean(mean[1:])), "classes": {PAINTED: same, OTHERS: by_class}}


CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "random forest": lambda: RandomForestClassifier(
        100, min_samples_leaf=2, class_weight="balanced", n_jobs=-1, random_state=0
    ),
    "extra-trees": lambda: ExtraTreesClassifier(
        100, min_samples_leaf=2, class_weight="balanced", n_jobs=-1, random_state=0
    ),
    "logistic regression": lambda: make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000)
    ),
}


APOC = "APOC"
APOC_FEATURES = "original " + " ".join(
    f"{what}={sigma}"
    for what in ("gaussian_blur", "difference_of_gaussian", "laplace_box_of_gaussian_blur", "sobel_of_gaussian_blur")
    for sigma in (1, 2, 4, 8, 16)
)


def has_apoc() -> bool:
    """Whether APOC is installed and finds an OpenCL device, such as Debian's pocl-opencl-icd."""
    try:
        import apoc  # noqa: F401
        import pyopencl

        return bool(pyopencl.get_platforms())
    except (ImportError, RuntimeError):
        return False


def apoc(image: np.ndarray, strokes: np.ndarray) -> Predictor:
    """Haase's accelerated pixel classifier: a random forest, here of 100 trees two deep as is usual there, compiled to OpenCL."""
    from apoc import PixelClassifier

    folder = tempfile.TemporaryDirectory()
    fitted = PixelClassifier(str(Path(folder.name) / "classifier.cl"))
    fitted.train(APOC_FEATURES, strokes.astype(np.int32), image.astype(np.float32))

    def predict(plane: np.ndarray, kept: object = folder) -> np.ndarray:
        return np.asarray(fitted.predict(image=plane.astype(np.float32))).astype(np.uint8)

    return predict


def features(plane: np.ndarray, normalise: bool) -> np.ndarray:
    """(Y * X, D) intensity, edges and texture at sigma 0.7 to 16; normalised brings percentiles 1 and 99 to 0 and 1."""
    x = Intensity.measure(plane).to_unit(plane) if normalise else plane.astype(np.float32) / 255
    return multiscale_basic_features(x, sigma_min=0.7, sigma_max=16).reshape(x.size, -1)


def classic(name: str, normalise: bool, image: np.ndarray, strokes: np.ndarray) -> Predictor:
    """A classifier on hand-made features, fitted on the painted pixels; what it saw last is not computed again."""
    seen: dict[int, np.ndarray] = {id(image): features(image, normalise)}
    fitted = CLASSIFIERS[name]().fit(seen[id(image)][strokes.ravel() > 0], strokes[strokes > 0])

    def predict(plane: np.ndarray) -> np.ndarray:
        x = seen.pop(id(plane)) if id(plane) in seen else features(plane, normalise)
        found: np.ndarray = fitted.predict(x).reshape(plane.shape)
        return found

    return predict
