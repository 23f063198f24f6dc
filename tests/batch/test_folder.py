import csv
import errno
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr
from scipy import ndimage

from napari_fewshot.batch.answers import Answer
from napari_fewshot.batch.folder import PlaneWork, Stop, apply_to_file, apply_to_folder, plan_folder
from napari_fewshot.batch.formats import open_picture
from napari_fewshot.batch.formats.format import Layout
from napari_fewshot.batch.formats.ome_zarr import write_zarr
from napari_fewshot.batch.formats.tiff import write_tiff
from napari_fewshot.batch.results import AlreadyThere
from napari_fewshot.compute.events import Note, Progress
from napari_fewshot.core.errors import PictureError, StorageError
from napari_fewshot.core.restoring import Report

SECOND_RUN = """
import sys
from pathlib import Path
import numpy as np
from napari_fewshot.batch.answers import Answer
from napari_fewshot.batch.folder import PlaneWork, apply_to_folder, plan_folder
from napari_fewshot.core.card import ModelCard
card = ModelCard("other", "super_resolve", {"name": "residual-unet"}, factor=2)
steps = plan_folder(*map(Path, sys.argv[1:]))
apply_to_folder(steps, PlaneWork(lambda p: np.zeros((p.shape[0] * 2, p.shape[1] * 2), np.uint8), card))
"""


def doubled(plane):
    return plane.repeat(2, 0).repeat(2, 1)


@pytest.fixture
def work(double_card):
    return PlaneWork(doubled, double_card, parameters={"device": "cpu"})


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    source = tmp_path / "in"
    source.mkdir()
    for name, shape in {"a.tif": (40, 50), "b.tif": (3, 40, 50), "c.tiff": (2, 40, 50)}.items():
        data = rng.integers(0, 255, shape, dtype=np.uint8)
        tifffile.imwrite(source / name, data, photometric="minisblack", compression="zlib")
    (source / "notes.txt").write_text("not a picture")
    return source


def test_a_folder_is_worked_off_and_every_result_has_its_card(folder, tmp_path, work):
    events = []
    steps = plan_folder(folder, tmp_path / "out")
    report = apply_to_folder(steps, replace(work, on_event=events.append))
    assert [p.name for p in report.written] == ["a.tif", "b.tif", "c.tif"]
    for step in steps:
        np.testing.assert_array_equal(
            tifffile.imread(step.result), tifffile.imread(step.source).repeat(2, -1).repeat(2, -2)
        )
        card = json.loads(step.result.with_name(step.result.name + ".json").read_text())
        assert card["model"]["name"] == "toy-x2" and card["source"] == str(step.source)
        assert card["parameters"] == {"device": "cpu"} and card["versions"]["numpy"] == np.__version__
    assert [(e.done, e.total) for e in events if isinstance(e, Progress)] == [(1, 3), (2, 3), (3, 3)]


def test_planning_writes_nothing(folder, tmp_path):
    out = tmp_path / "out"
    assert [s.result.name for s in plan_folder(folder, out)] == ["a.tif", "b.tif", "c.tif"] and not out.exists()


def test_a_stopped_folder_is_taken_up_where_it_was_left(folder, tmp_path, work):
    seen = []

    def watched(plane):
        seen.append(1)
        return doubled(plane)

    out = tmp_path / "out"
    steps = plan_folder(folder, out)
    stopping = replace(work, predict=watched, stopped=lambda: len(seen) == 2)
    report = apply_to_folder(steps, stopping)
    assert report.was_stopped and [p.name for p in report.written] == ["a.tif"]
    assert sorted(p.name for p in out.iterdir()) == ["a.tif", "a.tif.json"]
    report = apply_to_folder(plan_folder(folder, out), replace(work, predict=watched))
    assert [p.name for p in report.skipped] == ["a.tif"] and [p.name for p in report.written] == ["b.tif", "c.tif"]
    assert len(seen) == 2 + 3 + 2


