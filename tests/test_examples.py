"""Every example runs to its end as a user would start it: as a script, in a fresh interpreter where it can be."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, folder, *arguments):
    """What an example prints; fails with its traceback."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here_and_short():
    names = {p.name for p in EXAMPLES.glob("*.py")}
    assert all(name in Path(__file__).read_text("utf-8") for name in names) and len(names) >= 4
    assert all(len((EXAMPLES / name).read_text("utf-8").splitlines()) <= 60 for name in names)


def test_fine_tune_from_arrays(tmp_path):
    printed = run("fine_tune_from_arrays.py", tmp_path, 1)
    assert float(printed.split("without strokes: ")[1].split()[0]) > 0.3


def test_denoise_stack(tmp_path):
    assert "adapted and denoised   uint8 (5, 250, 250)" in run("denoise_stack.py", tmp_path, "out.tif", 1)
    assert (tmp_path / "out.tif").exists()


def test_segment_folder_goes_on_where_it_was(tmp_path):
    assert "3 written, 0 there already, 0 left out" in run("segment_folder.py", tmp_path, "work", 1)
    (tmp_path / "work" / "classes" / "catalyst.tif").unlink()
    assert "1 written, 2 there already, 0 left out" in run("segment_folder.py", tmp_path, "work", 1)


def test_pretrain_on_your_own_images(tmp_path, monkeypatch, capsys, few_pixels):
    """In this interpreter, where it can be made small."""
    shipped = EXAMPLES.parent / "src" / "napari_fewshot" / "samples"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["", str(shipped), "weights", "1"])
    runpy.run_path(str(EXAMPLES / "pretrain_on_your_own_images.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "em-denoise of 1 steps" in printed and len([*(tmp_path / "weights").glob("em-*/card.json")]) == 6


@pytest.mark.skipif(
    sys.platform.startswith("linux") and not os.environ.get("DISPLAY"), reason="needs a display: run under xvfb-run"
)
def test_open_dock(tmp_path):
    pytest.importorskip("napari")
    assert "the viewer is closed" in run("open_dock.py", tmp_path, 2)
