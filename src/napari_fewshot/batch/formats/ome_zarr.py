"""OME-Zarr: full resolution of the first multiscale image in, one level out, plane by plane. Plain zarr arrays are read too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_fewshot.batch.formats.format import Format, Layout, Opened, known_axes
from napari_fewshot.batch.formats.units import LONG_NAMES, common_steps
from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.picture import Picture, picture_of

ORDER = "TCZYX"  # the order of axes that OME-Zarr asks for
KINDS = {"T": "time", "C": "channel"}
CHUNK_PX = 1024
LAYOUT = "bioformats2raw.layout"


@contextmanager
def open_zarr(path: Path) -> Iterator[Opened]:
    """Open level 0 of an OME-Zarr image (0.4 or 0.5), the first where there are several, or a bare zarr array."""
    node, remark = _first_image(zarr.open(path, mode="r"))
    if isinstance(node, zarr.Array):
        yield Opened(picture_of(node, path.name))
        return
    attributes: dict[str, Any] = dict(node.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales:
        raise PictureError(f"{path} holds no OME-Zarr image: choose a folder that has 'multiscales' metadata")
    level = scales[0]["datasets"][0]
    data = node[level["path"]]
    named = [a if isinstance(a, dict) else {"name": a} for a in scales[0].get("axes", ORDER[-data.ndim :])]
    axes = known_axes("".join(a["name"][0] for a in named))
    scale, translation = _place([level, scales[0]], len(axes))
    steps, starts = (dict(zip(axes, values, strict=True)) for values in (scale, translation))
    units = {axis: a.get("unit") for axis, a in zip(axes, named, strict=True)}
    if any(units.get(axis) for axis in "ZYX"):
        (steps, unit), (starts, _) = common_steps(steps, units), common_steps(starts, units)
    else:
        unit = ""  # sizes without a unit still tell how much longer a voxel is than wide
    yield Opened(Picture(data, axes, path.name), steps, unit, starts, remark, time_unit=str(units.get("T") or ""))


def write_zarr(path: Path, planes: Iterator[np.ndarray], layout: Layout) -> None:
    """Write an OME-Zarr 0.5 image of one level."""
    axes = "".join(sorted(layout.axes, key=ORDER.index))
    place = [layout.axes.index(a) for a in axes]
    shape = tuple(layout.shape[i] for i in place)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    chunks = (*(1,) * (len(shape) - 2), *(min(CHUNK_PX, n) for n in shape[-2:]))
    array = group.create_array(
        "0", shape=shape, chunks=chunks, dtype=layout.dtype, dimension_names=[a.lower() for a in axes]
    )
    for index, plane in zip(np.ndindex(*layout.shape[:-2]), planes, strict=True):
        array[tuple(index[i] for i in place[:-2])] = plane
    group.attrs["ome"] = _metadata(axes, layout, path)


def _first_image(node: zarr.Array | zarr.Group) -> tuple[zarr.Array | zarr.Group, str]:
    """The image ``0`` of a group of images as bioformats2raw lays them out, with a remark on the others; else the node."""
    attributes: dict[str, Any] = dict(node.attrs)
    if isinstance(node, zarr.Array) or LAYOUT not in attributes.get("ome", attributes):
        return node, ""
    n_images = sum(name.isdecimal() for name in node.group_keys())
    remark = f"the first of {n_images} images in it is read; the others are opened as its folders 1, 2 and so on"
    return node["0"], remark if n_images > 1 else ""


def _place(described: list[dict[str, Any]], n_axes: int) -> tuple[list[float], list[float]]:
    """Size and first position of a pixel along each axis, by the transformations of the level and then of all levels."""
    scale, start = np.ones(n_axes), np.zeros(n_axes)
    for each in described:
        for transformation in each.get("coordinateTransformations", []):
            if transformation["type"] == "scale":
                factors = np.array(transformation["scale"], float)
                scale, start = scale * factors, start * factors
            elif transformation["type"] == "translation":
                start = start + np.array(transformation["translation"], float)
    return scale.tolist(), start.tolist()


def _metadata(axes: str, layout: Layout, path: Path) -> dict[str, Any]:
    unit = LONG_NAMES.get(layout.unit, layout.unit)
    described = []
    for axis in axes:
        entry = {"name": axis.lower(), "type": KINDS.get(axis, "space")}
        own = layout.time_unit if axis == "T" else unit if axis in "ZYX" else ""
        described.append(entry | ({"unit": own} if own and axis in layout.steps else {}))
    scale = {"type": "scale", "scale": [layout.steps.get(a, 1.0) for a in axes]}
    start = {"type": "translation", "translation": [layout.starts.get(a, 0.0) for a in axes]}
    level = {"path": "0", "coordinateTransformations": [scale, start] if any(layout.starts.values()) else [scale]}
    return {"version": "0.5", "multiscales": [{"name": _name(path), "axes": described, "datasets": [level]}]}


def _name(path: Path) -> str:
    """The name of the image: ``x`` for ``x.ome.zarr``, also while it is in the making as ``.x.ome.zarr.42.part.zarr``."""
    final = re.sub(r"\.\d+\.part\.zarr$", "", path.name.removeprefix("."))
    return final.removesuffix(path.suffix).removesuffix(".ome")


OME_ZARR = Format("OME-Zarr", (".zarr",), open_zarr, write_zarr)
