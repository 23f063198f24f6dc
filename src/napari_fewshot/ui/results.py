"""Layers of answers: where they lie, what they hold, where they come from. Knows no worker."""

from __future__ import annotations

import platform
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import napari
import numpy as np
import psutil
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.transforms import CompositeAffine

from napari_fewshot.core.card import PALETTE, ClassLabel, ModelCard
from napari_fewshot.core.errors import StorageError
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.strokes import MAXIMUM_CLASS

METADATA = "napari_fewshot"
SOURCE = "source_id"  # in it: of the image layer that a result was made from
NOT_A_SOURCE = "not_a_source"  # in it: of a map that tells about a result, as its confidence
MEMORY_SHARE = 0.25  # of the free memory: a larger result goes to disk


@dataclass(frozen=True, eq=False)
class Place:
    """Where a layer lies and how it is shown, read once so that nothing done to the layer later matters."""

    name: str
    transform: dict[str, Any]
    look: dict[str, Any] = field(default_factory=dict)
    id: str = ""  # of the layer

    @classmethod
    def of_layer(cls, layer: Layer) -> Place:
        transform = {
            "scale": np.array(layer.scale, float),
            "translate": np.array(layer.translate, float),
            "rotate": np.array(layer.rotate, float),
            "shear": np.array(layer.shear, float),
            "affine": np.array(layer.affine.affine_matrix, float),
            "units": tuple(layer.units),
            "axis_labels": tuple(layer.axis_labels),
        }
        look = {}
        if isinstance(layer, Image) and not layer.rgb:
            look = {"contrast_limits": tuple(layer.contrast_limits), "colormap": layer.colormap, "gamma": layer.gamma}
        return cls(layer.name, transform, look, str(layer.unique_id))

    def layer_in(self, viewer: napari.Viewer) -> Layer | None:
        """The layer, while it is in the viewer."""
        return next((layer for layer in viewer.layers if str(layer.unique_id) == self.id), None)

    def over(self, corner: tuple[float, ...], factor: int = 1) -> dict[str, Any]:
        """Layer arguments for an array whose first pixel covers source pixel ``corner``, ``factor`` times as fine in Y, X.

        The areas coincide: the centre of a fine pixel lies half a coarse pixel less half a fine one from the corner.
        """
        shift = np.array(corner, float)
        shift[-2:] += 0.5 / factor - 0.5
        scale = self.transform["scale"].copy()
        scale[-2:] /= factor
        return {**self.transform, "scale": scale, "translate": self.transform["translate"] + self._linear @ shift}

    @property
    def world_steps(self) -> np.ndarray:
        """One column an axis of the layer: how far one pixel along it leads in the world."""
        return np.asarray(self.transform["affine"][:-1, :-1] @ self._linear)

    @property
    def _linear(self) -> np.ndarray:
        parts = {key: self.transform[key] for key in ("scale", "rotate", "shear")}
        return np.asarray(CompositeAffine(**parts).linear_matrix)


def corner_of(picture: Picture, index: PlaneIndex | None = None, origin: tuple[int, int] = (0, 0)) -> tuple[float, ...]:
    """Source pixel under the first pixel of a result: of the whole picture, or of a box of one plane."""
    first = index if index is not None else next(iter(picture.plane_indices()))
    return (*first, *origin)


