"""PNG and JPEG, read whole: they are small by nature. Colour comes as samples; palettes are resolved, but for class numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from napari_fewshot.batch.formats.format import Format, Opened
from napari_fewshot.core.picture import Picture

PLAIN_MODES = {"1", "L", "I", "F", "I;16", "I;16B", "I;16L", "RGB", "RGBA"}


@contextmanager
def open_raster(path: Path) -> Iterator[Opened]:
    """Open a grey or colour picture."""
    yield _opened(path, PLAIN_MODES)


@contextmanager
def open_labels(path: Path) -> Iterator[Opened]:
    """Open class numbers: of a palette the indices, whatever its colours."""
    yield _opened(path, PLAIN_MODES | {"P"})


def _opened(path: Path, plain_modes: set[str]) -> Opened:
    with Image.open(path) as image:
        data = np.asarray(image if image.mode in plain_modes else image.convert("L" if image.mode == "LA" else "RGB"))
    return Opened(Picture(data, "YX" if data.ndim == 2 else "YXS", path.name))


RASTER = Format("PNG and JPEG", (".png", ".jpg", ".jpeg"), open_raster, open_labels=open_labels)
