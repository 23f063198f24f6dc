"""TIFF, with ImageJ and OME axes and pixel sizes; pages are decoded when a plane is asked for. Writes OME-TIFF."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dask.array
import numpy as np
import tifffile
import zarr

from napari_fewshot.batch.formats.format import Format, Layout, Opened, known_axes
from napari_fewshot.batch.formats.units import PM, SHORT_TIMES, TIMES, common_steps
from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.picture import Picture

CLASSIC_LIMIT_BYTES = 2**32 - 2**25
TAG_LIMIT = 2**32  # of the numerator of a resolution: pixels below 2.4 pm have theirs in OME-XML alone
COLOURS = {tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR}
OME_DTYPES = {"int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64"}


@contextmanager
def open_tiff(path: Path) -> Iterator[Opened]:
    """Open the first series of a TIFF file at full resolution."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        _check_complete(file, series)
        remarks = [_on_gaps(series), _on_others(file)]
        store = series.aszarr(level=0)
        try:
            data, axes = _samples_last(zarr.open_array(store, mode="r"), series)
            steps, unit = _pixel_size(file)
            remark = "; ".join(r for r in remarks if r)
            picture = Picture(data, known_axes(axes), path.name)
            interval, time_unit = _interval(file)
            first_file = _first_file(path, series)
            yield Opened(picture, steps | interval, unit, remark=remark, begins_in=first_file, time_unit=time_unit)
        finally:
            store.close()


def write_tiff(path: Path, planes: Iterator[np.ndarray], layout: Layout) -> None:
    """Write a deflate OME-TIFF page by page; bool is stored as 0 and 1.

    Raises
    ------
    PictureError
        OME-TIFF has no such pixels: integers of 64 bits, floats of 16.
    """
    dtype = np.dtype(np.uint8) if layout.dtype.kind == "b" else layout.dtype
    if dtype.name not in OME_DTYPES:
        raise PictureError(f"TIFF cannot hold {dtype}: use --suffix .zarr, or a name that ends in .zarr")
    steps = {a: s for a, s in layout.steps.items() if layout.unit and a in "XYZ"}
    metadata: dict[str, Any] = {"axes": layout.axes}
    for axis, step in steps.items():
        metadata |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": layout.unit}
    if "T" in layout.steps and layout.time_unit in SHORT_TIMES:
        metadata |= {"TimeIncrement": layout.steps["T"], "TimeIncrementUnit": SHORT_TIMES[layout.time_unit]}
    options: dict[str, Any] = {}
    if layout.unit in PM and {"X", "Y"} <= steps.keys():
        per_cm = tuple(PM["cm"] / PM[layout.unit] / steps[a] for a in "XY")
        if max(per_cm) < TAG_LIMIT:
            options = {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=layout.n_bytes > CLASSIC_LIMIT_BYTES, ome=True) as writer:
        writer.write(
            (np.ascontiguousarray(plane, dtype) for plane in planes),
            shape=layout.shape,
            dtype=dtype,
            photometric="minisblack",
            compression="zlib",
            predictor=dtype.kind in "ui",
            metadata=metadata,
            **options,
        )


def _samples_last(data: zarr.Array, series: tifffile.TiffPageSeries) -> tuple[Any, str]:
    """The array with the planes of a colour, where they lie apart in the file, as its last axis; still lazy."""
    axes = series.axes
    if "S" not in axes[:-1] or series.keyframe.photometric not in COLOURS:
        return data, axes
    place = axes.index("S")
    by_plane = dask.array.from_array(data, chunks=(*(1,) * (data.ndim - 2), "auto", "auto"))
    return dask.array.moveaxis(by_plane, place, -1), axes[:place] + axes[place + 1 :] + "S"


