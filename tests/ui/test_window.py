"""The dock as part of napari: opens without torch; names, tooltips, keys; closing asks and leaves nothing."""

import gc
import os
import subprocess
import sys

import numpy as np
import psutil
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QCloseEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QMainWindow,
    QMenu,
    QProgressBar,
    QScrollArea,
    QShortcut,
    QSlider,
    QTabBar,
)

from napari_fewshot.core.restoring import Report
from napari_fewshot.ui import bridge
from napari_fewshot.ui.docks import window as docks_window
from napari_fewshot.ui.docks.remote import RemoteDialog
from napari_fewshot.ui.docks.status_line import MOST_LINES, StatusLine
from napari_fewshot.ui.docks.window import APPLY_KEYS, FINE_TUNE_KEYS, NEXT_CLASS_KEYS, STOP_KEYS, WindowWatch

KEYS = {FINE_TUNE_KEYS, STOP_KEYS, APPLY_KEYS, NEXT_CLASS_KEYS}
NAMES = """image_layer labels_layer task model compute fine_tune live stop apply apply_scope progress loss_plot status
versions new_strokes resume target_layer confidence classes""".split()


def children(pid):
    return {p.pid for p in psutil.Process(pid).children(recursive=True)}


def test_the_dock_opens_without_torch():
    """In a fresh interpreter, as the first dock of a viewer that is on screen."""
    script = """
import sys
import napari
viewer = napari.Viewer()
from qtpy.QtWidgets import QApplication
QApplication.processEvents()
from napari_fewshot.ui.docks import FewshotDock
dock = FewshotDock(viewer)
viewer.window.add_dock_widget(dock, name="Few-shot")
QApplication.processEvents()
print("torch" in sys.modules)
viewer.close()
dock._bridge.close()
"""
    command = [sys.executable, "-X", "faulthandler", "-c", script]  # says where it died
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "False"


def test_controls_have_the_names_that_scripts_rely_on(dock):
    for name in NAMES:
        assert len(dock.findChildren(object, name)) >= 1, name
        assert dock.findChild(object, name) is not None


def test_every_control_has_a_tooltip_and_an_accessible_name(dock):
    kinds = (QAbstractButton, QComboBox, QAbstractSpinBox, QProgressBar, QAbstractItemView)
    controls = [
        w for kind in kinds for w in dock.findChildren(kind) if w.objectName() and not w.objectName().startswith("qt_")
    ]
    controls = [w for w in controls if "ScrollLeft" not in w.objectName() and "ScrollRight" not in w.objectName()]
    assert len(controls) > 20
    controls += [*dock.findChildren(QSlider), *dock.findChildren(QAbstractSpinBox)]
    controls += RemoteDialog(dock).findChildren(QAbstractButton)
    for control in controls:
        assert control.accessibleName() and control.toolTip(), control.objectName()


def test_shortcuts_are_shown_and_do_not_clash_with_napari(dock, viewer):
    own = {QKeySequence(keys) for keys in KEYS}
    taken = []
    window = docks_window.window_of(dock)
    for menu in window.findChildren(QMenu):
        taken += [s for action in menu.actions() for s in action.shortcuts()]
    taken += [s.key() for s in window.findChildren(QShortcut) if s not in dock._shortcuts]
    from napari.utils.action_manager import action_manager

    for shortcuts in action_manager._shortcuts.values():
        taken += [QKeySequence(str(s).replace("Control", "Ctrl")) for s in shortcuts]
    assert len(taken) > 40 and not own & set(taken)
    for name, keys in (
        ("fine_tune", FINE_TUNE_KEYS),
        ("stop", STOP_KEYS),
        ("apply", APPLY_KEYS),
        ("next_class", NEXT_CLASS_KEYS),
    ):
        assert f"[{keys}]" in dock.findChild(QAbstractButton, name).toolTip()


