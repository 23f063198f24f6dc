"""Between viewer and worker: nothing trained is lost when a viewer closes, nothing piles up, jobs move to other machines."""

import threading

import numpy as np
import pytest

from napari_fewshot.compute import client
from napari_fewshot.compute.cluster import Remote
from napari_fewshot.compute.events import End, PlaneDone
from napari_fewshot.core.job import Apply
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.shelf import Shelf
from napari_fewshot.ui.bridge import Bridge


@pytest.fixture
def bridge(qapp, worker, qtbot):
    made = Bridge("cpu")
    made.start()
    qtbot.waitUntil(lambda: made.state == "ready", timeout=60_000)
    yield made
    made.close()


def versions(home):
    return [p.name for p in (home / "models").iterdir()] if (home / "models").is_dir() else []


def test_a_version_that_waits_to_be_written_is_work_and_is_written_when_the_viewer_closes(bridge, model_file, home):
    may_go_on = threading.Event()
    bridge.call(lambda: may_go_on.wait(10), lambda *_: None)  # a plane that takes long to read
    bridge.save(model_file, lambda model: model, lambda *_: None)
    assert bridge.is_busy and bridge.busy_with == ["saving a version of toy"]
    bridge.close()
    assert versions(home) == ["toy"]
    may_go_on.set()


def test_a_saved_version_is_no_work_any_more(bridge, model_file, home, qtbot):
    saved = []
    bridge.save(model_file, lambda model: model, lambda card, error: saved.append(card.name))
    with qtbot.waitSignal(bridge.busy_changed, timeout=10_000):
        pass
    assert saved == ["toy"] == versions(home) and not bridge.is_busy


def test_nobody_is_told_of_anything_after_the_close(bridge, model_file, qtbot):
    told = []
    bridge.save(model_file, lambda model: model, lambda *_: told.append(1))
    bridge.close()
    work = bridge.submit(lambda: pytest.fail("put together"), "late")
    qtbot.wait(50)
    assert not told and not work.is_running and not bridge.is_busy


def test_a_model_saved_after_the_close_is_written_at_once(bridge, model_file, home):
    bridge.close()
    bridge.save(model_file, lambda model: model, lambda *_: None)
    assert versions(home) == ["toy"]


def test_events_of_open_work_do_not_wait_for_the_gui_thread(bridge):
    heard, ended = [], threading.Event()

    def hear(event):
        heard.append(event)
        if isinstance(event, End):
            ended.set()

    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    bridge.submit_for(hear, Apply(Shelf().read("em-denoise"), picture_of(image), ((),)))
    assert ended.wait(60)  # no event loop runs here
    assert sum(isinstance(e, PlaneDone) for e in heard) == 1
    assert bridge._inbox._calls.empty() and not bridge._hearers


def test_a_job_stopped_while_it_is_put_together_never_reaches_the_worker(bridge, qtbot):
    begun, may_go_on = threading.Event(), threading.Event()

    def make_job():
        begun.set()
        may_go_on.wait(10)
        return Apply(Shelf().read("em-denoise"), picture_of(np.eye(64)), ((),))

    work = bridge.submit(make_job, "slow")
    assert begun.wait(10)
    bridge.stop(work)
    assert not work.is_running and not bridge.is_busy
    may_go_on.set()
    done = []
    bridge.call(lambda: None, lambda *_: done.append(1))
    qtbot.waitUntil(lambda: bool(done), timeout=10_000)
    assert work.job_id is None and not bridge._hearers


@pytest.fixture
def opened(monkeypatch):
    """Computes as they are opened and closed, without a worker."""
    log = []

    class Opened:
        def __init__(self, on_event, device="auto", remote=None, *, on_state=None):
            self._where = remote.address if remote is not None else device
            self._on_state = on_state

        def start(self):
            log.append(f"open {self._where}")
            self._on_state("ready")

        def restart(self, device):
            log.append(f"restart {device}")
            self._on_state("ready")

        def close(self):
            log.append(f"close {self._where}")
            self._on_state("closed")

    monkeypatch.setattr(client, "Compute", Opened)
    return log


def test_the_worker_moves_to_another_machine_and_back(qapp, opened, qtbot):
    bridge = Bridge("cpu")
    bridge.start()
    for device, remote in (("cuda:0", None), ("auto", Remote("tcp://far:1", insecure=True)), ("cpu", None)):
        qtbot.waitUntil(lambda: bridge.state == "ready", timeout=5000)
        bridge.use_device(device, remote)
        assert bridge.state == "starting"
    qtbot.waitUntil(lambda: bridge.state == "ready", timeout=5000)
    bridge.close()
    assert opened == [
        "open cpu", "restart cuda:0", "close cpu", "open tcp://far:1", "close tcp://far:1", "open cpu", "close cpu",
    ]  # fmt: skip
    assert bridge.state == "closed"


def test_closing_does_not_wait_for_ever_for_a_job_that_does_not_answer(bridge, monkeypatch):
    from napari_fewshot.ui import bridge as module

    monkeypatch.setattr(module, "LAST_WORDS_S", 0.2)
    work = bridge.open_work("deaf")
    work.job_id = "deaf"
    bridge.close()  # for ever, if it did not give up
    assert not work.is_running
