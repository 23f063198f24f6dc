"""Apply answers objects on request: one id through the stack, a table of measures, painted objects as strokes."""

import csv

import numpy as np
import pytest
import tifffile
from napari.layers import Labels
from qtpy.QtWidgets import QFileDialog

from napari_fewshot.ui.objects import grid_of
from napari_fewshot.ui.results import METADATA, Place


@pytest.fixture
def stack(blobs):
    """Four slices of the discs, the third without its left half."""
    slices = np.stack([blobs[0]] * 4)
    slices[2, :, :96] = 70
    return slices


@pytest.fixture
def learned(dock, viewer, stack, clicks, paint, blobs, wait):
    viewer.add_image(stack, name="blobs", scale=(50, 4, 4), units=("nm", "nm", "nm"))
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, blobs[1], index=(1,))
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "em-segment-2" and not dock._bridge.is_busy)
    return dock


def applied(dock, viewer, clicks, wait):
    clicks("apply")
    wait(lambda: "blobs em-segment-2 objects" in viewer.layers and not dock._bridge.is_busy)
    return viewer.layers["blobs em-segment-2 objects"]


def test_every_disc_has_one_id_in_all_slices_and_a_row_of_measures(learned, viewer, clicks, wait, blobs):
    learned.objects.wanted.setChecked(True)
    assert learned.objects.of_class.currentText() == "object"
    layer = applied(learned, viewer, clicks, wait)
    ids = layer.data
    assert ids.shape == (4, 160, 192) and tuple(layer.scale) == (50, 4, 4)
    centres = [(y, x) for y in (32, 96) for x in (32, 96, 160)]
    found = {c: {int(ids[z][c]) for z in (0, 1, 3)} for c in centres}
    assert all(len(ids) == 1 and 0 not in ids for ids in found.values())
    assert len(set.union(*found.values())) == 6
    table = layer.features
    row = table[table["index"] == ids[0][32, 160]].iloc[0]
    disc = np.pi * 20**2
    assert row["slices"] == 4 and row["area"] == pytest.approx(4 * disc, rel=0.15)
    assert row["volume (nm³)"] == pytest.approx(row["area"] * 800)
    assert row["centroid-1"] == pytest.approx(32, abs=1) and row["intensity_mean"] == pytest.approx(170, abs=10)
    asked = layer.metadata[METADATA]["parameters"]["objects"]
    assert asked["class_number"] == 2 and asked["split"] == 0.75 and asked["smallest_px"] > 1

    viewer.layers.remove(layer)
    learned.apply.scope.setCurrentIndex(learned.apply.scope.findData("slice"))
    flat = applied(learned, viewer, clicks, wait)
    assert "area (nm²)" in flat.features and "slices" not in flat.features and flat.data.shape[0] == 1


@pytest.mark.parametrize("is_killed", [False, True])
def test_objects_ended_half_way_have_a_table_of_what_is_done(learned, viewer, clicks, wait, blobs, is_killed):
    learned.data.image_layer.layer = viewer.add_image(np.stack([blobs[0]] * 60), name="long")
    learned.objects.wanted.setChecked(True)
    clicks("apply")
    wait(lambda: learned._apply_desk.applier._n_done >= 3)
    if is_killed:
        learned._bridge.compute().kill_worker()
    else:
        clicks("stop")
    wait(lambda: not learned._bridge.is_busy)
    layer = viewer.layers["long em-segment-2 objects"]
    done = [int(np.count_nonzero(plane)) for plane in layer.data]
    assert 3 <= np.count_nonzero(done) < 60
    assert layer.features["area"].sum() == sum(done)
    assert set(layer.features["index"]) == set(np.unique(layer.data)) - {0}


def test_objects_in_the_images_of_a_folder_are_measured(learned, viewer, clicks, wait, blobs, tmp_path, monkeypatch):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    tifffile.imwrite(source / "a.tif", blobs[0])
    chosen = iter([str(source), str(target)])
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: next(chosen))
    learned.objects.wanted.setChecked(True)
    learned.apply.scope.setCurrentIndex(learned.apply.scope.findData("folder"))
    clicks("apply")
    wait(lambda: not learned._bridge.is_busy)
    assert "wrote 1 results" in learned.status.text().lower()
    ids = tifffile.imread(target / "a.tif")
    rows = list(csv.DictReader((target / "a.tif.csv").open(encoding="utf-8-sig")))
    assert sorted(int(row["index"]) for row in rows) == sorted(set(np.unique(ids)) - {0})
    centres = [ids[y, x] for y in (32, 96) for x in (32, 96, 160)]
    assert 0 not in centres and len(set(centres)) == 6


def test_painted_objects_teach_background_and_object(dock, viewer, clicks, wait, blobs):
    viewer.add_image(blobs[0], name="blobs")
    clicks("new_strokes")
    labels = dock.data.labels_layer.layer
    labels.brush_size = 10
    for k, (y, x) in enumerate([(2, 10), (32, 32), (32, 96), (96, 160)], start=1):  # 1 is background
        for dx in range(-8, 9, 4):
            labels.paint((y, x + dx), k)
    dock.objects.wanted.setChecked(True)
    dock.objects.painted.setChecked(True)
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "em-segment-2" and not dock._bridge.is_busy)
    card = dock._bridge.models.card("em-segment-2")
    assert card.painted == (1, 2) and [c.name for c in card.classes] == ["background", "object"]
    layer = applied(dock, viewer, clicks, wait)
    assert len({int(layer.data[c]) for c in [(32, 32), (32, 96), (96, 160)]} - {0}) == 3


@pytest.mark.parametrize(
    ("scale", "units", "is_stack", "steps", "unit"),
    [
        ((0.05, 4, 4), ("um", "nm", "nm"), True, (50, 4, 4), "nm"),
        ((2, 4, 4), ("s", "nm", "nm"), False, (1, 4, 4), "nm"),
        ((2, 4, 4), ("s", "nm", "nm"), True, (1, 1, 1), "px"),
        ((4, 4), ("pixel", "nm"), False, (1, 1, 1), "px"),
    ],
)
def test_objects_are_measured_in_the_unit_of_x(scale, units, is_stack, steps, unit):
    layer = Labels(np.zeros((4,) * len(scale), np.uint8), scale=scale, units=units)
    grid = grid_of(Place.of_layer(layer), is_stack)
    assert grid.steps == pytest.approx(steps) and grid.unit == unit


TURNED = np.array([[0, -4, 0], [4, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("affine", "steps", "unit"),
    [
        (np.diag([50, 4, 5, 1]), (1, 8, 5), "nm"),
        (TURNED, (1, 8, 4), "nm"),
        (np.array([[4, 2, 0], [0, 4, 0], [0, 0, 1]]), (1, 1, 1), "px"),
    ],
)
def test_objects_are_measured_by_the_whole_transform(affine, steps, unit):
    n = len(affine) - 1
    layer = Labels(np.zeros((4,) * n, np.uint8), scale=(1, 2, 1)[-n:], affine=affine, units=("nm",) * n)
    grid = grid_of(Place.of_layer(layer), is_stack=False)
    assert grid.steps == pytest.approx(steps) and grid.unit == unit