class ResultStack:
    """The array of a result, filled plane by plane. Guards that a result larger than memory allows lies on disk.

    A plane that is not filled is 0, or NaN where that is possible: nobody knows what would be there.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, limit_bytes: float | None = None) -> None:
        limit = MEMORY_SHARE * psutil.virtual_memory().available if limit_bytes is None else limit_bytes
        n_bytes = float(np.prod(shape, dtype=float)) * np.dtype(dtype).itemsize
        is_float = np.dtype(dtype).kind == "f"
        if n_bytes > limit:
            self.array: Any = _on_disk(shape, dtype, np.nan if is_float else 0)
        else:
            self.array = np.full(shape, np.nan, dtype) if is_float else np.zeros(shape, dtype)

    @classmethod
    def of(cls, array: Any) -> ResultStack:
        """One that goes on filling an array."""
        stack = cls((0,), array.dtype)
        stack.array = array
        return stack

    def write(self, index: PlaneIndex, values: np.ndarray) -> None:
        """Fill one (Y, X) plane.

        Raises
        ------
        StorageError
            The temporary folder is full.
        """
        try:
            self.array[(*index, slice(None), slice(None))] = values
        except OSError as error:
            raise StorageError(
                f"cannot write the result to {tempfile.gettempdir()} ({error.strerror or error}): free some space there"
            ) from error


def _on_disk(shape: tuple[int, ...], dtype: Any, empty: float) -> Any:
    from napari_fewshot.ui.temporary import temporary_array

    return temporary_array(shape, dtype, empty)


def class_colours(classes: tuple[ClassLabel, ...]) -> DirectLabelColormap:
    """Class k in its colour, one that nobody named yet in its default; 0 and what is no class transparent."""
    colours: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    colours.update((k, default_class(k).color) for k in range(len(classes) + 1, MAXIMUM_CLASS + 1))
    colours.update(enumerate((c.color for c in classes), 1))
    return DirectLabelColormap(color_dict=colours)


def default_class(k: int) -> ClassLabel:
    """Background is 1, object is 2, then numbered ones; a colour that most eyes tell from its neighbours."""
    return ClassLabel({1: "background", 2: "object"}.get(k, f"class {k}"), PALETTE[(k - 1) % len(PALETTE)])


def provenance(card: ModelCard, source: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """What ``layer.metadata`` tells of a result: enough to make it again."""
    return {
        "model": card.told(),
        "source": source,
        "parameters": parameters,
        "versions": dict(_versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Of what a result depends on; looked up once, as it takes longer than a preview may."""
    found = [("python", platform.python_version())]
    for package in ("napari-fewshot", "napari", "numpy", "torch"):
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            found.append((package, "unknown"))
    return tuple(found)


def answer_layer(
    data: Any, name: str, card: ModelCard, place: Place, transform: dict[str, Any], about: dict[str, Any]
) -> Layer:
    """A labels layer in the model's class colours, or an image layer that looks like its source."""
    common = {"name": name, "metadata": {METADATA: about}, **transform}
    look = answer_look(data, card, place)
    if card.task == "segment":
        return Labels(data, opacity=0.45, **look, **common)
    return Image(data, rgb=False, multiscale=False, **look, **common)


def answer_look(data: Any, card: ModelCard, place: Place) -> dict[str, Any]:
    """Layer attributes that colour an answer: by its classes, or as its source is."""
    if card.task == "segment":
        return {"colormap": class_colours(card.classes)}
    return {"contrast_limits": _limits(data), "colormap": "gray", "gamma": 1.0, **place.look}


def confidence_layer(data: Any, name: str, transform: dict[str, Any], about: dict[str, Any]) -> Layer:
    """How sure the model is, 0 to 1: it darkens the answer below it where that is unsure."""
    return Image(
        data, name=name, rgb=False, multiscale=False, colormap="gray", contrast_limits=(0, 1), blending="multiplicative",
        metadata={METADATA: {**about, NOT_A_SOURCE: True}}, **transform,
    )  # fmt: skip


def map_layer(
    data: Any, name: str, key: str, plane: np.ndarray, transform: dict[str, Any], about: dict[str, Any]
) -> Layer:
    """What is told beside an answer, in the image's units: ``uncertainty``, ``background``, ``residual``, what was restored first.

    The contrast is that of ``plane``, the first that is there.
    """
    known = plane[np.isfinite(plane)]
    low, high = (float(v) for v in np.percentile(known, [0.5, 99.5])) if known.size else (0.0, 1.0)
    low = 0.0 if key == "uncertainty" else low
    look = {
        "colormap": "magma" if key == "uncertainty" else "gray",
        "contrast_limits": (low, high if high > low else low + (abs(low) or 1.0)),
    }
    metadata = {METADATA: {**about, NOT_A_SOURCE: True}}
    return Image(data, name=name, rgb=False, multiscale=False, visible=False, metadata=metadata, **look, **transform)


def insert_quietly(viewer: napari.Viewer, layer: Layer, below: Layer | None, above: Layer | None = None) -> None:
    """Add a layer under ``below``, but over ``above``, or on top; what was selected, such as a brush, stays selected."""
    active, selected = viewer.layers.selection.active, set(viewer.layers.selection)
    at = viewer.layers.index(below) if below is not None and below in viewer.layers else len(viewer.layers)
    if above is not None and above in viewer.layers:
        at = max(at, viewer.layers.index(above) + 1)
    viewer.layers.insert(at, layer)
    if active is not None:
        viewer.layers.selection.active = active
    elif selected:
        viewer.layers.selection = selected


def _limits(data: Any) -> tuple[float, float]:
    kind = np.dtype(data.dtype)
    return (0.0, float(np.iinfo(kind).max)) if kind.kind in "ui" else (0.0, 1.0)
