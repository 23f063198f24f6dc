"""PNG and JPEG, read whole: they are small by nature. Colour comes as samples; palettes are resolved, but for class numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from napari_fewshot.batch.formats.format import Format, Opened
from napari_fewshot.core.errors import StrokesError
from napari_fewshot.core.picture import Picture

PLAIN_MODES = {"1", "L", "I", "F", "I;16", "I;16B", "I;16L", "RGB", "RGBA"}
PNG = b"\x89PNG\r\n\x1a\n"
BIT_DEPTH = 24  # where a PNG says it
GUARD = Lock()  # Pillow's limit is one for all threads


@contextmanager
def open_raster(path: Path) -> Iterator[Opened]:
    """Open a grey or colour picture."""
    yield _opened(path, PLAIN_MODES)


@contextmanager
def open_labels(path: Path) -> Iterator[Opened]:
    """Open class numbers: of a palette the indices, whatever its colours."""
    if path.suffix.lower() != ".png":
        raise StrokesError(f"{path.name} cannot hold strokes, for JPEG alters class numbers: save them as PNG or TIFF")
    yield _opened(path, PLAIN_MODES | {"P"})


def _opened(path: Path, plain_modes: set[str]) -> Opened:
    with _any_size(path) as image:
        data = np.asarray(image if image.mode in plain_modes else image.convert("L" if image.mode == "LA" else "RGB"))
    remark = "it is read with 8 of its 16 bits: save it as TIFF to keep them" if _is_cut(path, data) else ""
    return Opened(Picture(data, "YX" if data.ndim == 2 else "YXS", path.name), remark=remark)


def _any_size(path: Path) -> Image.Image:
    """Open a picture however large: the user chose it, so Pillow's guard against bombs would refuse work."""
    with GUARD:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _is_cut(path: Path, data: np.ndarray) -> bool:
    """Whether a PNG of 16 bits was read with 8."""
    with path.open("rb") as file:
        start = file.read(BIT_DEPTH + 1)
    return start.startswith(PNG) and start[BIT_DEPTH] == 16 and data.dtype == np.uint8


RASTER = Format("PNG and JPEG", (".png", ".jpg", ".jpeg"), open_raster, open_labels=open_labels)
