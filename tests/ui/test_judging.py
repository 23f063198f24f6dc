"""The page Judge: scores of held-out strokes, confusion, two models over the image, and the one that is kept."""

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtWidgets import QInputDialog, QMessageBox

from napari_fewshot.core.card import ClassLabel
from napari_fewshot.core.judge import HeldOut, Verdict
from napari_fewshot.ui.docks.judge_page import JudgePage
from napari_fewshot.ui.results import METADATA


def to_judge(dock):
    (page,) = [n for n in range(dock._tabs.count()) if dock._tabs.tabText(n) == "Judge"]
    dock._tabs.setCurrentIndex(page)


@pytest.fixture
def painted(dock, viewer, clicks, paint, blobs):
    viewer.add_image(blobs[0], name="blobs", scale=(4, 4))
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, blobs[1], n=6)
    to_judge(dock)
    return dock


def test_a_long_name_of_a_class_leaves_room_for_its_score(qtbot):
    page = JudgePage()
    qtbot.addWidget(page)
    name = "endoplasmic reticulum and all that is attached to it"
    truth, found = np.array([1, 2, 1, 2]), np.array([1, 2, 2, 2])
    held_out = HeldOut((1, 2), truth, np.eye(2)[found - 1])
    page.resize(330, 600)
    page.show()
    page.show_verdicts([Verdict("em-segment-2", held_out, None, None)], [ClassLabel(name, "#ff0000")] * 2)
    qtbot.waitUntil(lambda: page.scores.columnWidth(0) != 100)
    assert page.scores.verticalHeader().width() <= 110 < page.scores.columnWidth(0)
    assert page.scores.verticalHeaderItem(0).toolTip() == name


def test_a_model_may_be_called_as_a_button_is(qtbot):
    page, looks = JudgePage(), []
    qtbot.addWidget(page)
    page.look_wanted.connect(looks.append)
    names = ("nothing", "differences")
    page.show_verdicts([Verdict(n, None, None, None) for n in names], [ClassLabel("a", "#ff0000")] * 2)
    for one in page.looks.buttons():
        one.click()
    assert looks == [0, 1, 2, 3]  # the models, where they differ, nothing


def cells(table):
    rows = [table.verticalHeaderItem(r).text() for r in range(table.rowCount())]
    columns = [table.horizontalHeaderItem(c).text() for c in range(table.columnCount())]
    return {r: {c: table.item(i, j).text() for j, c in enumerate(columns)} for i, r in enumerate(rows)}


def test_classic_lies_beside_the_model_and_becomes_a_version_when_it_is_kept(painted, viewer, blobs, clicks, wait):
    clicks("compare_classic")
    wait(lambda: painted.judge.judging.verdicts != () and not painted._bridge.is_busy)
    shown = cells(painted.judge.page.scores)
    assert list(shown["mean"]) == ["em-segment", "classic", "difference"]
    ours, theirs, between = (viewer.layers[n] for n in (
        "em-segment (judged)", "classic (judged)", "em-segment and classic differ"
    ))  # fmt: skip
    y, x = (round(t / 4) for t in ours.translate)
    visible = blobs[1][y : y + ours.data.shape[0], x : x + ours.data.shape[1]]
    for layer in (ours, theirs):
        assert isinstance(layer, Labels) and np.mean(layer.data == visible) > 0.8
        assert tuple(layer.scale) == (4, 4) and layer.metadata[METADATA]["source"] == "blobs"
    assert theirs.metadata[METADATA]["model"]["name"] == "classic"
    np.testing.assert_array_equal(between.data, ours.data != theirs.data)
    assert (ours.visible, theirs.visible, between.visible) == (True, False, False)
    clicks("look_1")
    assert (ours.visible, theirs.visible, between.visible) == (False, True, False)
    clicks("look_2")
    assert between.visible and not theirs.visible
    clicks("look_3")
    assert not any(x.visible for x in (ours, theirs, between))

    assert "classic-2" not in [c.name for c in painted._bridge.models.cards()]  # not before the user says so
    kept = []
    painted.judge.judging.kept.connect(kept.append)
    clicks("keep_1")
    painted.judge.judging.keep("classic")  # as by a second click
    wait(lambda: painted.data.model_name == "classic-2")
    assert [c.name for c in kept] == ["classic-2"]
    card = painted._bridge.models.card("classic-2")
    assert card.net["n_trees"] == 100 and card.scores and [c.name for c in card.classes] == ["background", "object"]
    assert not any("judged" in layer.name for layer in viewer.layers)
    assert painted._tabs.currentIndex() == 0
    clicks("apply")
    wait(lambda: "blobs classic-2" in viewer.layers and not painted._bridge.is_busy)
    result = viewer.layers["blobs classic-2"]
    assert np.mean(result.data == blobs[1]) > 0.8
    assert result.metadata[METADATA]["model"]["id"] == card.id


@pytest.mark.parametrize("button", ["fine_tune", "live"])
def test_what_was_judged_does_not_lie_under_a_preview(painted, viewer, clicks, wait, button):
    clicks("judge")
    wait(lambda: painted.judge.judging.verdicts != () and not painted._bridge.is_busy)
    assert viewer.layers["em-segment (judged)"].visible
    clicks(button)
    assert not viewer.layers["em-segment (judged)"].visible and painted.judge.page.looks.checkedId() == 1


