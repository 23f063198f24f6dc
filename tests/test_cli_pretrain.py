"""Pretraining from the command line: any folder of images in, model folders out, mistakes named."""

import json
import os
import shlex
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zarr

from napari_fewshot import cli, cli_pretrain
from napari_fewshot.cli_pretrain import parse_pretexts
from napari_fewshot.core.errors import ModelError
from napari_fewshot.core.intensity import Intensity

TINY = ["--pretexts", "inpaint", "--widths", "4", "8", "--steps", "1", "--device", "cpu"]


@pytest.fixture
def folder(tmp_path, disc):
    """A folder with a TIFF, an OME-Zarr, an MRC, a corrupt TIFF and a note, as a microscope's disk has them."""
    data = tmp_path / "data"
    data.mkdir()
    image = np.tile(disc[0], (2, 2))
    tifffile.imwrite(data / "a.tif", image)
    group = zarr.open_group(data / "b.ome.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=255 - image, chunks=(64, 64))
    axes = [{"name": n, "type": "space"} for n in "yx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    (data / "corrupt.tif").write_bytes(b"II*\0" + bytes(20))
    (data / "note.txt").write_text("measured on a Tuesday")
    return data


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def test_a_folder_of_several_formats_becomes_a_model_and_a_corrupt_file_is_named(folder, tmp_path, capsys):
    pytest.importorskip("rsciio.mrc")
    (folder / "c.mrc").write_bytes(mrc(tifffile.imread(folder / "a.tif")))
    assert run("pretrain", "--data", folder, "--out", tmp_path / "made", *TINY) == 0
    said = capsys.readouterr().err
    assert "left out: cannot read" in said and "corrupt.tif" in said
    card = json.loads((tmp_path / "made" / "em-segment" / "card.json").read_text())
    assert card["data"] == "3 planes of a, b.ome, c" and card["net"]["widths"] == [4, 8]


def mrc(image):
    """The smallest MRC file: a header of 1024 bytes, then float32 rows."""
    header = np.zeros(256, "<i4")
    header[:4] = image.shape[1], image.shape[0], 1, 2
    header[7:10] = image.shape[1], image.shape[0], 1
    header[16:19] = 1, 2, 3
    header[52] = int.from_bytes(b"MAP ", "little")
    header[53] = 0x4444
    return header.tobytes() + image.astype("<f4").tobytes()


def test_more_files_than_can_be_open_at_once_are_opened_when_they_are_needed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli_pretrain, "KEPT_OPEN", 0)
    assert run("pretrain", "--data", folder, "--out", tmp_path / "made", *TINY) == 0


def test_a_folder_without_a_readable_picture_is_a_mistake(folder, tmp_path, capsys):
    assert run("pretrain", "--data", folder / "corrupt.tif", "--out", tmp_path / "made", *TINY) == 2
    assert "there is no picture to learn from" in capsys.readouterr().err


def test_a_cluster_that_ends_the_job_gets_a_model_and_a_checkpoint(folder, tmp_path, monkeypatch):
    """SIGTERM after some steps; the same command with --resume goes on."""
    from napari_fewshot.engine.pretexts.inpaint import Inpaint

    learn, calls = Inpaint.losses, []

    def ending(self, shared, drawn):
        calls.append(drawn)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return learn(self, shared, drawn)

    command = ["pretrain", "--data", folder, "--pretexts", "inpaint", "--widths", 4, 8, "--steps", 3, "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(Inpaint, "losses", ending)
        assert run(*command, "--out", tmp_path / "first") == 0
    steps = [json.loads((tmp_path / "first" / "em-segment" / "card.json").read_text())["steps"]]
    assert run(*command, "--out", tmp_path / "second", "--resume", tmp_path / "first") == 0
    steps += [json.loads((tmp_path / "second" / "em-segment" / "card.json").read_text())["steps"]]
    assert steps == [2, 3]


def test_stopped_before_anything_was_learned_no_model_is_saved(folder, tmp_path, monkeypatch, capsys):
    from napari_fewshot.engine import windows

    def ending(plane):
        signal.raise_signal(signal.SIGTERM)
        return Intensity.measure(plane)

    monkeypatch.setattr(windows, "Intensity", SimpleNamespace(measure=ending))
    assert run("pretrain", "--data", folder, "--out", tmp_path / "made", *TINY) == 130
    assert "no model is saved" in capsys.readouterr().err and not [*tmp_path.glob("made/em-*")]


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_a_signal_to_all_processes_ends_as_well(folder, tmp_path):
    """As a cluster sends it; the processes that draw leave it to the one that trains."""
    command = ["pretrain", "--data", folder, "--out", tmp_path / "made", "--pretexts", "inpaint", "--widths", 4, 8]
    running = subprocess.Popen(
        [sys.executable, "-m", "napari_fewshot.cli", *map(str, command), "--device", "cpu", "--loaders", "2"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    for line in iter(running.stderr.readline, ""):
        if line.startswith("3,"):
            os.killpg(running.pid, signal.SIGTERM)
    assert running.wait(60) == 0
    assert (tmp_path / "made" / "em-segment" / "card.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", -3], "--threads -3 makes no training"),
        (["--steps", 0], "--steps 0 makes no training"),
        (["--seconds", "nan"], "seconds cannot be nan"),
        (["--resume", "nope"], "nope holds no checkpoint"),
        (["--start", "nope"], "no model is in nope"),
    ],
)
def test_what_is_wrong_is_said_before_a_file_is_opened(folder, tmp_path, capsys, options, message):
    assert run("pretrain", "--data", folder, "--out", tmp_path / "made", *TINY[:4], *options) == 2
    said = capsys.readouterr().err
    assert message in said and "left out" not in said


def test_a_training_begins_with_one_model_or_with_those_of_a_stopped_training(folder, tmp_path):
    command = ["pretrain", "--data", folder, *TINY]
    run(*command, "--out", tmp_path / "a")
    (tmp_path / "a" / "checkpoint.safetensors").write_bytes(b"as a stopped training leaves it")
    for start in ("a", "a/em-segment"):
        out = tmp_path / start.replace("/", "-") / "b"
        assert run(*command, "--out", out, "--start", tmp_path / start) == 0
        assert json.loads((out / "em-segment" / "card.json").read_text())["steps"] == 2


def test_a_card_has_the_command_that_makes_its_model_whoever_called_it(folder, tmp_path):
    asked = {"data": [folder], "out": tmp_path / "my own", "pretexts": "inpaint", "steps": 1, "device": "cpu"}
    (card,) = cli_pretrain.pretrain(**asked, widths=[4, 8])
    program, *words = shlex.split(card.command)
    assert program == "napari-fewshot" and words[:3] == ["pretrain", "--data", str(folder)]
    (tmp_path / "my own").rename(tmp_path / "first")
    assert run(*words) == 0
    assert json.loads((tmp_path / "my own" / "em-segment" / "card.json").read_text())["command"] == card.command


def test_pretexts_have_weights():
    assert parse_pretexts("restore:1,inpaint:0.5, episodic") == {"restore": 1.0, "inpaint": 0.5, "episodic": 1.0}
    with pytest.raises(ModelError, match="is not a weight"):
        parse_pretexts("restore:much")
    with pytest.raises(ModelError, match="twice"):
        parse_pretexts("inpaint:1,inpaint:2")


def test_a_network_is_chosen_by_its_name_and_size(folder, tmp_path):
    command = [
        "pretrain",
        "--data",
        folder,
        "--out",
        tmp_path / "made",
        "--net",
        "receptive-unet",
        "--receptive-px",
        84,
    ]
    assert run(*command, "--pretexts", "inpaint", "--steps", 1, "--device", "cpu") == 0
    card = json.loads((tmp_path / "made" / "em-segment" / "card.json").read_text())
    assert card["net"] == {"name": "receptive-unet", "receptive_px": 84}
