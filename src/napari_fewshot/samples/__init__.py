"""Small real micrographs that come with the plugin, as napari layer data. Knows no napari, no torch; see SAMPLES.md."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import tifffile

LayerData = tuple[np.ndarray, dict[str, Any], str]


@dataclass(frozen=True)
class Sample:
    """One shipped micrograph.

    Parameters
    ----------
    title : str
        Name of its layer.
    classes : tuple of str
        Names of the classes 1..K of its truth; empty when it has none.
    pixel_nm : tuple of float
        Step along each axis in nm; empty when the source does not state it.
    """

    title: str
    classes: tuple[str, ...] = ()
    pixel_nm: tuple[float, ...] = ()


SAMPLES: dict[str, Sample] = {
    "superalloy": Sample("Ni superalloy (SEM)", ("matrix", "large gamma prime", "small gamma prime")),
    "medulla": Sample("Fly medulla stack (FIB-SEM)", ("cell interior", "boundary"), (100.0, 10.0, 10.0)),
    "axons": Sample("Axons in white matter (SEM)", ("background", "myelin", "axon")),
    "nanoparticles": Sample("Nanoparticles (TEM)", ("background", "particle")),
    "catalyst": Sample("Supported catalyst (HAADF-STEM)"),
    "cryo": Sample("Vitreous ice with carbon edge (cryo-TEM)"),
}


def image(name: str) -> np.ndarray:
    """The (Y, X) or (Z, Y, X) uint8 micrograph ``name``, one of `SAMPLES`."""
    return _read(name)


def truth(name: str) -> np.ndarray | None:
    """The class (uint8, 1..K) of each pixel of ``image(name)`` as its source gives it, or None."""
    return _read(f"{name}_truth") if SAMPLES[name].classes else None


def layers(name: str) -> list[LayerData]:
    """Layer data for napari: the image, and its truth as a hidden labels layer where there is one."""
    sample = SAMPLES[name]
    place: dict[str, Any] = {}
    if sample.pixel_nm:
        place = {"scale": sample.pixel_nm, "units": ("nm",) * len(sample.pixel_nm)}
    found: list[LayerData] = [(image(name), {"name": sample.title, **place}, "image")]
    labels = truth(name)
    if labels is not None:
        found.append((labels, {"name": f"{sample.title} truth", "visible": False, **place}, "labels"))
    return found


def superalloy() -> list[LayerData]:
    return layers("superalloy")


def medulla() -> list[LayerData]:
    return layers("medulla")


def axons() -> list[LayerData]:
    return layers("axons")


def nanoparticles() -> list[LayerData]:
    return layers("nanoparticles")


def catalyst() -> list[LayerData]:
    return layers("catalyst")


def cryo() -> list[LayerData]:
    return layers("cryo")


def _read(stem: str) -> np.ndarray:
    with (resources.files(__name__) / f"{stem}.tif").open("rb") as file:
        return np.asarray(tifffile.imread(file))