def test_a_model_that_has_seen_no_strokes_becomes_a_version_when_it_is_kept(painted, viewer, blobs, clicks, wait):
    clicks("compare_classic")
    wait(lambda: painted.judge.judging.verdicts != () and not painted._bridge.is_busy)
    clicks("keep_0")
    painted.judge.judging.keep("em-segment")  # as by a second click
    wait(lambda: painted.data.model_name == "em-segment-2" and not painted._bridge.is_busy)
    models = painted._bridge.models
    card = models.card("em-segment-2")
    assert card.painted == (1, 2) and card.steps == 0 and card.parent == models.card("em-segment").id
    assert [c.name for c in card.classes] == ["background", "object"]
    assert "em-segment-3" not in [c.name for c in models.cards()]
    clicks("apply")
    wait(lambda: "blobs em-segment-2" in viewer.layers and not painted._bridge.is_busy)
    assert np.mean(viewer.layers["blobs em-segment-2"].data == blobs[1]) > 0.8


def test_without_strokes_the_cure_is_told(dock, viewer, blobs, clicks, monkeypatch):
    told = []
    monkeypatch.setattr("napari_fewshot.ui.docks.fewshot.show_error", told.append)
    viewer.add_image(blobs[0])
    to_judge(dock)
    clicks("compare_classic")
    assert "New strokes layer" in told[-1] and not dock.judge.judging.is_running


def test_a_stray_stroke_on_an_empty_slice_is_left_out_and_said_so(dock, viewer, blobs, clicks, paint, wait):
    planes = np.stack([blobs[0].astype(np.float32)] * 2)
    planes[1] = np.nan
    viewer.add_image(planes, name="blobs", contrast_limits=(0, 255))
    clicks("new_strokes")
    viewer.dims.set_current_step(0, 0)
    paint(dock.data.labels_layer.layer, blobs[1], index=(0,), n=6)
    dock.data.labels_layer.layer.paint((1, 50, 50), 1)
    to_judge(dock)
    clicks("judge")
    wait(lambda: dock.judge.judging.verdicts != () and not dock._bridge.is_busy)
    said = dock.status.text()
    assert said.startswith("Mean IoU") and "the strokes on slice 1 are left out" in said


def test_what_is_judged_is_forgotten_when_its_image_is_gone(painted, viewer, clicks, wait):
    clicks("judge")
    viewer.layers.remove("blobs")
    wait(lambda: not painted._bridge.is_busy)
    assert not any("judged" in layer.name for layer in viewer.layers)


@pytest.mark.parametrize("is_deleted", [True, False])
def test_a_judgement_is_withdrawn_when_its_model_is_renamed_or_deleted(
    painted, viewer, clicks, wait, monkeypatch, is_deleted
):
    models = painted._bridge.models
    card = models.save(models.read("em-segment"))
    painted._on_bridge_models_changed()
    painted.data.choose_model(card)
    clicks("judge")
    wait(lambda: painted.judge.judging.verdicts != () and not painted._bridge.is_busy)
    models.save(models.read("em-segment"))  # another version changes nothing
    painted._bridge.models_changed.emit()
    assert f"{card.name} (judged)" in viewer.layers and painted.judge.page.scores.isVisible()
    painted.versions.select(card.name)
    if is_deleted:
        monkeypatch.setattr(QMessageBox, "question", lambda *args: QMessageBox.StandardButton.Yes)
        painted.versions.delete.click()
    else:
        monkeypatch.setattr(QInputDialog, "getText", lambda *args, **how: ("better", True))
        painted.versions.rename.click()
    assert not painted.judge.page.scores.isVisible() and f"{card.name} (judged)" not in viewer.layers
    offered = [painted.judge.page.against.itemText(n) for n in range(painted.judge.page.against.count())]
    assert card.name not in offered and ("better" in offered) is not is_deleted


def test_the_current_model_is_judged_and_a_class_never_to_be_missed_becomes_a_version(
    painted, viewer, clicks, wait, blobs
):
    form = painted.judge.page.never_miss
    clicks("judge")
    wait(lambda: painted.judge.judging.verdicts != () and not painted._bridge.is_busy)
    shown = cells(painted.judge.page.scores)
    assert list(shown) == ["background", "object", "mean", "all strokes"]
    assert float(shown["mean"]["em-segment"]) > 0.7 and shown["all strokes"]["em-segment"] == "–"
    confusion = cells(painted.judge.page.confusion)
    assert set(confusion) == {"background", "object"} and confusion["object"]["object"].endswith("%")
    assert form.isVisible() and not form.set.isEnabled() and "Fine-tune first" in form.cost.text()
    painted._tabs.setCurrentIndex(0)
    painted.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: painted.data.model_name == "em-segment-2" and not painted._bridge.is_busy)
    to_judge(painted)
    clicks("judge")
    wait(lambda: form.set.isEnabled() and not painted._bridge.is_busy)
    form.recall.setValue(100)
    assert form.of_class.currentText() == "object" and "%" in form.cost.text()
    clicks("never_miss_set")
    wait(lambda: painted.data.model_name == "em-segment-3" and not painted._bridge.is_busy)
    card = painted._bridge.models.card("em-segment-3")
    assert card.never_miss.class_number == 2 and card.never_miss.recall == 1.0
    assert card.parent == painted._bridge.models.card("em-segment-2").id
    clicks("apply")
    wait(lambda: "blobs em-segment-3" in viewer.layers and not painted._bridge.is_busy)
    found = viewer.layers["blobs em-segment-3"].data == 2
    assert np.mean(found[blobs[1] == 2]) > 0.85


def test_with_denoise_first_it_is_told_what_that_gains(painted, clicks, wait):
    painted.apply.denoise_first.setChecked(True)
    clicks("judge")
    wait(lambda: painted.judge.judging.verdicts != () and not painted._bridge.is_busy)
    assert "denoised first)" in painted.status.text()
    shown = cells(painted.judge.page.scores)
    assert list(shown)[-3:] == ["mean", "denoised first", "all strokes"]
    assert float(shown["denoised first"]["em-segment"]) > 0.5
