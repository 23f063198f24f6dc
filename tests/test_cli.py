"""The command line: files in, files out; a user's mistake is one line and exit code 2."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_fewshot import cli, demo
from napari_fewshot.cli_files import list_pictures, open_pictures, pair_painted, read_labels, read_whole
from napari_fewshot.core.errors import PictureError, StrokesError
from napari_fewshot.core.simulate import simulate_strokes


@pytest.fixture
def files(tmp_path, disc):
    """A picture, its strokes and a clean target as TIFF files."""
    tifffile.imwrite(tmp_path / "image.tif", disc[0])
    tifffile.imwrite(tmp_path / "painted.tif", simulate_strokes(disc[1], 2))
    tifffile.imwrite(tmp_path / "clean.tif", disc[1] * np.uint8(90))
    return tmp_path


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def test_predict_writes_a_result_and_its_card(files):
    assert run("predict", "em-denoise", files / "image.tif", files / "out.tif", "--device", "cpu") == 0
    assert tifffile.imread(files / "out.tif").dtype == np.uint8
    assert json.loads((files / "out.tif.json").read_text())["model"]["name"] == "em-denoise"


def damaged_stack(path):
    """A compressed TIFF stack whose second plane cannot be decoded."""
    tifffile.imwrite(path, np.ones((3, 64, 64), np.uint8), compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        start, size = file.pages[1].dataoffsets[0], file.pages[1].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)


def test_a_damaged_file_is_named_wherever_its_planes_are_read(tmp_path):
    path = tmp_path / "torn.tif"
    damaged_stack(path)
    message = r"cannot read .*torn\.tif"
    with pytest.raises(PictureError, match=message):
        read_whole(path)
    for kept_open in (0, 1):
        with ExitStack() as files:
            (picture,) = open_pictures([path], files, print, kept_open)
            np.testing.assert_array_equal(picture.take_plane((0,)), 1)
            with pytest.raises(PictureError, match=message):
                picture.take_plane((1,))


def test_a_picture_without_a_plane_is_refused(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(0, 64, 64), chunks=(1, 64, 64), dtype="u1")
    with pytest.raises(PictureError, match=r"a\.zarr has no plane"):
        read_whole(tmp_path / "a.zarr")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_the_name_of_a_result_that_is_no_utf_8_is_told_by_its_codes(files, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    result = files / os.fsdecode(b"caf\xe9.tif")
    assert run("predict", "em-denoise", files / "image.tif", result, "--device", "cpu") == 0
    sys.stdout.seek(0)
    assert "caf\\udce9.tif" in sys.stdout.read() and result.exists()


def test_fine_tune_then_apply_to_a_folder(files, disc, capsys):
    tuned = files / "models" / "disc"
    command = ["fine-tune", "em-segment", "--images", files / "image.tif", "--painted", files / "painted.tif"]
    assert run(*command, "--out", tuned, "--steps", 0, "--device", "cpu") == 0
    assert (tuned / "card.json").exists()
    (files / "in").mkdir()
    (files / "image.tif").rename(files / "in" / "image.tif")
    assert run("predict", tuned, files / "in", files / "out", "--device", "cpu") == 0
    assert "1 written, 0 there already, 0 left out" in capsys.readouterr().out
    assert (tifffile.imread(files / "out" / "image.tif") == disc[1]).mean() > 0.8
    assert run("predict", tuned, files / "in", files / "out", "--device", "cpu") == 0
    assert "0 written, 1 there already" in capsys.readouterr().out


def test_objects_of_a_class_come_with_a_table(files, disc, capsys):
    tuned, image = files / "tuned", files / "image.tif"
    command = ["fine-tune", "em-segment", "--images", image, "--painted", files / "painted.tif"]
    assert run(*command, "--out", tuned, "--steps", 0, "--device", "cpu") == 0
    for n, which in enumerate(["2", "class 2"]):
        result = files / f"objects{n}.tif"
        assert run("predict", tuned, image, result, "--objects-of", which, "--device", "cpu") == 0
        ids = tifffile.imread(result)
        largest = np.bincount(ids.ravel())[1:].max()
        assert ids.dtype == np.int32 and largest == pytest.approx((disc[1] == 2).sum(), rel=0.2)
        assert len((files / f"objects{n}.tif.csv").read_text("utf-8-sig").splitlines()) == ids.max() + 1
        assert json.loads((files / f"objects{n}.tif.json").read_text())["parameters"]["objects"]["class_number"] == 2
    for model, which, message in ((tuned, "nucleus", "it answers 1 (class 1), 2"), ("em-denoise", "2", "no classes")):
        assert run("predict", model, image, files / "c.tif", "--objects-of", which, "--device", "cpu") == 2
        assert message in capsys.readouterr().err


def test_a_restoration_is_fine_tuned_with_or_without_targets(files):
    common = ["fine-tune", "em-denoise", "--images", files / "image.tif", "--steps", 1, "--device", "cpu"]
    assert run(*common, "--out", files / "a") == 0
    assert run(*common, "--out", files / "b", "--painted", files / "clean.tif") == 0


def test_the_classes_of_an_indexed_png_are_its_indices(files, disc):
    strokes = simulate_strokes(disc[1], 2).astype(np.uint8)
    indexed = Image.fromarray(strokes)
    indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    indexed.save(files / "indexed.png")
    np.testing.assert_array_equal(read_labels(files / "indexed.png"), strokes)
    assert set(np.unique(read_whole(files / "indexed.png"))) == {0, 27, 92}  # as an image it has the palette's greys
    command = ["fine-tune", "em-segment", "--images", files / "image.tif", "--painted", files / "indexed.png"]
    assert run(*command, "--out", files / "tuned", "--steps", 0, "--device", "cpu") == 0
    assert len(json.loads((files / "tuned" / "card.json").read_text())["classes"]) == 2


def test_a_colour_picture_is_refused_as_strokes_but_not_as_a_target(files, disc, capsys):
    Image.fromarray(np.stack([disc[1] * np.uint8(90)] * 3, -1)).save(files / "colour.png")
    arguments = ["--images", files / "image.tif", "--painted", files / "colour.png", "--device", "cpu"]
    assert run("fine-tune", "em-segment", *arguments, "--out", files / "a", "--steps", 0) == 2
    assert "the strokes are a colour picture: save class numbers (one channel)" in capsys.readouterr().err
    assert run("fine-tune", "em-denoise", *arguments, "--out", files / "b", "--steps", 1) == 0


def test_strokes_are_not_read_from_what_alters_class_numbers(tmp_path, disc):
    Image.fromarray(disc[1]).save(tmp_path / "strokes.jpg")
    with pytest.raises(StrokesError, match="save them as PNG or TIFF"):
        read_labels(tmp_path / "strokes.jpg")


@pytest.mark.parametrize(
    ("images", "painted", "partners"),
    [
        ("im.tif im_2.tif", "im_2_strokes.tif im_strokes.tif", "im_strokes.tif im_2_strokes.tif"),
        ("im_2.tif im.tif", "im.png im_2.png", "im_2.png im.png"),
        ("im1.ome.tif im10.tif", "im10-s.tif im1-s.tif", "im1-s.tif im10-s.tif"),
        ("b.tif a.tif", "first.tif second.tif", "first.tif second.tif"),
        ("im1.tif", "im10.tif", "im10.tif"),
    ],
)
def test_images_and_painted_files_are_paired_by_name_else_by_order(images, painted, partners):
    paths = [[Path(name) for name in names.split()] for names in (images, painted)]
    assert pair_painted(*paths) == [Path(name) for name in partners.split()]


@pytest.mark.parametrize(
    ("images", "painted", "fault"),
    [
        ("a.tif b.tif", "a_s.tif", "b.tif with no painted file"),
        ("a.tif b.tif", "a_s.tif c_s.tif", "b.tif with no painted file; no image with c_s.tif"),
        ("a.tif", "a_1.tif a_2.tif", "a.tif with a_1.tif, a_2.tif"),
        ("x/a.tif y/a.tif", "a_1.tif a_2.tif", "a.tif, a.tif with a_1.tif, a_2.tif"),
        ("a.tif b.tif", "s.tif", "a.tif with no painted file; b.tif with no painted file; no image with s.tif"),
        ("im1.tif im2.tif", "im10_s.tif im2_s.tif", "im1.tif with no painted file; no image with im10_s.tif"),
        (" ".join(f"{i}.tif" for i in "abcdefg"), "a.tif", "; and 1 more"),
    ],
)
def test_files_that_names_do_not_pair_are_named(images, painted, fault):
    with pytest.raises(PictureError) as caught:
        pair_painted(*([Path(name) for name in names.split()] for names in (images, painted)))
    assert f"{fault})" in str(caught.value)


def test_fine_tuning_pairs_two_folders_by_name(files, capsys):
    for folder, source, ending in (("images", "image", ""), ("strokes", "painted", "_s")):
        (files / folder).mkdir()
        (files / f"{source}.tif").rename(files / folder / f"im{ending}.tif")
        tifffile.imwrite(files / folder / f"im_2{ending}.tif", np.zeros((40, 50), np.uint8))
    (files / "strokes" / "._im_s.tif").write_bytes(b"of a Mac")
    assert [p.name for p in list_pictures([files / "strokes"])] == ["im_2_s.tif", "im_s.tif"]
    command = ["fine-tune", "em-segment", "--images", files / "images", "--painted", files / "strokes"]
    assert run(*command, "--out", files / "tuned", "--steps", 0, "--device", "cpu") == 0
    (files / "strokes" / "im_2_s.tif").unlink()
    assert run(*command, "--out", files / "other") == 2
    assert "im_2.tif with no painted file" in capsys.readouterr().err


def test_models_are_listed_exported_and_imported(files, capsys):
    assert run("models") == 0
    listed = capsys.readouterr().out
    assert all(
        name in listed for name in ("em-segment", "em-denoise", "em-superres-x2", "em-superres-x4", "em-background")
    )
    assert run("models", "export", "em-denoise", files / "model.zip") == 0
    assert sorted(zipfile.ZipFile(files / "model.zip").namelist()) == ["card.json", "model.safetensors"]
    assert run("models", "import", files / "model.zip") == 0
    capsys.readouterr()
    run("models")
    assert "em-denoise-2" in capsys.readouterr().out


@pytest.mark.heavy
def test_pretrain_makes_all_models(files, disc, few_pixels):
    (files / "data").mkdir()
    (files / "labelled" / "images").mkdir(parents=True)
    (files / "labelled" / "labels").mkdir()
    image = np.tile(disc[0], (3, 3))
    for name in ("a", "b", "unwanted"):
        tifffile.imwrite(files / "data" / f"{name}.tif", image)
        tifffile.imwrite(files / "labelled" / "images" / f"{name}.tif", image)
        tifffile.imwrite(files / "labelled" / "labels" / f"{name}.tif", np.tile(disc[1], (3, 3)) - 1)
    command = ["pretrain", "--data", files / "data", "--out", files / "made", "--labelled", files / "labelled"]
    assert run(*command, "--leave-out", "unwanted", "--steps", 1, "--widths", 8, 16, "--device", "cpu") == 0
    assert len([*files.glob("made/*/card.json")]) == 6
    card = json.loads((files / "made" / "em-denoise" / "card.json").read_text())
    assert "unwanted" not in card["data"] and card["task"] == "denoise"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "em-nothing", "image.tif", "out.tif"], "there is no model 'em-nothing'"),
        (["predict", "em-denoise", "missing.tif", "out.tif"], "missing.tif does not exist"),
        (["predict", "em-denoise", "image.tif", "out.png"], "let its name end in"),
        (["predict", "em-denoise", "image.tif", "clean.tif"], "exists already"),
        (["predict", "em-denoise", "image.tif", "out.tif", "--device", "tpu"], "there is no device 'tpu'"),
        (["predict", "em-segment", "image.tif", "out.tif", "--device", "cpu"], "stroke"),
        (["predict", "em-segment", "image.tif", "out.tif", "--strength", "2"], "leave out the strength"),
        (["predict", "em-denoise", "image.tif", "out.tif", "--split", "0.9"], "with --objects-of"),
        (["fine-tune", "em-segment", "--images", "image.tif", "--out", "new"], "learns from strokes"),
        (["fine-tune", "em-denoise", "--images", "image.tif", "--out", "."], "exists already"),
        (
            ["fine-tune", "em-superres-x2", "--images", "image.tif", "--painted", "clean.tif", "--out", "new"],
            "the target of 'image.tif' has shape",
        ),
        (["pretrain", "--data", "image.tif", "--out", "new", "--leave-out", "image"], "no picture to learn from"),
        (["models", "import", "image.tif"], "not an exported model"),
        (["models", "export", "em-nothing", "a.zip"], "there is no model"),
        (["demo", "--headless", "--out", "image.tif"], "choose another folder"),
        (["demo", "--headless", "--out", "new", "--seed", "-1"], "the seed is a whole number"),
        (["predict", "em-denoise", ".", "new.tif"], "leave out .tif"),
        (["worker", "no address", "--insecure"], "check the address"),
        (["worker", "tls://127.0.0.1:1"], "needs --ca, --cert and --key"),
        (["worker", "tls://127.0.0.1:1", "--ca", "a", "--cert", "b", "--key", "c"], "does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(files, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    assert run(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and error.startswith("napari-fewshot: ") and len(error.splitlines()) == 1


def test_files_of_a_folder_that_fail_are_named_and_the_code_tells(files, capsys):
    (files / "in").mkdir()
    (files / "image.tif").rename(files / "in" / "image.tif")
    (files / "in" / "broken.tif").write_bytes(b"II*\0")
    assert run("predict", "em-denoise", files / "in", files / "out", "--device", "cpu") == 2
    printed = capsys.readouterr()
    assert "1 written, 0 there already, 1 left out" in printed.out
    assert printed.err.count("cannot read") == 1 and printed.err.splitlines()[-1].endswith("told above: broken.tif")


def test_the_script_reports_its_version_and_mistakes_without_a_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "napari_fewshot.cli", "models", "export", "no such", "a.zip"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_without_a_display_the_demo_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(demo, "run_headless", lambda out, seed: out.mkdir())
    assert run("demo", "--out", tmp_path / "fewshot-demo") == 0
    assert "headless" in capsys.readouterr().out and (tmp_path / "fewshot-demo").exists()


@pytest.mark.heavy
def test_the_headless_demo_does_the_whole_job_and_makes_room_for_the_next(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "SECONDS", 1.0)
    out = tmp_path / "fewshot-demo"
    scores = demo.run_headless(out)
    assert json.loads((out / "scores.json").read_text()) == scores and len(scores) == 8
    names = {p.name for p in out.iterdir()}
    assert {"figure.png", "stack-segmented.tif", "stack-segmented.tif.json", "model", "strokes.tif"} <= names
    assert tifffile.imread(out / "stack-segmented.tif").shape == (15, 250, 250)
    assert tifffile.imread(out / "super_resolve-result.tif").shape == (512, 512)
    demo._clear(out)
    assert [*out.iterdir()] == []


def test_the_demo_leaves_other_files_alone(tmp_path):
    (tmp_path / "figure.png").write_text("of an earlier demo")
    (tmp_path / "model").mkdir()
    for name in ("thesis.doc", "my-experiment.tif", "model/notes.txt"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(cli.FewshotError, match=rf"holds other files \({name}\)"):
            demo.run_headless(tmp_path)
        assert (tmp_path / "figure.png").exists()
        (tmp_path / name).unlink()


def test_a_folder_is_restored_as_strongly_as_asked(files):
    assert run("predict", "em-denoise", files / "image.tif", files / "plain.tif", "--device", "cpu") == 0
    assert (
        run("predict", "em-denoise", files / "image.tif", files / "strong.tif", "--strength", 2, "--device", "cpu") == 0
    )
    plain, strong = (tifffile.imread(files / name) for name in ("plain.tif", "strong.tif"))
    assert (plain != strong).any()
    told = json.loads((files / "strong.tif.json").read_text())["parameters"]
    assert told["restoring"]["strength"] == 2


def test_what_was_found_in_a_restoration_is_printed_and_stands_in_its_card(files, capsys):
    stack = np.stack([tifffile.imread(files / "image.tif")] * 2)
    tifffile.imwrite(files / "stack.tif", stack, photometric="minisblack")
    command = ["predict", "em-denoise", files / "stack.tif", files / "out.tif", "--uncertainty", "--device", "cpu"]
    assert run(*command) == 0
    assert "structure taken away in" in capsys.readouterr().out
    reports = json.loads((files / "out.tif.json").read_text())["reports"]
    assert [r["plane"] for r in reports] == [[0], [1]] and reports[0]["noise_std"] > 0
    uncertainty = tifffile.imread(files / "out.uncertainty.tif")
    assert uncertainty.shape == stack.shape and uncertainty.dtype == np.float32 and (uncertainty > 0).all()


def test_an_uncertainty_is_that_of_a_restoration(files, capsys):
    command = ["predict", "em-segment", files / "image.tif", files / "out.tif", "--uncertainty", "--device", "cpu"]
    assert run(*command) == 2 and "leave out --uncertainty" in capsys.readouterr().err


def test_where_a_model_goes_is_tried_before_it_is_trained(files, capsys):
    (files / "in-the-way").write_text("a file")
    out = files / "in-the-way" / "model"
    assert run("fine-tune", "em-denoise", "--images", files / "image.tif", "--out", out, "--seconds", 60) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_ctrl_c_ends_a_fine_tuning_with_the_best_so_far(files, monkeypatch, capsys):
    from napari_fewshot.engine.segment import OnStrokes

    losses = OnStrokes.losses

    def interrupted(self, rng):
        signal.raise_signal(signal.SIGINT)
        return losses(self, rng)

    monkeypatch.setattr(OnStrokes, "losses", interrupted)
    before = signal.getsignal(signal.SIGINT)
    command = ["fine-tune", "em-segment", "--images", files / "image.tif", "--painted", files / "painted.tif"]
    assert run(*command, "--out", files / "tuned", "--seconds", 100, "--device", "cpu") == 0
    assert (files / "tuned" / "card.json").exists() and "Ctrl-C again ends at once" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_cluster_that_ends_a_prediction_finds_no_half_result(files, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(
        "napari_fewshot.engine.restoration.restore_plane", lambda *_, **__: signal.raise_signal(signal.SIGTERM)
    )
    assert run("predict", "em-denoise", files, files / "out", "--device", "cpu") == 130
    assert not (files / "out").exists() and signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_elsewhere_says_what_became_of_the_files(files, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_fewshot.engine.restoration.restore_plane", interrupted)
    assert run("predict", "em-denoise", files / "image.tif", files / "out.tif", "--device", "cpu") == 130
    assert "finished files are complete" in capsys.readouterr().err and not (files / "out.tif").exists()
