"""The table of classes shows what the layer has, whoever made it."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_fewshot.ui.classes import classes_of, count_classes
from napari_fewshot.ui.docks.class_table import NAME, ClassTable
from napari_fewshot.ui.docks.data_form import DataForm
from napari_fewshot.ui.models import Models

COLOURS = {None: "black", 0: "transparent", 1: "#ff0000", 2: "#00ff00", 3: "#0000ff", 4: "#ffff00"}


@pytest.fixture
def brought():
    """A labels layer of the user's own, with three classes."""
    data = np.zeros((2, 40, 50), np.uint8)
    data[:, 10, 10:14] = 1, 2, 3, 3
    return Labels(data, colormap=DirectLabelColormap(color_dict=COLOURS))


@pytest.fixture
def form(qtbot):
    viewer = ViewerModel()
    made = DataForm(viewer, Models())
    qtbot.addWidget(made)
    return made, viewer


def test_a_layer_of_the_users_own_has_a_row_for_each_class_in_its_colour(form, brought):
    data, viewer = form
    viewer.add_layer(brought)
    assert data.labels_layer.layer is brought and data.classes.table.rowCount() == 3
    assert [c.color for c in classes_of(brought)] == ["#ff0000", "#00ff00", "#0000ff"]
    brought.selected_label = 4
    brought.paint((1, 20, 20), 4)
    assert data.classes.table.rowCount() == 4 and classes_of(brought)[3].color == "#ffff00"
    assert tuple(brought.get_color(1)) == (1, 0, 0, 1)


@pytest.mark.parametrize("largest", [1, 21, 5000])
def test_few_classes_are_two_and_objects_are_none(largest):
    labels = Labels(np.full((40, 50), largest, np.uint16))
    count_classes(labels, ViewerModel())
    assert [c.name for c in classes_of(labels)] == ["background", "object"]


def test_two_classes_do_not_get_one_name(qtbot):
    table, said = ClassTable(), []
    qtbot.addWidget(table)
    table.said.connect(lambda *what: said.append(what))
    labels = Labels(np.zeros((40, 50), np.uint8))
    table.follow(labels)
    table.table.item(1, NAME).setText("background")
    assert said == [("there is a class 'background' already: choose another name", True)]
    assert [c.name for c in classes_of(labels)] == ["background", "object"] and table.table.item(
        1, NAME
    ).text() == "object"
