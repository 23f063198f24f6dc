"""The panel of versions: compare, rename, delete, export, import, and still there after a restart."""

from dataclasses import replace

import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox

from napari_fewshot.compute.events import Progress
from napari_fewshot.core.shelf import CARD, ModelFile, Shelf
from napari_fewshot.ui.docks.data_form import DataForm
from napari_fewshot.ui.docks.versions import FOLDER, ZIP, VersionsPanel
from napari_fewshot.ui.models import Models
from napari_fewshot.ui.work import Work


@pytest.fixture
def said():
    return []


@pytest.fixture
def panel(qtbot, model_file, said):
    """Two versions of the user beside the embedded models."""
    for n, score in ((1, 0.5), (2, 0.75)):
        card = replace(
            model_file.card, name=f"mine-{n}", scores={"held-out gain": score}, n_painted_px=10 * n, seconds=2.0 * n
        )
        Shelf().add(ModelFile.sealed(card, model_file.weights))
    made = VersionsPanel(Models())
    made.said.connect(lambda *what: said.append(what))
    qtbot.addWidget(made)
    return made


def facts(panel):
    table = panel.facts
    names = [table.horizontalHeaderItem(c).text() for c in range(table.columnCount())]
    rows = [table.verticalHeaderItem(r).text() for r in range(table.rowCount())]
    return {n: {row: table.item(r, c).text() for r, row in enumerate(rows)} for c, n in enumerate(names)}


def test_two_versions_stand_side_by_side(panel):
    panel.select("mine-1", "mine-2")
    shown = facts(panel)
    assert [shown[n]["held-out gain"] for n in ("mine-1", "mine-2")] == ["0.500", "0.750"]
    assert [shown[n]["painted px"] for n in ("mine-1", "mine-2")] == ["10", "20"]
    assert [shown[n]["seconds"] for n in ("mine-1", "mine-2")] == ["2.0", "4.0"]
    assert not panel.use.isEnabled() and not panel.rename.isEnabled() and panel.delete.isEnabled()


def test_embedded_models_cannot_be_changed(panel):
    panel.select("em-denoise")
    assert panel.use.isEnabled() and panel.export.isEnabled()
    assert not panel.rename.isEnabled() and not panel.delete.isEnabled()


def test_a_version_that_cannot_be_read_is_listed_with_the_reason(panel):
    card = Shelf().root / "mine-1" / CARD
    card.write_text(card.read_text().replace('"format": 1', '"format": 99'))
    panel.refresh()
    rows = [panel.list.topLevelItem(n) for n in range(panel.list.topLevelItemCount())]
    (row,) = [r for r in rows if r.text(0).startswith("mine-1")]
    assert "cannot be read" in row.text(0) and "update napari-fewshot" in row.toolTip(0) and row.isDisabled()
    panel.select("mine-1")
    assert not panel.use.isEnabled()


def test_rename(panel, monkeypatch, said):
    monkeypatch.setattr(QInputDialog, "getText", lambda *args, **how: ("my best", True))
    panel.select("mine-1")
    panel.rename.click()
    assert {c.name for c in Shelf().cards()} >= {"my best", "mine-2"} and said[-1] == (
        "renamed mine-1 to my best",
        False,
    )
    monkeypatch.setattr(QInputDialog, "getText", lambda *args, **how: ("mine-2", True))
    panel.select("my best")
    panel.rename.click()
    assert "already" in said[-1][0] and said[-1][1]


def test_delete_asks_first(panel, monkeypatch):
    panel.select("mine-1", "mine-2")
    monkeypatch.setattr(QMessageBox, "question", lambda *args: QMessageBox.StandardButton.No)
    panel.delete.click()
    assert "mine-1" in [c.name for c in Shelf().cards()]
    monkeypatch.setattr(QMessageBox, "question", lambda *args: QMessageBox.StandardButton.Yes)
    panel.select("mine-1")
    panel.delete.click()
    assert [c.name for c in Shelf().cards() if c.name.startswith("mine")] == ["mine-2"]


@pytest.mark.parametrize(("kind", "taken"), [(FOLDER, "mine-2/card.json"), (ZIP, "mine-2.ZIP")])
def test_a_model_is_exported_and_imported(panel, monkeypatch, tmp_path, kind, taken):
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(tmp_path / "mine-2.ZIP"), kind))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *args: (str(tmp_path / taken), ""))
    panel.select("mine-2")
    panel.export.click()
    panel.take_in.click()
    assert "mine-3" in [c.name for c in Shelf().cards()]


def test_a_model_that_was_tampered_with_is_not_imported(panel, monkeypatch, tmp_path, said):
    card = tmp_path / "mine-2" / "card.json"
    Models().export("mine-2", card.parent)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *args: (str(card), ""))
    (card.parent / "model.safetensors").write_bytes(b"foreign")
    panel.take_in.click()
    assert "do not match" in said[-1][0] and said[-1][1]
    (card.parent / "model.safetensors").unlink()
    panel.take_in.click()
    assert "not a model folder" in said[-1][0]


def test_a_dialog_that_is_cancelled_changes_nothing(panel, monkeypatch, said):
    before = [c.name for c in Shelf().cards()]
    for dialog in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, dialog, lambda *args: ("", ""))
    monkeypatch.setattr(QInputDialog, "getText", lambda *args, **how: ("x", False))
    panel.select("mine-1")
    for one in (panel.export, panel.take_in, panel.rename):
        one.click()
    assert [c.name for c in Shelf().cards()] == before and not said


