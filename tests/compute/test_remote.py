"""Claims about a scheduler that is not ours: TLS or nothing, a clear refusal, a lost connection."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distributed import Scheduler, Security

from napari_fewshot.compute.client import Compute
from napari_fewshot.compute.cluster import Remote
from napari_fewshot.compute.events import Failed, Finished, Lost, PlaneDone
from napari_fewshot.core.errors import ComputeError
from napari_fewshot.core.job import Apply
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.shelf import Shelf
from tests.compute.acts import PATIENCE_S, Act, Ear, at_once, run_until_told, until_stopped


class Elsewhere:
    """A scheduler on its own thread, as if it were another machine's, and workers for it."""

    def __init__(self, folder: Path) -> None:
        self.security = Security.temporary()
        for name in ("ca_file", "client_cert", "client_key"):
            (folder / f"{name}.pem").write_text(getattr(self.security, f"tls_{name}"))
        self.loop = asyncio.SelectorEventLoop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.scheduler = asyncio.run_coroutine_threadsafe(self._open(), self.loop).result(PATIENCE_S)
        files = {
            k: str(folder / f"{n}.pem") for k, n in (("ca", "ca_file"), ("cert", "client_cert"), ("key", "client_key"))
        }
        self.remote = Remote(self.scheduler.address, **files, timeout_s=PATIENCE_S, worker_timeout_s=PATIENCE_S)

    async def _open(self) -> Scheduler:
        return await Scheduler(
            protocol="tls://", host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0", security=self.security
        )

    def hire(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "napari_fewshot.compute.worker"], stdin=subprocess.PIPE, bufsize=0
        )
        assert process.stdin is not None
        order = {
            "address": self.scheduler.address,
            "ca": self.security.tls_ca_file,
            "cert": self.security.tls_worker_cert,
            "key": self.security.tls_worker_key,
            "device": "cpu",
            "memory_limit": 1.0,
            "host": "127.0.0.1",
        }
        process.stdin.write(json.dumps(order).encode() + b"\n")
        return process

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.scheduler.close(), self.loop).result(PATIENCE_S)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    there = Elsewhere(tmp_path)
    yield there
    there.close()
    there.loop.call_soon_threadsafe(there.loop.stop)


@pytest.mark.parametrize("address", ["tcp://gpu:8786", "gpu:8786", "ucx://gpu:8786"])
def test_an_unencrypted_address_is_refused(address: str) -> None:
    with pytest.raises(ComputeError, match=r"use tls://host:port .* insecure=True"):
        Remote(address)
    assert Remote(address, insecure=True).address == address


def test_tls_without_files_is_refused() -> None:
    for insecure in (False, True):
        with pytest.raises(ComputeError, match=r"TLS file for 'ca' is missing"):
            Remote("tls://gpu:8786", insecure=insecure)


def test_files_that_are_no_certificates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "any.pem"
    path.write_text("no certificate")
    ear = Ear()
    with Compute(ear, remote=Remote("tls://127.0.0.1:9", *3 * [str(path)], timeout_s=0.2)) as compute:
        with pytest.raises(ComputeError, match="give PEM files that belong together"):
            compute.wait_ready(PATIENCE_S)


def test_nobody_there_is_told_and_jobs_fail() -> None:
    ear = Ear()
    with Compute(ear, remote=Remote("tcp://127.0.0.1:9", insecure=True, timeout_s=0.2)) as compute:
        job_id = compute.submit(Act(at_once))
        with pytest.raises(ComputeError, match=r"no scheduler answers at tcp://127.0.0.1:9 .*: check that it runs"):
            compute.wait_ready(PATIENCE_S)
        end = ear.end(job_id)
        assert isinstance(end, Failed) and "no scheduler answers" in end.message and not end.traceback
    ear.check()


def test_a_scheduler_without_workers_is_told(elsewhere: Elsewhere) -> None:
    with Compute(Ear(), remote=replace(elsewhere.remote, worker_timeout_s=0.5)) as compute:
        with pytest.raises(ComputeError, match="no worker: start one there with 'napari-fewshot worker'"):
            compute.wait_ready(PATIENCE_S)


def test_a_remote_scheduler_forgets_our_events(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_fewshot.compute.cluster.FORGET_EVERY", 1)
    ear = Ear()
    with elsewhere.hire(), Compute(ear, remote=elsewhere.remote) as compute:
        ear.end(compute.submit(Act(at_once)))
        while elsewhere.scheduler.get_events(compute._topic):
            ear.wait_more(0.05)


def test_jobs_run_elsewhere_survive_a_dead_worker_and_end_when_the_connection_is_lost(elsewhere: Elsewhere) -> None:
    image = np.random.default_rng(0).normal(100, 10, (64, 64)).astype(np.float32)
    ear = Ear()
    with elsewhere.hire(), Compute(ear, remote=elsewhere.remote) as compute:
        compute.wait_ready(PATIENCE_S)
        assert compute.devices()[-1] == "cpu"
        job_id = compute.submit(Apply(Shelf().read("em-denoise"), picture_of(image), ((),)))
        assert isinstance(ear.end(job_id), Finished)
        assert ear.wait(job_id, PlaneDone).values.shape == image.shape

        job_id = run_until_told(compute, ear, Act(until_stopped))  # that scheduler allows three failures
        compute.kill_worker()
        assert isinstance(ear.end(job_id), Lost)
        assert isinstance(ear.end(compute.submit(Act(at_once))), Finished)

        job_id = run_until_told(compute, ear, Act(until_stopped))
        elsewhere.close()
        assert isinstance(ear.end(job_id), Lost)
        while not compute.state.startswith("failed"):
            ear.wait_more(0.05)
        assert "is lost" in compute.state
        assert isinstance(ear.end(compute.submit(Act(at_once))), Failed)
    ear.check()
