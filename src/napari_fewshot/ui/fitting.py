"""Whether a model was trained on images like the one on display, in a sentence. Knows no widget and no worker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.picture import Picture, PlaneIndex
from napari_fewshot.core.spectrum import FAR, Spectrum, spectrum, unlikeness

LOOK_PX = 512  # a side of the middle of the plane that is looked at
CLOSER = 0.6  # of the deviation of the current model: only then another one is recommended


def take_spectrum(picture: Picture, index: PlaneIndex) -> Spectrum:
    """Read the middle of a plane; off the GUI thread."""
    box = tuple(slice(max(0, (n - LOOK_PX) // 2), max(0, (n - LOOK_PX) // 2) + LOOK_PX) for n in picture.plane_shape)
    return spectrum(picture.take_plane(index, (box[0], box[1])))


def advice(found: Spectrum, chosen: ModelCard, others: Sequence[ModelCard]) -> str | None:
    """What to do when the image is unlike those the chosen model was trained on; None when all is well or unknown."""
    here = unlikeness(found, chosen.spectrum)
    if here is None:
        return None
    rated = [(away, c) for c in others if c.name != chosen.name and (away := unlikeness(found, c.spectrum)) is not None]
    closest = min(rated, key=lambda pair: pair[0], default=(np.inf, chosen))
    if here > 1 and closest[0] < CLOSER * here:
        return f"{closest[1].name} was trained on images more like this one than {chosen.name}: try it"
    if here > FAR:
        return (
            f"this image is unlike anything {chosen.name} was trained on: fine-tune on it before you trust the result"
        )
    return None
