"""PNG and JPEG, read whole: they are small by nature. Colour comes as samples, palettes are resolved."""

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
    with Image.open(path) as image:
        data = np.asarray(image if image.mode in PLAIN_MODES else image.convert("L" if image.mode == "LA" else "RGB"))
    yield Opened(Picture(data, "YX" if data.ndim == 2 else "YXS", path.name))


RASTER = Format("PNG and JPEG", (".png", ".jpg", ".jpeg"), open_raster)
