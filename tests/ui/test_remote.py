"""Another machine is chosen in the dock: TLS files or nothing, and the list always shows where jobs run."""

import pytest
from qtpy.QtWidgets import QDialog

from napari_fewshot.ui.docks.compute_choice import REMOTE
from napari_fewshot.ui.docks.remote import RemoteDialog

ADDRESS = "tls://server:8786"


@pytest.fixture
def files(tmp_path):
    """PEM files, at least by name."""
    paths = {kind: tmp_path / f"{kind}.pem" for kind in ("ca", "cert", "key")}
    for path in paths.values():
        path.write_text("x")
    return paths


@pytest.fixture
def choose(dock, monkeypatch):
    """Chooses an entry of the list; the dialog, if it asks, gets this answer."""

    def chosen(entry, address="", files=None, is_accepted=True):
        dialog = dock.findChild(RemoteDialog)
        dialog.address.setText(address)
        for kind, path in (files or {}).items():
            dialog.files[kind].value = path
        code = QDialog.DialogCode.Accepted if is_accepted else QDialog.DialogCode.Rejected
        monkeypatch.setattr(dialog, "exec", lambda: code)
        at = dock.data.compute.findText(entry)
        assert at >= 0
        dock.data.compute.setCurrentIndex(at)
        dock.data.compute.activated.emit(at)

    return chosen


@pytest.fixture
def moves(dock, monkeypatch):
    made = []
    monkeypatch.setattr(dock._bridge, "_off", lambda function, *args: made.append((function.__name__, *args)))
    return made


def test_another_machine_gets_the_address_and_the_files(dock, wait, choose, moves, files):
    wait(lambda: dock.data.compute.findText(REMOTE) >= 0)
    choose(REMOTE, f" {ADDRESS} ", files)
    (move,) = moves
    assert move[:2] == ("_move", "auto") and move[3] is False
    assert (move[2].address, move[2].key, move[2].insecure) == (ADDRESS, str(files["key"]), False)
    assert dock.data.compute.currentText() == ADDRESS and ADDRESS in dock.status.text()
    choose("auto")
    assert moves[1:] == [("_move", "auto", None, False)] and dock.data.compute.currentText() == "auto"


@pytest.mark.parametrize(
    ("address", "without", "words"),
    [("tcp://server:8786", "", "not encrypted"), (ADDRESS, "key", "TLS file for 'key' is missing"), ("", "", "tls://")],
)
def test_without_tls_it_is_refused_with_a_cure(dock, wait, choose, moves, files, address, without, words):
    wait(lambda: dock.data.compute.findText(REMOTE) >= 0)
    choose(REMOTE, address, {kind: path for kind, path in files.items() if kind != without})
    assert words in dock.status.text() and not moves
    assert dock.data.compute.currentText() == "auto"


def test_a_cancelled_question_changes_nothing(dock, wait, choose, moves, files):
    wait(lambda: dock.data.compute.findText(REMOTE) >= 0)
    choose(REMOTE, ADDRESS, files, is_accepted=False)
    assert not moves and dock.data.compute.currentText() == "auto"


def test_a_file_is_found_by_its_button(dock, monkeypatch, files):
    from qtpy.QtWidgets import QAbstractButton

    dialog = dock.findChild(RemoteDialog)
    monkeypatch.setattr(dialog.files["cert"], "_show_file_dialog", lambda *args, **how: str(files["cert"]))
    dialog.findChild(QAbstractButton, "browse_cert").click()
    assert dialog.files["cert"].value == files["cert"]