def test_keys_work_with_the_canvas_in_focus(dock, viewer, clicks, qtbot, wait, blobs):
    viewer.add_image(blobs[0], name="blobs")
    clicks("new_strokes")
    labels = dock.data.labels_layer.layer
    window = docks_window.window_of(dock)
    window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is window, timeout=5000)
    window.setFocus()
    qtbot.keyClick(window, Qt.Key.Key_N)
    assert labels.selected_label == 2
    qtbot.keyClick(window, Qt.Key.Key_N)
    assert labels.selected_label == 1
    qtbot.keyClick(window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    wait(lambda: "othing is painted yet" in dock.status.text())


@pytest.mark.parametrize("task", ["segment", "denoise"])
def test_nothing_is_cut_off_at_1280_by_720(dock, viewer, qtbot, task, blobs):
    viewer.add_image(blobs[0], name="blobs")
    dock.data.task.setCurrentIndex(dock.data.task.findData(task))
    window = docks_window.window_of(dock)
    window.resize(1280, 720)
    qtbot.wait(100)
    assert (window.width(), window.height()) == (1280, 720)
    scroll = dock._tabs.widget(0).findChild(QScrollArea)
    assert scroll.verticalScrollBar().maximum() == 0
    for control in dock.findChildren(QAbstractButton):
        if control.isVisible() and control.objectName():
            needed = control.fontMetrics().horizontalAdvance(control.text())
            assert control.width() >= needed, control.objectName()
            corner = control.mapTo(window, control.rect().bottomRight())
            assert corner.x() < window.width() and corner.y() < window.height(), control.objectName()


def test_a_long_sentence_is_cut_in_the_status_line_and_whole_in_its_tooltip(qtbot):
    line = StatusLine()
    qtbot.addWidget(line)
    line.resize(330, 60)
    sentence = "wrote 3 results; " + "; ".join(f"micrograph_{n:03d}.tif <cut>: cannot be read" for n in range(40))
    line.show_sentence(sentence, True)
    line.show()
    room = MOST_LINES * line.fontMetrics().lineSpacing() + 8
    assert QLabel.text(line).endswith("…") and line.heightForWidth(330) <= room
    assert line.text() == f"⚠ W{sentence[1:]}" and "micrograph_039.tif &lt;cut&gt;" in line.toolTip()
    line.resize(3000, 60)
    assert len(QLabel.text(line)) > 800 and line.heightForWidth(3000) <= room
    line.show_sentence("ready", False)
    assert QLabel.text(line) == "Ready"


def test_what_was_found_in_a_restoration_has_room_in_the_status_line_up_to_the_strength_of_the_noise(qtbot):
    noise = "shot and read-out noise of 45.3 grey levels (18% of the contrast)"
    report = Report(f"{noise}, correlated along", 45.3, 0.18, 0.05, 0.89, 0.99, factor=2)
    line = StatusLine()
    line.setStyleSheet("QLabel { border: 1px solid black; }")  # as napari's, a style with a frame
    qtbot.addWidget(line)
    line.resize(370, 90)
    line.show_sentence(f"applied em-superres-x2-2; {report.spoken()}", False)
    line.show()
    assert noise in QLabel.text(line) and line.height() <= MOST_LINES * line.fontMetrics().lineSpacing() + 40
    assert line.heightForWidth(370) <= MOST_LINES * line.fontMetrics().lineSpacing() + 10


@pytest.mark.parametrize("task", ["segment", "denoise"])
def test_apply_and_its_choices_stay_in_view_in_a_low_window_under_a_long_status(dock, viewer, qtbot, task, blobs):
    viewer.add_image(blobs[0], name="blobs")
    dock.data.task.setCurrentIndex(dock.data.task.findData(task))
    window = docks_window.window_of(dock)
    window.resize(1090, 600)
    dock.say("a long sentence " * 40)
    qtbot.wait(100)
    for control in (dock.apply.apply, dock.apply.confidence, dock.apply.scope):
        assert control.visibleRegion().boundingRect() == control.rect(), control.objectName()


def test_both_themes_colour_the_plot(dock, viewer):
    seen = set()
    for theme in ("dark", "light"):
        viewer.theme = theme
        seen.add(dock.train.plot.backgroundBrush().color().name())
    assert len(seen) == 2


class UserClose(QCloseEvent):
    """A close that comes from the window system."""

    def spontaneous(self):
        return True


@pytest.fixture
def busy(dock, viewer, clicks, wait, paint, blobs):
    viewer.add_image(blobs[0])
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, blobs[1])
    dock.train.seconds.setValue(0)
    clicks("fine_tune")
    wait(lambda: dock.train.plot.n_points >= 1)
    return dock


def test_closing_asks_while_something_runs(busy, monkeypatch):
    asked = []
    monkeypatch.setattr(docks_window, "ask_before_close", lambda parent, what: asked.append(what) and False)
    window = docks_window.window_of(busy)
    watch = window.findChild(WindowWatch)
    event = UserClose()
    assert watch.eventFilter(window, event) is True and not event.isAccepted()
    assert "fine-tuning em-segment" in asked[0][0]
    assert busy._bridge.is_busy and event.type() == QEvent.Type.Close


@pytest.mark.parametrize("action", ["napari.window.file.close_dialog", "napari.window.file.quit_dialog"])
def test_closing_by_naparis_menu_asks_too(busy, viewer, qtbot, monkeypatch, action):
    from napari._app_model import get_app_model
    from napari.settings import get_settings

    asked = []
    monkeypatch.setattr(docks_window, "ask_before_close", lambda parent, what: asked.append(what) and False)
    monkeypatch.setattr(get_settings().application, "confirm_close_window", False)
    window = docks_window.window_of(busy)
    window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is window, timeout=5000)
    get_app_model().commands.execute_command(action).result()
    qtbot.wait(50)
    assert len(asked) == 1 and window.isVisible() and busy._bridge.is_busy
    window._quit_app = False  # else the end of this test ends the application


def test_closing_does_not_ask_when_nothing_runs(dock, busy, clicks, wait, monkeypatch):
    monkeypatch.setattr(docks_window, "ask_before_close", lambda parent, what: pytest.fail("asked"))
    window = docks_window.window_of(dock)
    clicks("stop")
    wait(lambda: not dock._bridge.is_busy)
    assert window.findChild(WindowWatch).eventFilter(window, UserClose()) is False


