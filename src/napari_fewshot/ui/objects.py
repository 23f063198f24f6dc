"""Layers of objects: ids in colours of their own, and a table of what each measures. Knows no worker."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels

from napari_fewshot.core.measures import Grid, Measures
from napari_fewshot.ui.results import METADATA, Place


def objects_layer(data: Any, name: str, transform: dict[str, Any], about: dict[str, Any]) -> Labels:
    """A labels layer in napari's own colours, which tell neighbours apart."""
    return Labels(data, name=name, opacity=0.6, metadata={METADATA: about}, **transform)


def show_measures(layer: Labels, measures: Measures, place: Place) -> None:
    """Put the table into ``layer.features``, where napari shows the row under the pointer."""
    layer.features = measures.table(grid_of(place, measures.is_stack))


def grid_of(place: Place, is_stack: bool) -> Grid:
    """The size of a pixel in the unit of X; in pixels where an axis along which objects extend has no such unit."""
    n = 3 if is_stack else 2
    scale, units = place.transform["scale"][-n:], place.transform["units"][-n:]
    if not all(unit.is_compatible_with(units[-1]) for unit in units):
        return Grid()
    steps = [float(s * (1 * unit).to(units[-1]).magnitude) for s, unit in zip(scale, units, strict=True)]
    z, y, x = [1.0] * (3 - n) + steps
    return Grid((z, y, x), f"{units[-1]:~P}")
