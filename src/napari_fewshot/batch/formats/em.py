"""Files of electron microscopes, read lazily by rosettasciio, which the user adds (extra ``formats``)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from napari_fewshot.batch.formats.format import Format, Opened, known_axes
from napari_fewshot.batch.formats.units import common_steps
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
ENERGIES = {"eV", "keV"}
IMOD_STAMP = 1146047817  # IMOD's files say in bit 0 of the flags after it whether bytes are signed


@contextmanager
def open_em(path: Path) -> Iterator[Opened]:
    """Open the largest image or stack of images in a microscope's file; spectrum images are none."""
    if find_spec("rsciio") is None:
        raise PictureError(
            f"reading {path.suffix} files needs rosettasciio: pip install 'napari-fewshot[formats]', or convert to TIFF"
        )
    reader = import_module(f"rsciio.{READERS[path.suffix.lower()]}")
    if READERS[path.suffix.lower()] == "mrc" and _is_big_endian(path):
        raise PictureError(f"{path} is big-endian, which cannot be read: convert it, as with IMOD's newstack")
    signals = [s for s in reader.file_reader(str(path), lazy=True) if _is_image(s)]
    if not signals:
        raise PictureError(f"{path} holds no image (spectra are none): choose another file")
    signal = max(signals, key=lambda s: s["data"].size)
    data = signal["data"].view(np.int8) if _is_signed(signal) else signal["data"]
    axes = known_axes(LEADING.get(data.ndim - 2, "?" * (data.ndim - 2)) + "YX")
    steps, unit = _pixel_size(_with_depth(signal), axes)
    yield Opened(Picture(data, axes, path.name), steps, unit)


def _is_big_endian(path: Path) -> bool:
    """Whether the machine stamp of an MRC file is that of a big-endian computer; rosettasciio 0.15 gets its pixels wrong."""
    with path.open("rb") as file:
        return file.read(214)[212:] == b"\x11\x11"


def _is_image(signal: dict[str, Any]) -> bool:
    data, axes = signal["data"], signal["axes"]
    if data.ndim < 2 or np.dtype(data.dtype).kind not in "buif":
        return False
    is_spectral = sum(not a.get("navigate") for a in axes) == 1 or str(axes[-1].get("units")) in ENERGIES
    return not is_spectral  # a spectrum per pixel, as of EELS and EDS, is no stack of images


def _is_signed(signal: dict[str, Any]) -> bool:
    """Whether the bytes of an MRC file are signed, as MRC2014 has them; rosettasciio takes them all for unsigned."""
    header = _mrc_header(signal)
    if signal["data"].dtype != np.uint8 or int(header.get("MODE", -1)) != 0:
        return False
    flags = bytes.fromhex(header.get("EXTRA2", ""))[20:28]
    if len(flags) == 8 and struct.unpack("<i", flags[:4])[0] == IMOD_STAMP:
        return bool(flags[4] & 1)
    return bool(-128 <= header.get("AMIN", 0) < 0 and header["AMIN"] <= header.get("AMAX", 0) <= 127)


def _mrc_header(signal: dict[str, Any]) -> dict[str, Any]:
    header: dict[str, Any] = signal.get("original_metadata", {}).get("std_header", {})
    return header


def _with_depth(signal: dict[str, Any]) -> list[dict[str, Any]]:
    """The axes of a signal; the header of an MRC volume tells the distance of its sections, which rosettasciio leaves out."""
    axes: list[dict[str, Any]] = signal["axes"]
    header = _mrc_header(signal)
    length, n = (float(np.ravel(header.get(key, 0))[0]) for key in ("Zlen", "MZ"))
    if len(axes) != 3 or axes[0].get("units") or length <= 0 or n <= 0:
        return axes
    return [{**axes[0], "scale": length / n, "units": "Å"}, *axes[1:]]


def _pixel_size(described: list[dict[str, Any]], axes: str) -> tuple[dict[str, float], str]:
    if len(described) != len(axes):
        return {}, ""
    steps = {axis: abs(float(a["scale"])) for axis, a in zip(axes, described, strict=True) if a.get("scale")}
    return common_steps(steps, {axis: a.get("units") for axis, a in zip(axes, described, strict=True)})


EM = Format("electron microscope", tuple(READERS), open_em)