def test_versions_are_there_again_in_a_new_dock(panel, dock):
    names = [dock.versions.list.topLevelItem(n).text(0) for n in range(dock.versions.list.topLevelItemCount())]
    assert {"mine-1", "mine-2", "em-segment"} <= set(names)


@pytest.mark.parametrize("is_current", [True, False])
def test_a_renamed_version_stays_or_does_not_become_the_current_model(panel, dock, monkeypatch, is_current):
    dock.data.choose_model(Shelf().read("mine-1" if is_current else "mine-2").card)
    monkeypatch.setattr(QInputDialog, "getText", lambda *args, **how: ("my best", True))
    dock.versions.select("mine-1")
    dock.versions.rename.click()
    assert dock.data.model_name == ("my best" if is_current else "mine-2")


def test_the_scores_in_the_list_are_those_of_which_more_is_better(panel):
    rows = {(r := panel.list.topLevelItem(n)).text(0): r for n in range(panel.list.topLevelItemCount())}
    assert rows["mine-1"].text(1) == "0.500" and rows["mine-1"].toolTip(1) == "held-out gain"
    assert rows["em-denoise"].text(1) == ""
    panel.select("em-denoise")
    assert "held-out L1" in facts(panel)["em-denoise"]


def test_the_score_beside_the_loss_curve_is_that_of_the_version_or_the_job(panel, dock):
    shelf, form = Shelf(), dock.train
    shown = [(shelf.read("mine-1").card, "gain 0.50"), (shelf.read("em-denoise").card, "")]
    for card, text in (*shown, *shown):
        dock.data.choose_model(card)
        assert form.score.text() == text
    dock._trainer.started.emit(Work(dock, "resumed"), "held-out stroke IoU")
    dock.data.task.setCurrentIndex(dock.data.task.findData("super_resolve"))
    form.show_training(Progress("", 5, None, 1.0, score=0.75))
    assert form.score.text() == "stroke IoU 0.75"


def test_the_history_of_a_version_is_drawn_over_its_steps(qtbot):
    from napari_fewshot.ui.docks.loss_plot import LossPlot

    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.show_history((3.0, 2.0, 1.0), 300)
    drawn = plot.getPlotItem().listDataItems()[0]
    assert list(drawn.xData) == [100, 200, 300] and list(drawn.yData) == [3.0, 2.0, 1.0]


def test_without_a_step_the_axes_show_no_numbers(qtbot):
    from napari_fewshot.ui.docks.loss_plot import LossPlot

    plot = LossPlot()
    qtbot.addWidget(plot)
    for losses, steps in (((), 0), ((3.0, 2.0), 4000), ((), 0)):
        plot.show_history(losses, steps)
        shown = {plot.getAxis(side).style["showValues"] for side in ("left", "bottom")}
        assert shown == {bool(losses)}


def test_a_refused_name_leaves_the_selection(panel, monkeypatch):
    monkeypatch.setattr(QInputDialog, "getText", lambda *args, **how: ("mine-2", True))
    panel.select("mine-1")
    panel.rename.click()
    assert list(facts(panel)) == ["mine-1"]


def test_an_imported_model_is_told_by_its_name(panel, monkeypatch, tmp_path, said):
    Models().export("mine-2", tmp_path / "mine-2")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *args: (str(tmp_path / "mine-2" / CARD), ""))
    panel.take_in.click()
    assert said[-1][0].endswith("as mine-3") and not said[-1][1]


def test_a_version_saved_elsewhere_is_listed_when_the_page_is_shown(panel, model_file):
    Shelf().add(ModelFile.sealed(replace(model_file.card, name="theirs"), model_file.weights))
    panel.show()
    assert "theirs" in [panel.list.topLevelItem(n).text(0) for n in range(panel.list.topLevelItemCount())]


@pytest.mark.parametrize("has_parent", [True, False])
def test_after_a_deleted_model_comes_its_parent_or_the_newest(qtbot, model_file, has_parent):
    form, told = DataForm(ViewerModel(), Models()), []
    qtbot.addWidget(form)
    form.said.connect(lambda *what: told.append(what))
    parent, newest, child = (
        replace(model_file.card, name=name, created=f"2999-01-0{day}", parent="", task="segment")
        for name, day in (("parent", 1), ("newest", 3), ("child", 2))
    )
    shelf = Shelf()
    kept = shelf.add(ModelFile.sealed(parent, model_file.weights))
    shelf.add(ModelFile.sealed(newest, model_file.weights))
    form.choose_model(shelf.add(ModelFile.sealed(replace(child, parent=kept.id), model_file.weights)))
    assert form.model_name == "child" and not told
    shelf.delete("child")
    if not has_parent:
        shelf.delete("parent")
    form.refresh_models()
    heir = "parent" if has_parent else "newest"
    assert form.model_name == heir and told == [(f"'child' is gone: {heir} is the current model now", False)]


def test_a_single_loss_is_a_dot_on_an_axis_from_zero(qtbot):
    from napari_fewshot.ui.docks.loss_plot import LossPlot

    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.resize(300, 130)
    plot.show()
    plot.add(1, 0.1)
    drawn = plot.getPlotItem().listDataItems()[0]
    assert drawn.opts["symbol"] == "o"
    qtbot.waitUntil(lambda: plot.viewRange()[1][0] >= 0)
    plot.add(2, -0.1)
    assert drawn.opts["symbol"] is None
    qtbot.waitUntil(lambda: plot.viewRange()[1][0] < 0)
