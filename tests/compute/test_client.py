"""Claims about `Compute`: jobs end exactly once, stop, hear, survive a dead worker; nothing is left behind."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import dask
import numpy as np
import psutil
import pytest
from distributed import Scheduler

from napari_fewshot.compute import client
from napari_fewshot.compute.client import Compute
from napari_fewshot.compute.cluster import Remote
from napari_fewshot.compute.events import Event, Failed, Finished, Lost, Note, Preview, Progress, Stopped
from napari_fewshot.core.errors import ComputeError, StrokesError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import View
from napari_fewshot.core.strokes import Painting
from tests.compute.acts import PATIENCE_S, Act, Ear, at_once, run_until_told, until_stopped

NOBODY = Remote("tcp://127.0.0.1:9", insecure=True, timeout_s=0.1)


def view_of(value: float, shape: tuple[int, int] = (4, 4)) -> View:
    return View((), (0, 0), np.full(shape, value, np.float32), Intensity(0.0, 1.0), str(value))


def worker_pid(ear: Ear, job_id: str) -> int:
    return int(ear.wait(job_id, Progress).losses["pid"])


def test_events_come_in_order_and_the_end_comes_last(compute: Compute, ear: Ear) -> None:
    def talk(bench: Any, line: Any) -> Event:
        line.note("begins")
        line.progress(1, 2, 0.0, None, {}, None)
        line.progress(2, 2, 0.0, None, {}, None)  # held back by the throttle, told before the end
        return Finished(line._order.job_id, details={"pid": os.getpid()})

    job_id = compute.submit(Act(talk))
    assert ear.end(job_id).details["pid"] != os.getpid()
    assert [type(e) for e in ear.of(job_id)] == [Note, Progress, Progress, Finished]
    assert [e.done for e in ear.of(job_id) if isinstance(e, Progress)] == [1, 2]


def test_progress_is_throttled(compute: Compute, ear: Ear) -> None:
    def hurry(bench: Any, line: Any) -> Event:
        for step in range(10_000):
            line.progress(step, None, 0.0, None, {}, None)
        return Finished(line._order.job_id)

    job_id = compute.submit(Act(hurry))
    ear.end(job_id)
    told = [e.done for e in ear.of(job_id) if isinstance(e, Progress)]
    assert len(told) < 1000 and told[-1] == 9_999


def test_a_running_job_stops(compute: Compute, ear: Ear) -> None:
    job_id = run_until_told(compute, ear, Act(until_stopped))
    compute.stop(job_id)
    assert isinstance(ear.end(job_id), Stopped)


def test_a_waiting_job_stops_without_its_turn(compute: Compute, ear: Ear) -> None:
    first = run_until_told(compute, ear, Act(until_stopped))
    second = compute.submit(Act(until_stopped))
    compute.stop(second)
    assert isinstance(ear.end(second), Stopped)
    assert len(ear.of(second)) == 1
    compute.stop(first)
    ear.end(first)


def test_a_job_stopped_as_soon_as_it_is_submitted_ends(compute: Compute, ear: Ear) -> None:
    ids = [compute.submit(Act(until_stopped)) for _ in range(5)]
    for job_id in ids:
        compute.stop(job_id)
    assert all(isinstance(ear.end(job_id), Stopped) for job_id in ids)
    assert isinstance(ear.end(compute.submit(Act(at_once))), Finished)  # nothing keeps the worker busy


def test_jobs_run_in_the_order_they_were_handed_in(compute: Compute, ear: Ear) -> None:
    ids = [compute.submit(Act(at_once)) for _ in range(4)]
    for job_id in ids:
        ear.end(job_id)
    ends = [e.job_id for e in ear.events if isinstance(e, Finished) and e.job_id in ids]
    assert ends == ids


def test_of_several_messages_the_latest_is_heard(compute: Compute, ear: Ear) -> None:
    def listen(bench: Any, line: Any) -> Event:
        line.note("listens")
        while (view := line.view()) is None or view.key != "19.0":
            if line.stopped():
                return Stopped(line._order.job_id)
        line.preview(view, view.image, 1, None)
        while (painting := line.painting()) is None:
            pass
        assert line.painting() is None  # strokes are news once, a view stays
        return Finished(line._order.job_id, details={"key": line.view().key, "names": painting.class_names})

    job_id = compute.submit(Act(listen))
    for value in range(20):  # some before it runs
        compute.send(job_id, view_of(float(value), (512, 512)))
    preview = ear.wait(job_id, Preview)
    assert preview.values.dtype == np.float32 and preview.values.min() == preview.values.max() == 19.0
    compute.send(job_id, Painting((), ("membrane",)))
    assert ear.end(job_id).details == {"key": "19.0", "names": ("membrane",)}


def test_what_the_user_can_cure_fails_without_a_traceback(compute: Compute, ear: Ear) -> None:
    def fail(bench: Any, line: Any) -> Event:
        raise StrokesError("paint two classes")

    end = ear.end(compute.submit(Act(fail)))
    assert isinstance(end, Failed) and (end.message, end.traceback) == ("paint two classes", "")


def test_a_bug_fails_with_its_traceback(compute: Compute, ear: Ear) -> None:
    def fail(bench: Any, line: Any) -> Event:
        raise ZeroDivisionError("by nothing")

    end = ear.end(compute.submit(Act(fail)))
    assert isinstance(end, Failed) and "by nothing" in end.message and "in fail" in end.traceback


def test_running_out_of_memory_fails_with_a_cure(compute: Compute, ear: Ear) -> None:
    def fill(bench: Any, line: Any) -> Event:
        raise MemoryError

    def fill_torch(bench: Any, line: Any) -> Event:
        import torch

        torch.empty(2**60)
        raise AssertionError

    for call in (fill, fill_torch):
        end = ear.end(compute.submit(Act(call)))
        assert isinstance(end, Failed) and "not enough memory" in end.message, end


def test_a_killed_worker_is_lost_once_and_the_next_job_runs(compute: Compute, ear: Ear) -> None:
    job_id = run_until_told(compute, ear, Act(until_stopped))
    waiting = compute.submit(Act(at_once))
    psutil.Process(worker_pid(ear, job_id)).kill()
    end = ear.end(job_id)
    assert isinstance(end, Lost) and "died" in end.message
    assert isinstance(ear.end(waiting), Finished)
    assert compute.state == "ready"


def test_killing_the_worker_is_a_last_resort(compute: Compute, ear: Ear) -> None:
    def deaf(bench: Any, line: Any) -> Event:
        line.progress(0, None, 0.0, None, {}, None)
        time.sleep(10_000)
        raise AssertionError

    job_id = run_until_told(compute, ear, Act(deaf))
    compute.kill_worker()
    assert isinstance(ear.end(job_id), Lost)
    assert isinstance(ear.end(compute.submit(Act(at_once))), Finished)


def test_when_the_whole_process_tree_is_killed_another_is_started(compute: Compute, ear: Ear) -> None:
    job_id = run_until_told(compute, ear, Act(until_stopped))
    nanny = psutil.Process(worker_pid(ear, job_id)).parent()
    assert nanny is not None
    for process in [nanny, *nanny.children(recursive=True)]:
        process.kill()
    assert isinstance(ear.end(job_id), Lost)
    assert isinstance(ear.end(compute.submit(Act(at_once))), Finished)


def test_an_abandoned_job_stops_by_itself(compute: Compute, ear: Ear) -> None:
    """As when its viewer crashed: nobody waits for the task any more, so the worker must not work on for ever."""
    job_id = run_until_told(compute, ear, Act(until_stopped))
    assert compute._session is not None
    task = compute._session.errands[job_id].task
    assert task is not None
    compute._session.loop.call_soon_threadsafe(task.cancel)
    assert isinstance(ear.end(job_id), Stopped)
    assert isinstance(ear.end(compute.submit(Act(at_once))), Finished)


def test_a_listener_that_fails_harms_nobody() -> None:
    ear = Ear()

    def on_event(event: Event) -> None:
        ear(event)
        raise RuntimeError("a bug of the listener")

    compute = Compute(on_event, remote=NOBODY)
    compute.start()
    job_id = compute.submit(Act(at_once))
    ear.end(job_id)
    compute.close()
    ear.check()


def test_previews_do_not_pile_up_in_the_scheduler(compute: Compute, ear: Ear) -> None:
    def show(bench: Any, line: Any) -> Event:
        for _ in range(30):
            line.preview(view_of(0.0), np.zeros((64, 64)), 1, None)
            time.sleep(0.01)
        kept = line._worker.batched_stream.recent_message_log
        return Finished(line._order.job_id, details={"kept": len(kept)})

    assert ear.end(compute.submit(Act(show))).details["kept"] <= 10
    assert compute._session is not None and compute._session.cluster is not None
    there = compute._session.cluster.result().client
    assert len(there.get_events(compute._topic)) == 1
    (scheduler,) = (s for s in Scheduler._instances if s.address == there.scheduler.address)
    assert len(scheduler.client_comms[there.id].recent_message_log) == 1


def test_the_users_dask_configuration_stays_as_it_was(compute: Compute) -> None:
    assert dask.config.get("distributed.admin.low-level-log-length") > 1
    assert dask.config.get("scheduler", None) is None  # a lazy image of the viewer is not computed on our worker
    assert dask.config.get("distributed.scheduler.http.routes")


def test_everything_listens_on_loopback_only(compute: Compute, ear: Ear) -> None:
    here = psutil.Process()
    sockets = [c for p in [here, *here.children(recursive=True)] for c in p.net_connections("inet")]
    listening = [c.laddr.ip for c in sockets if c.status == psutil.CONN_LISTEN]
    assert listening and set(listening) == {"127.0.0.1"}


def test_nothing_secret_is_in_arguments_or_environment(compute: Compute) -> None:
    for process in psutil.Process().children(recursive=True):
        assert "PRIVATE KEY" not in " ".join([*process.cmdline(), *process.environ().values()])


def test_another_users_credentials_are_refused(compute: Compute) -> None:
    from distributed import Client, Security

    assert compute._session is not None and compute._session.cluster is not None
    address = compute._session.cluster.result().client.scheduler.address
    for security in (Security.temporary(), Security(require_encryption=False)):
        with pytest.raises((OSError, RuntimeError)):
            Client(address.replace("tls", "tcp") if not security.tls_ca_file else address, security=security, timeout=1)


def test_after_a_failed_start_jobs_fail_and_a_restart_cures() -> None:
    ear, states = Ear(), []
    with Compute(ear, "cuda:7", on_state=states.append) as compute:
        early = compute.submit(Act(at_once))
        end = ear.end(early)
        assert isinstance(end, Failed) and end.message.startswith("there is no device 'cuda:7' here: choose one of")
        assert not end.traceback and compute.state == f"failed: {end.message}"
        with pytest.raises(ComputeError, match="no device 'cuda:7' here"):
            compute.wait_ready(PATIENCE_S)
        compute.restart("cpu")
        compute.wait_ready(PATIENCE_S)
        assert compute.devices()[-1] == "cpu"
        assert isinstance(ear.end(compute.submit(Act(at_once))), Finished)
    assert [s.split(":")[0] for s in states] == ["starting", "failed", "starting", "ready", "closed"]
    ear.check()


def test_a_worker_that_exceeds_its_memory_is_lost() -> None:
    def fill(bench: Any, line: Any) -> Event:
        hoard = []
        while True:
            hoard.append(np.ones(2**24))
            line.progress(len(hoard), None, 0.0, None, {}, None)

    ear = Ear()
    with Compute(ear, "cpu", memory_limit="1.5 GB") as compute:
        assert isinstance(ear.end(compute.submit(Act(fill))), Lost)
        assert isinstance(ear.end(compute.submit(Act(at_once))), Finished)
    ear.check()


@pytest.mark.parametrize("moment", ["starting", "running"])
def test_close_ends_every_job_and_leaves_no_process(moment: str) -> None:
    before = set(psutil.Process().children(recursive=True))
    ear = Ear()
    compute = Compute(ear, "cpu")
    compute.start()
    if moment == "starting":
        while not set(psutil.Process().children(recursive=True)) - before:
            time.sleep(0.01)
        first = compute.submit(Act(until_stopped))
    else:
        first = run_until_told(compute, ear, Act(until_stopped))
    ids = [first, compute.submit(Act(at_once))]
    compute.close()
    assert [type(e) for job_id in ids for e in ear.of(job_id) if not isinstance(e, Progress)] == [Stopped, Stopped]
    assert not psutil.wait_procs(set(psutil.Process().children(recursive=True)) - before, timeout=1)[1]
    assert compute.state == "closed"
    assert compute._session is None
    with pytest.raises(ComputeError, match=r"call start\(\)"):
        compute.submit(Act(at_once))
    ear.check()


def test_close_may_be_called_by_a_listener() -> None:
    closed = threading.Event()

    def on_state(state: str) -> None:
        if state.startswith("failed"):
            compute.close()
        if state == "closed":
            closed.set()

    compute = Compute(Ear(), remote=NOBODY, on_state=on_state)
    compute.start()
    assert closed.wait(PATIENCE_S)


def test_a_compute_started_again_while_it_still_closes_stays_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CLOSE_TIMEOUT_S", 0.01)
    let_go, ear = threading.Event(), Ear()

    def on_event(event: Event) -> None:
        ear(event)
        let_go.wait(PATIENCE_S)

    compute = Compute(on_event, remote=NOBODY)
    compute.start()
    ear.end(compute.submit(Act(at_once)))
    assert compute._session is not None
    closing = compute._session.thread  # held by its listener
    compute.close()
    compute.start()
    again = compute.submit(Act(at_once))
    let_go.set()
    closing.join(PATIENCE_S)
    assert compute.state != "closed"
    assert isinstance(ear.end(again), Failed)
    compute.close()
    ear.check()


def test_a_job_handed_in_after_a_restart_runs_on_the_new_worker(compute: Compute, ear: Ear) -> None:
    old = run_until_told(compute, ear, Act(until_stopped))
    compute.restart()
    new = run_until_told(compute, ear, Act(until_stopped))
    assert isinstance(ear.end(old), Stopped)
    assert worker_pid(ear, old) != worker_pid(ear, new)
    compute.stop(new)
    assert isinstance(ear.end(new), Stopped)
