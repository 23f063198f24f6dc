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
    layer.features = measures.table(grid_of(place))


def grid_of(place: Place) -> Grid:
    """The size of a pixel; in pixels where the axes have no common physical unit."""
    scale = np.ones(3)
    last = np.asarray(place.transform["scale"], float)[-3:]
    scale[-len(last) :] = last
    units = {f"{unit:~P}" for unit in place.transform["units"][-len(last) :]}
    return Grid((scale[0], scale[1], scale[2]), units.pop()) if len(units) == 1 else Grid()
