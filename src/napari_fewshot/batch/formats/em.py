"""Files of electron microscopes, read lazily by rosettasciio, which the user adds (extra ``formats``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from napari_fewshot.batch.formats.format import Format, Opened, known_axes
from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.picture import Picture

READERS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emd": "emd",
    ".mrc": "mrc",
    ".mrcs": "mrc",
    ".rec": "mrc",
    ".ser": "tia",
}
LEADING = {0: "", 1: "Z", 2: "TZ", 3: "TCZ"}
UNITS = {"um": "µm", "μm": "µm", "A": "Å"}


@contextmanager
def open_em(path: Path) -> Iterator[Opened]:
    """Open the largest image or stack of images in a microscope's file."""
    if find_spec("rsciio") is None:
        raise PictureError(
            f"reading {path.suffix} files needs rosettasciio: pip install 'napari-fewshot[formats]', or convert to TIFF"
        )
    reader = import_module(f"rsciio.{READERS[path.suffix.lower()]}")
    signals = [s for s in reader.file_reader(str(path), lazy=True) if s["data"].ndim >= 2 and _is_real(s["data"])]
    if not signals:
        raise PictureError(f"{path} holds no image: choose another file")
    signal = max(signals, key=lambda s: s["data"].size)
    data = signal["data"]
    axes = known_axes(LEADING.get(data.ndim - 2, "?" * (data.ndim - 2)) + "YX")
    steps, unit = _pixel_size(signal["axes"], axes)
    yield Opened(Picture(data, axes, path.name), steps, unit)


def _is_real(data: Any) -> bool:
    return np.dtype(data.dtype).kind in "buif"


def _pixel_size(described: list[dict[str, Any]], axes: str) -> tuple[dict[str, float], str]:
    if len(described) != len(axes):
        return {}, ""
    units = [UNITS.get(str(a.get("units")), str(a.get("units"))) for a in described]
    unit = units[-1]
    if unit not in ("nm", "µm", "Å", "mm"):
        return {}, ""
    steps = {n: abs(float(a["scale"])) for n, a, u in zip(axes, described, units, strict=True) if u == unit}
    return {n: s for n, s in steps.items() if s > 0}, unit


EM = Format("electron microscope", tuple(READERS), open_em)
