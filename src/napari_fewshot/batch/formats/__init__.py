"""File formats by suffix. A new format is one file here and one line in ``FORMATS``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from napari_fewshot.batch.formats.em import EM
from napari_fewshot.batch.formats.format import Format, Layout, Opened
from napari_fewshot.batch.formats.ome_zarr import OME_ZARR
from napari_fewshot.batch.formats.raster import RASTER
from napari_fewshot.batch.formats.tiff import TIFF
from napari_fewshot.core.errors import FewshotError, PictureError, StorageError, is_out_of_memory

FORMATS: tuple[Format, ...] = (TIFF, OME_ZARR, EM, RASTER)
ZARR_NODES = ("zarr.json", ".zgroup", ".zarray")


def format_of(path: Path) -> Format | None:
    """The format of a file by its suffix, or of a group inside an OME-Zarr; None when there is none for it."""
    found = next((f for f in FORMATS if path.suffix.lower() in f.suffixes), None)
    is_group = found is None and any(os.path.exists(path / name) for name in ZARR_NODES)
    return OME_ZARR if is_group else found


def writable_format(path: Path) -> Format:
    """The format of a result file.

    Raises
    ------
    StorageError
        The suffix is not one of those that can be written.
    """
    found = format_of(path)
    if found is None or found.write is None:
        known = ", ".join(s for f in FORMATS if f.write for s in f.suffixes)
        raise StorageError(f"cannot write {path.name}: let its name end in one of {known}")
    return found


@contextmanager
def open_picture(path: Path, as_labels: bool = False) -> Iterator[Opened]:
    """Open a picture file lazily; ``as_labels`` when it holds class numbers.

    Raises
    ------
    PictureError
        No such file, an unknown format, a damaged file; the message names it.
    """
    found = format_of(path)
    if found is None:
        known = ", ".join(s for f in FORMATS for s in f.suffixes)
        raise PictureError(f"{path} has no format that can be read: use one of {known}")
    if not path.exists():
        raise PictureError(f"{path} does not exist: check the name")
    with ExitStack() as stack:
        try:
            enter = (as_labels and found.open_labels) or found.open
            opened = stack.enter_context(enter(path))
        except FewshotError:
            raise
        except Exception as error:  # a damaged file makes third-party readers raise anything
            raise unreadable(path, error) from error
        yield replace(opened, steps=_sizes(opened.steps))


def _sizes(steps: Mapping[str, float]) -> dict[str, float]:
    """Steps as sizes: without those that cannot be, such as 0 for unknown, and without the sign some programs give to Z."""
    return {axis: abs(step) for axis, step in steps.items() if step and math.isfinite(step)}


def unreadable(path: Path, error: Exception) -> PictureError:
    """The error to raise when a reader gave up on a file."""
    cure = "cut it into smaller images" if is_out_of_memory(error) else "check that the file is complete"
    return PictureError(f"cannot read {path} ({type(error).__name__}: {error}): {cure}")


__all__ = ["FORMATS", "Format", "Layout", "Opened", "format_of", "open_picture", "unreadable", "writable_format"]
