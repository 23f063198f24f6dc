"""Layers of objects: ids in colours of their own, and a table of what each measures. Knows no worker."""

from __future__ import annotations

from typing import Any

import numpy as np
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
    """The size of a pixel in the unit of X; in pixels where axes along which objects extend have no such unit or are skewed."""
    n = 3 if is_stack else 2
    units, steps = place.transform["units"][-n:], place.world_steps[:, -n:]
    if not all(unit.is_compatible_with(units[-1]) for unit in units) or steps[:-n].any():
        return Grid()
    per_unit = np.array([float((1 * unit).to(units[-1]).magnitude) for unit in units])
    columns = per_unit[:, None] * steps[-n:]
    sizes = np.linalg.norm(columns, axis=0)
    if not np.allclose(columns.T @ columns, np.diag(sizes**2), atol=1e-6 * sizes.max() * sizes.min()):
        return Grid()
    z, y, x = [1.0] * (3 - n) + [float(size) for size in sizes]
    return Grid((z, y, x), f"{units[-1]:~P}")