def test_a_program_closes_unasked_and_the_best_so_far_becomes_a_version(busy, viewer, home, monkeypatch):
    monkeypatch.setattr(docks_window, "ask_before_close", lambda parent, what: pytest.fail("asked"))
    monkeypatch.setattr(bridge, "LAST_WORDS_S", 20)
    viewer.close()
    assert busy._bridge.state == "closed" and (home / "models" / "em-segment-2").is_dir()


def test_what_live_has_learned_becomes_a_version_when_the_window_closes(dock, viewer, clicks, wait, paint, blobs, home):
    viewer.add_image(blobs[0])
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, blobs[1])
    clicks("live")
    wait(lambda: dock._trainer.live.model is not None)
    viewer.close()
    assert (home / "models" / "em-segment-2").is_dir()


def test_a_dock_taken_away_stops_what_runs_and_keeps_its_version(busy, viewer, home, qtbot):
    bridge = busy._bridge
    viewer.window.remove_dock_widget(busy)
    qtbot.waitUntil(lambda: not bridge.is_busy, timeout=30_000)
    qtbot.waitUntil(lambda: (home / "models" / "em-segment-2").is_dir(), timeout=10_000)


def test_two_docks_of_a_viewer_share_one_worker(dock, viewer):
    from napari_fewshot.ui.docks import FewshotDock

    second = FewshotDock(viewer)
    assert second._bridge is dock._bridge


def test_a_dock_that_is_closed_and_opened_again_keeps_its_worker(viewer, worker, qtbot):
    """Napari hands each dock a proxy of the viewer that ends with it."""
    docked, first = viewer.window.add_plugin_dock_widget("napari-fewshot", "Few-shot")
    used = first._bridge
    qtbot.waitUntil(lambda: used.state == "ready", timeout=60_000)
    viewer.window.remove_dock_widget(docked)
    del docked, first
    _, second = viewer.window.add_plugin_dock_widget("napari-fewshot", "Few-shot")
    for _ in range(3):
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()
        gc.collect()
    assert second._bridge is used and used.state == "ready"
    used.close()


def test_a_window_is_watched_for_the_bridge_its_dock_has_now(dock, viewer, monkeypatch):
    asked = []
    monkeypatch.setattr(docks_window, "ask_before_close", lambda window, titles: asked.append(titles))
    window = viewer.window._qt_window
    later = bridge.Bridge()
    WindowWatch.keep(window, later)
    later.open_work("something")
    window.closeEvent = lambda event: None
    QApplication.sendEvent(window, QCloseEvent())
    assert asked == [["something"]] and len(window.findChildren(WindowWatch)) == 1
    later.close()


def test_closing_the_viewer_leaves_no_process(make_napari_viewer, qtbot):
    from napari_fewshot.ui.docks import FewshotDock

    before = children(os.getpid())
    viewer = make_napari_viewer(show=True)
    dock = FewshotDock(viewer)
    viewer.window.add_dock_widget(dock, name="Few-shot")
    qtbot.waitUntil(lambda: dock._bridge.state == "ready", timeout=60_000)
    started = children(os.getpid()) - before
    assert started
    viewer.add_image(np.zeros((64, 64), np.uint8), contrast_limits=(0, 1))
    viewer.close()

    def is_alive(pid):
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    qtbot.waitUntil(lambda: not any(is_alive(pid) for pid in started), timeout=10_000)


def test_the_manifest_opens_the_dock(make_napari_viewer, worker, qtbot):
    viewer = make_napari_viewer(show=True)
    _, dock = viewer.window.add_plugin_dock_widget("napari-fewshot", "Few-shot")
    assert type(dock).__name__ == "FewshotDock" and isinstance(docks_window.window_of(dock), QMainWindow)
    dock._bridge.close()


@pytest.mark.parametrize("font_px", [12, 22])
def test_at_its_narrowest_the_dock_cuts_nothing_off(dock, viewer, qtbot, font_px):
    window = docks_window.window_of(dock)
    window.resize(1400, 720)
    dock.setStyleSheet(f"QWidget {{ font-size: {font_px}px; }}")
    dock.train.show_card(dock._bridge.models.card("em-segment"))
    qtbot.wait(100)
    window.resizeDocks([dock.parentWidget()], [100], Qt.Orientation.Horizontal)
    for page in range(dock._tabs.count()):
        dock._tabs.setCurrentIndex(page)
        qtbot.wait(20)
        for control in dock.findChildren((QAbstractButton, QLabel)):
            if control.isVisible() and control.text() and not isinstance(control.parent(), QTabBar):
                first = control.text().split("\n")[0]
                if isinstance(control, QAbstractButton):  # labels break their lines
                    assert control.width() >= control.fontMetrics().horizontalAdvance(first), control.objectName()
                assert control.visibleRegion().boundingRect().width() == control.width(), control.objectName()
