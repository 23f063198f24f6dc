"""Claims about whole programs: scripts without a main guard, programs that are killed, what they import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

# Nothing but functions of the package: what a script defines itself is not importable on a worker.
SCRIPT = """
import sys, pathlib
from napari_fewshot.compute.client import Compute
from napari_fewshot.core.job import Apply
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.shelf import Shelf
import numpy as np, queue

with open({log!r}, "a") as log:
    log.write("executed\\n")
events = queue.Queue()
compute = Compute(events.put, "cpu")
compute.start()
compute.submit(Apply(Shelf().read("em-denoise"), picture_of(np.broadcast_to(np.eye(64, dtype=np.float32), {shape})),
    tuple((i,) for i in range({shape}[0]))))
while (event := events.get(timeout=100)).__class__.__name__ != {until!r}:
    pass
forbidden = [m for m in sys.modules if m.split(".")[0] in ("torch", "qtpy", "napari") or "fewshot.engine" in m]
print("forbidden", forbidden, flush=True)
"""


def run(tmp_path: Path, n_planes: int, until: str, end: str = "") -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    shape = (n_planes, 64, 64)
    script.write_text(SCRIPT.format(log=str(tmp_path / "log"), shape=shape, until=until) + end)
    (tmp_path / "queue.py").touch()  # beside the script, not on the worker's path
    return subprocess.Popen(
        [sys.executable, "-P", str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )


def test_a_script_without_main_guard_runs_once_without_torch_and_ends_in_silence(tmp_path: Path) -> None:
    process = run(tmp_path, 2, "Finished")  # it does not close: leaving must do
    out, err = process.communicate(timeout=200)
    assert (out, err, process.returncode) == ("forbidden []\n", "", 0)
    assert (tmp_path / "log").read_text() == "executed\n"


def test_no_process_outlives_a_killed_program(tmp_path: Path) -> None:
    with run(tmp_path, 100_000, "PlaneDone", "import time\ntime.sleep(1000)") as process:
        assert process.stdout is not None and process.stdout.readline() == "forbidden []\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        assert not psutil.wait_procs(children, timeout=10)[1]