def _check_complete(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise EOFError for a truncated file: tifffile would show fewer planes, or zeros, without a word.

    The planes of an OME-TIFF may lie in several files; each is held against its own.
    """
    tiff, source, page = file.tiff, file.filehandle, file.pages[len(file.pages) - 1]
    source.seek(page.offset)
    (n_tags,) = struct.unpack(tiff.tagnoformat, source.read(tiff.tagnosize))
    source.seek(n_tags * tiff.tagsize, 1)
    (next_page,) = struct.unpack(tiff.offsetformat, source.read(tiff.offsetsize))
    if series.dataoffset is not None:
        is_cut = series.dataoffset + series.nbytes > source.size
    else:
        _check_files(file, series)
        parts = (p for p in series.pages if p is not None)
        is_cut = any(
            offset + n_bytes > part.parent.filehandle.size
            for part in parts
            for offset, n_bytes in zip(part.dataoffsets, part.databytecounts, strict=False)
        )
    if next_page or is_cut:
        raise EOFError("the file is truncated")


def _check_files(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise EOFError where another file of an OME-TIFF is not there: tifffile would show zeros for its planes."""
    if not file.ome_metadata or not _n_gaps(series):
        return
    named = (e.get("FileName") for e in ElementTree.fromstring(file.ome_metadata).iter() if e.tag.endswith("}UUID"))
    missing = sorted({n for n in named if n and not Path(file.filehandle.dirname, n).exists()})
    if missing:
        more = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
        raise EOFError(f"{missing[0]}{more} of its series is missing: put all files of it in one folder")


def _first_file(path: Path, series: tifffile.TiffPageSeries) -> Path | None:
    """The file with the first plane of an OME-TIFF in several files; None where that is ``path``."""
    page = series.pages[0]
    first = path if page is None else Path(page.parent.filehandle.path)
    return None if first.samefile(path) else first


def _n_gaps(series: tifffile.TiffPageSeries) -> int:
    return sum(page is None for page in series.pages)


def _on_gaps(series: tifffile.TiffPageSeries) -> str:
    n_gaps = 0 if series.dataoffset is not None else _n_gaps(series)
    return f"{n_gaps} of its {len(series.pages)} planes were never written and are read as zeros" if n_gaps else ""


def _on_others(file: tifffile.TiffFile) -> str:
    n_others = sum(s.size >= file.series[0].size / 4 for s in file.series[1:])  # thumbnails are smaller
    return f"the first of {1 + n_others} pictures in the file is read; save the others apart" if n_others else ""


def _pixel_size(file: tifffile.TiffFile) -> tuple[dict[str, float], str]:
    if file.ome_metadata:
        return _ome_size(file.ome_metadata)
    if file.is_imagej:
        return _imagej_size(file)
    return _sem_size(file)  # the resolution of other TIFFs is that of a printer


def _interval(file: tifffile.TiffFile) -> tuple[dict[str, float], str]:
    """The step along T and its unit."""
    if file.ome_metadata:
        pixels = _ome_pixels(file.ome_metadata)
        interval = None if pixels is None else pixels.get("TimeIncrement")
        unit = "" if pixels is None else TIMES.get(pixels.get("TimeIncrementUnit", "s"), "")
    else:
        interval, unit = (file.imagej_metadata or {}).get("finterval"), "second"
    return ({"T": float(interval)}, unit) if interval and unit else ({}, "")


def _ome_pixels(xml: str) -> ElementTree.Element | None:
    return next((e for e in ElementTree.fromstring(xml).iter() if e.tag.endswith("}Pixels")), None)


def _ome_size(xml: str) -> tuple[dict[str, float], str]:
    pixels = _ome_pixels(xml)
    found = {a: pixels.get(f"PhysicalSize{a}") for a in "XYZ"} if pixels is not None else {}
    steps = {a: float(s) for a, s in found.items() if s}
    if pixels is None or not steps:
        return {}, ""
    return common_steps(steps, {a: pixels.get(f"PhysicalSize{a}Unit", "µm") for a in "XYZ"})


def _imagej_size(file: tifffile.TiffFile) -> tuple[dict[str, float], str]:
    notes = file.imagej_metadata or {}
    steps = {}
    for axis in "XY":
        tag = file.series[0].keyframe.tags.get(f"{axis}Resolution")
        if tag is not None and tag.value[0]:
            steps[axis] = tag.value[1] / tag.value[0]
    if "spacing" in notes:
        steps["Z"] = float(notes["spacing"])
    return common_steps(steps, dict.fromkeys("XYZ", notes.get("unit")))


def _sem_size(file: tifffile.TiffFile) -> tuple[dict[str, float], str]:
    """As scanning electron microscopes of FEI (now Thermo Fisher) and Zeiss tell it, in tags of their own."""
    scan, notes = (file.fei_metadata or {}).get("Scan", {}), file.sem_metadata or {}
    told: tuple[Any, ...] = notes.get("ap_image_pixel_size") or notes.get("ap_pixel_size") or ()
    if scan:
        sizes, unit, factor = (scan.get("PixelWidth"), scan.get("PixelHeight")), "nm", PM["m"] / PM["nm"]
    elif len(told) == 3:  # such as ("Image Pixel Size", 4.5, "nm")
        sizes, unit, factor = (told[1], told[1]), told[2], 1.0
    else:
        return {}, ""
    if not all(isinstance(size, int | float) and size > 0 for size in sizes):
        return {}, ""
    return common_steps(
        {axis: size * factor for axis, size in zip("XY", sizes, strict=True)}, dict.fromkeys("XY", unit)
    )


TIFF = Format("TIFF", (".tif", ".tiff"), open_tiff, write_tiff)