def test_an_unreadable_file_is_named_and_the_others_are_done(folder, tmp_path, work):
    (folder / "broken.tif").write_bytes(b"II*\0 nothing")
    whole = (folder / "b.tif").read_bytes()
    tifffile.imwrite(folder / "tiny.tif", np.zeros((5, 5), np.uint8))
    (folder / "torn.tif").write_bytes(whole[: len(whole) // 2])
    events = []
    report = apply_to_folder(plan_folder(folder, tmp_path / "out"), replace(work, on_event=events.append))
    assert [p.name for p in report.written] == ["a.tif", "b.tif", "c.tif"]
    reasons = {path.name: why for path, why in report.failed}
    assert set(reasons) == {"broken.tif", "tiny.tif", "torn.tif"}
    assert "at least 32 px" in reasons["tiny.tif"] and "check that the file is complete" in reasons["torn.tif"]
    assert [e.message.split()[0] for e in events if isinstance(e, Note)] == ["broken.tif", "tiny.tif", "torn.tif"]


def test_a_full_disk_ends_the_work_and_leaves_no_half_result(folder, tmp_path, work, monkeypatch):
    def full(path, planes, layout):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full:
        write = staticmethod(full)

    monkeypatch.setattr("napari_fewshot.batch.folder.writable_format", lambda path: Full)
    with pytest.raises(StorageError, match="No space left"):
        apply_to_folder(plan_folder(folder, tmp_path / "out"), work)
    assert [*(tmp_path / "out").iterdir()] == []


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file limits")
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_disk_that_really_takes_no_more_leaves_no_half_result(tmp_path, work, suffix):
    import resource

    noise = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", noise)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            apply_to_file(tmp_path / "a.tif", tmp_path / "out" / f"a{suffix}", replace(work, predict=lambda p: p))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [*(tmp_path / "out").iterdir()] == []


def test_pixel_sizes_and_axes_go_over_to_the_finer_result(tmp_path, work):
    data = np.zeros((2, 40, 50), np.uint8)
    write_tiff(
        tmp_path / "a.tif", iter(data), Layout("ZYX", data.shape, data.dtype, {"Z": 9.0, "Y": 4.0, "X": 4.0}, "nm")
    )
    for name in ("b.tif", "b.zarr"):
        with open_picture(apply_to_file(tmp_path / "a.tif", tmp_path / name, work)) as opened:
            assert opened.picture.shape == (2, 80, 100) and opened.unit == "nm"
            assert opened.steps == pytest.approx({"Z": 9, "Y": 2, "X": 2})


def test_memory_does_not_grow_with_the_stack(tmp_path, work):
    def planes(n):
        return (np.full((256, 256), i % 251, np.uint8) for i in range(n))

    peaks = []
    for n in (5, 100):
        source = tmp_path / f"{n}.zarr"
        write_zarr(source, planes(n), Layout("ZYX", (n, 256, 256), np.dtype(np.uint8)))
        tracemalloc.start()
        apply_to_file(source, tmp_path / f"{n}.tif", replace(work, predict=lambda p: p))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 20 * 256 * 256


def test_two_sources_of_one_stem_get_two_results(folder, tmp_path):
    (folder / "a.png").write_bytes(b"")
    names = [s.result.name for s in plan_folder(folder, tmp_path / "out")]
    assert names == ["a.png.tif", "a.tif.tif", "b.tif", "c.tif"]


def test_names_that_differ_in_case_alone_get_two_results_on_every_system(folder, tmp_path):
    (folder / "A.png").write_bytes(b"")
    names = [s.result.name for s in plan_folder(folder, tmp_path / "out")]
    assert names == ["A.png.tif", "a.tif.tif", "b.tif", "c.tif"]


def test_plans_that_cannot_work_are_refused(folder, tmp_path):
    with pytest.raises(PictureError, match="is not a folder"):
        plan_folder(tmp_path / "nowhere", tmp_path)
    with pytest.raises(StorageError, match="choose another folder"):
        plan_folder(folder, folder)
    with pytest.raises(StorageError, match="end in one of"):
        plan_folder(folder, tmp_path, ".png")
    with pytest.raises(PictureError, match="no picture in"):
        plan_folder(tmp_path, tmp_path / "out")


def test_an_existing_result_is_never_overwritten(folder, tmp_path, work):
    (tmp_path / "a.tif").write_text("mine")
    with pytest.raises(StorageError, match="exists already"):
        apply_to_file(folder / "a.tif", tmp_path / "a.tif", work)
    assert (tmp_path / "a.tif").read_text() == "mine"


def test_stopping_a_file_leaves_nothing(folder, tmp_path, work):
    with pytest.raises(Stop):
        apply_to_file(folder / "b.tif", tmp_path / "b.zarr", replace(work, stopped=lambda: True))
    assert not (tmp_path / "b.zarr").exists()


def test_a_file_on_which_something_unforeseen_happens_is_left_out_and_its_traceback_logged(
    folder, tmp_path, work, caplog
):
    def wrong(plane):
        if plane.sum() == tifffile.imread(folder / "a.tif").sum():
            raise ZeroDivisionError("no span")
        return doubled(plane)

    report = apply_to_folder(plan_folder(folder, tmp_path / "out"), replace(work, predict=wrong))
    assert [p.name for p in report.written] == ["b.tif", "c.tif"]
    assert report.failed == ((folder / "a.tif", "ZeroDivisionError: no span"),)
    assert "Traceback" in caplog.text


def test_a_plane_that_memory_does_not_hold_is_not_called_damaged(tmp_path, work):
    zarr.create_array(tmp_path / "a.zarr", shape=(2**31, 2**31), chunks=(64, 64), dtype="uint8")
    with pytest.raises(PictureError, match="smaller images"):
        apply_to_file(tmp_path / "a.zarr", tmp_path / "out.tif", work)


def test_two_runs_into_one_folder_do_not_meet(folder, tmp_path, work):
    """The second run begins, and ends, while the first is on its first plane."""
    steps, others = plan_folder(folder, tmp_path / "out"), []

    def meeting(plane):
        if not others:
            others.append(None)
            others[0] = subprocess.run([sys.executable, "-c", SECOND_RUN, *map(str, (folder, tmp_path / "out"))])
        return doubled(plane)

    report = apply_to_folder(steps, replace(work, predict=meeting))
    assert others[0].returncode == 0 and len(report.skipped) == 3 and not report.failed
    for step in steps:
        assert tifffile.imread(step.result).max() == 0  # all of it from the second run
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".tif", ".tiff", ".json"} - {".tiff"}


def test_a_result_whose_place_cannot_be_is_a_storage_error(folder, tmp_path, work):
    (tmp_path / "file").write_text("no folder")
    for result in (tmp_path / "file" / "a.tif", tmp_path / f"{'a' * 250}.tif"):
        with pytest.raises(StorageError, match="cannot write"):
            apply_to_file(folder / "a.tif", result, work)


def test_pictures_beside_the_first_of_a_file_are_remarked(tmp_path, work):
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as writer:
        for side in (64, 80, 16):
            writer.write(np.ones((side, side), np.uint8))
    events = []
    apply_to_file(tmp_path / "mixed.tif", tmp_path / "out.tif", replace(work, on_event=events.append))
    assert [e.message for e in events] == [
        "mixed.tif: the first of 2 pictures in the file is read; save the others apart"
    ]


def test_a_plane_without_a_finite_pixel_stays_empty_and_is_named(tmp_path, work):
    stack = np.random.default_rng(0).random((4, 40, 50), np.float32)
    stack[[0, 3]] = np.nan
    tifffile.imwrite(tmp_path / "rim.tif", stack, photometric="minisblack")
    events = []
    apply_to_file(tmp_path / "rim.tif", tmp_path / "out.tif", replace(work, on_event=events.append))
    result = tifffile.imread(tmp_path / "out.tif")
    assert np.isnan(result[[0, 3]]).all() and np.isfinite(result[1:3]).all()
    assert ["(0,)" in e.message or "(3,)" in e.message for e in events] == [True, True]
    tifffile.imwrite(tmp_path / "void.tif", stack[[0, 3]], photometric="minisblack")
    with pytest.raises(PictureError, match="no finite pixel"):
        apply_to_file(tmp_path / "void.tif", tmp_path / "void-out.tif", work)


def test_names_that_lead_to_one_result_are_kept_apart(tmp_path):
    for name in ("a.tif", "a.png", "a.png.tif"):
        (tmp_path / name).touch()
    assert len({step.result for step in plan_folder(tmp_path, tmp_path / "out")}) == 3


def test_a_result_without_its_card_is_made_again(folder, tmp_path, work, monkeypatch):
    def full(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("napari_fewshot.batch.sidecar.Provenance.write_beside", full)
        with pytest.raises(StorageError, match="No space"):
            apply_to_file(folder / "a.tif", tmp_path / "a.tif", work)
    assert not (tmp_path / "a.tif").exists()
    apply_to_file(folder / "a.tif", tmp_path / "a.tif", work)
    assert (tmp_path / "a.tif.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_file_whose_name_is_no_utf_8_has_its_result_and_card(folder, tmp_path, work, suffix):
    name = os.fsdecode(b"caf\xe9")
    source, result = (folder / "a.tif").rename(folder / f"{name}.tif"), tmp_path / f"{name}{suffix}"
    apply_to_file(source, result, work)
    assert json.loads((tmp_path / f"{result.name}.json").read_text("utf-8"))["source"] == str(source)
    with open_picture(result) as opened:
        assert opened.picture.shape == (80, 100)


def test_a_result_that_cannot_be_named_leaves_no_card_and_no_table(folder, tmp_path, double_card, monkeypatch):
    work = PlaneWork(outlined, double_card, are_objects=True)
    tifffile.imwrite(folder / "objects.tif", np.ones((40, 40), np.uint8))

    def refused(self, target):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("pathlib.Path.rename", refused)
    with pytest.raises(StorageError, match="Input/output"):
        apply_to_file(folder / "objects.tif", tmp_path / "out" / "objects.tif", work)
    assert [*(tmp_path / "out").iterdir()] == []


@pytest.mark.skipif(os.name == "nt", reason="other limits of names")
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_long_name_has_its_result_and_one_too_long_is_left_out(folder, tmp_path, work, suffix):
    (folder / "a.tif").rename(folder / f"{'a' * 251}.tif")
    (folder / "b.tif").rename(folder / f"{'b' * 240}.tif")
    report = apply_to_folder(plan_folder(folder, tmp_path / "out", suffix), work)
    assert [p.name for p in report.written] == [f"{'b' * 240}{suffix}", f"c{suffix}"]
    assert len(report.failed) == 1 and "too long): choose a shorter name" in report.failed[0][1]
    assert len([*(tmp_path / "out").iterdir()]) == 4


def test_results_of_another_model_are_not_passed_off_as_ones_own(folder, tmp_path, work):
    events = []
    apply_to_folder(plan_folder(folder, tmp_path / "out"), replace(work, parameters={"device": "cuda:0"}))
    apply_to_folder(plan_folder(folder, tmp_path / "out"), replace(work, on_event=events.append))
    assert not [e for e in events if isinstance(e, Note)]  # the device makes no other results
    for other in (replace(work, card=replace(work.card, id="another")), replace(work, parameters={"first": "x"})):
        heard = []
        apply_to_folder(plan_folder(folder, tmp_path / "out"), replace(other, on_event=heard.append))
        assert "3 results of another model" in next(e.message for e in heard if isinstance(e, Note))


def outlined(plane):
    return ndimage.label(plane > 100)[0].astype(np.int32)


def test_objects_keep_their_ids_through_a_stack_and_are_measured_in_its_unit(tmp_path, double_card):
    stack = np.zeros((3, 40, 50), np.uint8)
    stack[:, 5:15, 5:15] = 200
    stack[1:, 25:30, 30:40] = 240
    sizes = {"PhysicalSizeX": 2, "PhysicalSizeY": 2, "PhysicalSizeZ": 5}
    units = {f"{size}Unit": "nm" for size in sizes}
    tifffile.imwrite(tmp_path / "in.ome.tif", stack, ome=True, metadata={"axes": "ZYX", **sizes, **units})
    work = PlaneWork(outlined, replace(double_card, factor=1), parameters={"objects": {}}, are_objects=True)
    result = apply_to_file(tmp_path / "in.ome.tif", tmp_path / "out.tif", work)
    ids = tifffile.imread(result)
    assert ids.dtype == np.int32 and (ids[:, 10, 10] == 1).all()
    assert [*ids[:, 27, 35]] == [0, 2, 2] and set(np.unique(ids)) == {0, 1, 2}
    first, second = csv.DictReader((tmp_path / "out.tif.csv").open(encoding="utf-8-sig"))
    assert (first["index"], first["area"], second["slices"]) == ("1", "300", "2")
    assert float(first["volume (nm³)"]) == 300 * 20 and float(second["intensity_mean"]) == 240


def test_objects_of_unknown_size_are_measured_in_pixels(folder, tmp_path, double_card):
    work = PlaneWork(outlined, replace(double_card, factor=1), are_objects=True)
    apply_to_file(folder / "a.tif", tmp_path / "out.tif", work)
    columns = (tmp_path / "out.tif.csv").read_text("utf-8-sig").splitlines()[0]
    assert columns.startswith("index,area,centroid-0") and "(" not in columns


def told(plane):
    """Twice as fine, with an uncertainty that names its plane, and a report."""
    report = Report("noise", 1.0, 0.1, structure=float(plane.mean()) / 100, residual_sigmas=0.9, within=0.99, factor=2)
    return Answer(doubled(plane), report, np.full_like(doubled(plane), plane.mean(), np.float32))


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_an_uncertainty_goes_into_a_file_of_its_own_plane_by_plane(tmp_path, work, suffix):
    planes = np.stack([np.full((40, 50), v, np.float32) for v in (np.nan, 1, 2, np.nan, 3)])
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="minisblack")
    reports = []
    telling = replace(work, predict=told, on_report=lambda *named: reports.append(named))
    result = apply_to_file(tmp_path / "a.tif", tmp_path / "out" / f"r{suffix}", telling)
    with open_picture(result) as answer, open_picture(result.with_name(f"r.uncertainty{suffix}")) as unsure:
        for n in range(5):
            np.testing.assert_array_equal(unsure.picture.take_plane((n,)), answer.picture.take_plane((n,)))
        assert unsure.picture.shape == (5, 80, 100) and unsure.steps == answer.steps
    card = json.loads(result.with_name(f"{result.name}.json").read_text())
    assert [r["plane"] for r in card["reports"]] == [[1], [2], [4]] and card["reports"][2]["structure"] == 0.03
    assert [name for name, _ in reports] == [f"plane ({n},) of 'a.tif'" for n in (1, 2, 4)]
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_an_uncertainty_that_is_there_is_never_overwritten(folder, tmp_path, work):
    (tmp_path / "r.uncertainty.tif").write_text("mine")
    with pytest.raises(AlreadyThere, match=r"r\.uncertainty\.tif exists already"):
        apply_to_file(folder / "b.tif", tmp_path / "r.tif", replace(work, predict=told))
    assert (tmp_path / "r.uncertainty.tif").read_text() == "mine" and not (tmp_path / "r.tif").exists()


def test_a_result_without_its_card_leaves_no_uncertainty(folder, tmp_path, work, monkeypatch):
    monkeypatch.setattr("pathlib.Path.write_text", no_room)
    with pytest.raises(StorageError):
        apply_to_file(folder / "b.tif", tmp_path / "out" / "r.tif", replace(work, predict=told))
    assert not list((tmp_path / "out").iterdir())


def no_room(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")
