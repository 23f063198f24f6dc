import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_fewshot.batch.folder import PlaneWork, apply_to_file, apply_to_folder, plan_folder
from napari_fewshot.batch.formats import FORMATS, format_of, open_picture, writable_format
from napari_fewshot.batch.formats.format import Layout, known_axes
from napari_fewshot.batch.formats.units import LONG_NAMES
from napari_fewshot.core.errors import PictureError, StorageError

STACK = np.random.default_rng(0).integers(0, 60000, (3, 40, 50), dtype=np.uint16)


def planes_of(path):
    with open_picture(path) as opened:
        picture = opened.picture
        data = np.stack([picture.take_plane(i) for i in picture.plane_indices()]).reshape(picture.shape)
        return data, picture.axes, opened.steps, opened.unit


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".zarr"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TZYX", "CZYX", "ZCYX"])
def test_what_is_written_is_read_back_with_axes_and_pixel_size(tmp_path, suffix, dtype, axes):
    shape = {"T": 2, "C": 2, "Z": 3, "Y": 40, "X": 50}
    data = np.arange(np.prod([shape[a] for a in axes])).reshape([shape[a] for a in axes]).astype(dtype)
    steps = {a: s for a, s in {"Z": 30.0, "Y": 4.0, "X": 5.0}.items() if a in axes}
    path = tmp_path / f"picture{suffix}"
    layout = Layout(axes, data.shape, data.dtype, steps, "nm")
    planes = (data[i] for i in np.ndindex(*data.shape[:-2]))
    writable_format(path).write(path, planes, layout)
    found, found_axes, found_steps, unit = planes_of(path)
    np.testing.assert_array_equal(np.transpose(found, [found_axes.index(a) for a in axes]), data)
    assert unit == "nm" and {a: found_steps[a] for a in steps} == pytest.approx(steps)


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.parametrize("unit", ["pm", "Å", "nm", "µm", "mm", "cm", "m"])
def test_every_unit_of_length_comes_back_and_is_spelt_as_the_format_asks(tmp_path, suffix, unit):
    path = tmp_path / f"a{suffix}"
    layout = Layout("YX", (40, 50), STACK.dtype, {"Y": 50.0, "X": 50.0}, unit)
    writable_format(path).write(path, iter([STACK[0]]), layout)
    assert planes_of(path)[2:] == ({"Y": 50, "X": 50}, unit)
    if suffix == ".tif":
        assert f'PhysicalSizeXUnit="{unit}"' in tifffile.TiffFile(path).ome_metadata
    else:
        assert multiscale_of(path)["axes"][-1]["unit"] == LONG_NAMES[unit]


@pytest.mark.parametrize(("step", "unit"), [(1.0, "pm"), (1e-12, "m")])
def test_pixels_finer_than_a_resolution_tag_can_tell_keep_their_size(tmp_path, step, unit):
    path = tmp_path / "a.tif"
    layout = Layout("YX", (40, 50), STACK.dtype, {"Y": step, "X": step}, unit)
    writable_format(path).write(path, iter([STACK[0]]), layout)
    assert planes_of(path)[2:] == ({"Y": step, "X": step}, unit)


def test_pixel_sizes_in_several_units_come_in_that_of_x(tmp_path):
    sizes = {"PhysicalSizeX": 4, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 4000, "PhysicalSizeYUnit": "pm"}
    depth = {"PhysicalSizeZ": 0.05}  # µm, as OME says where it is not written
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX", **sizes, **depth})
    write_ome_zarr(tmp_path / "a.zarr", ("micrometer", "picometer", "nanometer"), [0.05, 4000, 4])
    for name in ("a.ome.tif", "a.zarr"):
        _, axes, steps, unit = planes_of(tmp_path / name)
        assert (axes, unit) == ("ZYX", "nm") and steps == pytest.approx({"Z": 50, "Y": 4, "X": 4})


def test_the_scale_of_all_levels_multiplies_that_of_the_first(tmp_path):
    every = {"coordinateTransformations": [{"type": "scale", "scale": [10, 4, 4]}]}
    write_ome_zarr(tmp_path / "a.zarr", ("nanometer",) * 3, [3, 1, 2], **every)
    assert planes_of(tmp_path / "a.zarr")[2] == {"Z": 30, "Y": 4, "X": 8}


@pytest.mark.parametrize(("spacing", "z"), [(-5.0, {"Z": 5.0}), (float("nan"), {}), (0.0, {})])
def test_a_distance_of_planes_is_a_length_or_unknown(tmp_path, spacing, z):
    notes = {"axes": "ZYX", "unit": "nm", "spacing": spacing}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(0.5, 0.5), metadata=notes)
    assert planes_of(tmp_path / "a.tif")[2] == {"X": 2.0, "Y": 2.0, **z}


@pytest.mark.parametrize("size", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_pixel_size_that_cannot_be_does_not_keep_a_picture_from_its_result(tmp_path, double_card, size, suffix):
    notes = {"axes": "ZYX", "PhysicalSizeX": size, "PhysicalSizeY": size}
    tifffile.imwrite(tmp_path / "in.ome.tif", STACK, metadata=notes)
    work = PlaneWork(lambda plane: plane.repeat(2, 0).repeat(2, 1), double_card)
    found, _, _, unit = planes_of(apply_to_file(tmp_path / "in.ome.tif", tmp_path / f"out{suffix}", work))
    assert found.shape == (3, 80, 100) and unit == ""


def test_an_axis_whose_unit_is_no_length_gets_none_when_written(tmp_path):
    write_ome_zarr(tmp_path / "a.zarr", ("second", "nanometer", "nanometer"), [9, 2, 2])
    steps, unit = planes_of(tmp_path / "a.zarr")[2:]
    assert (steps, unit) == ({"Y": 2, "X": 2}, "nm")
    path = tmp_path / "b.zarr"
    writable_format(path).write(path, iter(STACK), Layout("ZYX", STACK.shape, STACK.dtype, steps, unit))
    assert [a.get("unit") for a in multiscale_of(path)["axes"]] == [None, "nanometer", "nanometer"]


@pytest.mark.parametrize("name", ["x.zarr", "x.ome.zarr", ".x.zarr.42.part.zarr", ".x.ome.zarr.42.part.zarr"])
def test_an_ome_zarr_is_called_what_its_file_will_be_called(tmp_path, name):
    path = tmp_path / name
    writable_format(path).write(path, iter([STACK[0]]), Layout("YX", (40, 50), STACK.dtype))
    assert multiscale_of(path)["name"] == "x"


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float16"])
def test_what_tiff_cannot_hold_is_refused_with_the_cure_and_zarr_holds_it(tmp_path, dtype):
    data = STACK[0].astype(dtype)
    layout = Layout("YX", data.shape, data.dtype)
    with pytest.raises(PictureError, match=rf"TIFF cannot hold {dtype}: use --suffix \.zarr"):
        writable_format(tmp_path / "a.tif").write(tmp_path / "a.tif", iter([data]), layout)
    assert not (tmp_path / "a.tif").exists()
    writable_format(tmp_path / "a.zarr").write(tmp_path / "a.zarr", iter([data]), layout)
    np.testing.assert_array_equal(planes_of(tmp_path / "a.zarr")[0], data)


def test_a_picture_that_tiff_cannot_hold_does_not_end_its_folder(tmp_path, double_card):
    (tmp_path / "in").mkdir()
    for name, dtype in {"a.tif": "int64", "b.tif": "uint8"}.items():
        tifffile.imwrite(tmp_path / "in" / name, (STACK[0] % 200).astype(dtype))
    report = apply_to_folder(plan_folder(tmp_path / "in", tmp_path / "out"), PlaneWork(lambda p: p, double_card))
    assert [p.name for p in report.written] == ["b.tif"] and "cannot hold int64" in report.failed[0][1]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b.tif", "b.tif.json"]


def test_bool_results_are_stored_as_0_and_1(tmp_path):
    data = STACK[0] > 30000
    writable_format(tmp_path / "a.tif").write(tmp_path / "a.tif", iter([data]), Layout("YX", data.shape, data.dtype))
    np.testing.assert_array_equal(planes_of(tmp_path / "a.tif")[0], data)


def test_an_imagej_stack_tells_its_axes_and_pixel_size(tmp_path):
    data = np.stack([STACK, STACK])
    tifffile.imwrite(
        tmp_path / "a.tif",
        data,
        imagej=True,
        resolution=(4.0, 2.0),
        metadata={"axes": "TZYX", "unit": "micron", "spacing": 0.5},
    )
    found, axes, steps, unit = planes_of(tmp_path / "a.tif")
    np.testing.assert_array_equal(found, data)
    assert (axes, unit) == ("TZYX", "µm") and steps == pytest.approx({"X": 0.25, "Y": 0.5, "Z": 0.5})


@pytest.mark.parametrize(
    ("tag", "text", "steps"),
    [
        (34682, "[User]\r\nDate=1\r\n[Scan]\r\nPixelWidth=2.5e-009\r\nPixelHeight=3e-009\r\n", {"X": 2.5, "Y": 3.0}),
        (
            34118,
            "1\r\nAP_MAG\r\nMag = 5 K X\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 4.5 nm\r\n",
            {"X": 4.5, "Y": 4.5},
        ),
        (34118, "1\r\nAP_PIXEL_SIZE\r\nPixel Size = 4.5 nm\r\n", {"X": 4.5, "Y": 4.5}),
        (34682, "[Scan]\r\nPixelWidth=\r\n", {}),
        (34118, "1\r\nAP_PIXEL_SIZE\r\nPixel Size = none\r\n", {}),
    ],
)
def test_a_scanning_electron_microscope_tells_its_pixel_size_in_a_tag_of_its_own(tmp_path, tag, text, steps):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], extratags=[(tag, "s", 0, text, True)], metadata=None)
    _, _, found, unit = planes_of(tmp_path / "a.tif")
    assert found == pytest.approx(steps) and unit == ("nm" if steps else "")


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_the_interval_of_a_time_series_goes_over_to_its_result(tmp_path, double_card, suffix):
    work = PlaneWork(lambda plane: plane.repeat(2, 0).repeat(2, 1), double_card)
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "TYX", "finterval": 2.5})
    notes = {"axes": "TYX", "TimeIncrement": 40, "TimeIncrementUnit": "ms"}
    tifffile.imwrite(tmp_path / "b.ome.tif", STACK, metadata=notes)
    for name, interval, unit in (("a.tif", 2.5, "second"), ("b.ome.tif", 40.0, "millisecond")):
        first = apply_to_file(tmp_path / name, tmp_path / f"{name}-1{suffix}", work)
        for path in (tmp_path / name, first, apply_to_file(first, tmp_path / f"{name}-2{suffix}", work)):
            with open_picture(path) as opened:
                assert opened.steps["T"] == interval and opened.time_unit == unit


def test_a_plain_tiff_stack_is_read_page_by_page(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", compression="zlib")
    with open_picture(tmp_path / "a.tif") as opened:
        assert not isinstance(opened.picture.data, np.ndarray) and opened.picture.axes == "ZYX"
        np.testing.assert_array_equal(opened.picture.take_plane((1,)), STACK[1])
        assert opened.steps == {}


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_an_ome_tiff_of_two_files_is_read_unless_one_is_truncated(tmp_path, compression):
    first, second = tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"
    planes = np.stack([np.zeros_like(STACK[0]), STACK[1]])  # the first file is by far the smaller one
    for path, plane in zip((first, second), planes, strict=True):
        description = two_file_ome(path.name, (first.name, second.name))
        tifffile.imwrite(path, plane, description=description, metadata=None, compression=compression)
    np.testing.assert_array_equal(planes_of(first)[0], planes)
    second.write_bytes(second.read_bytes()[:-100])
    with pytest.raises(PictureError, match="truncated"):
        planes_of(first)


def write_two_files(folder):
    """Plane 0 and plane 1 of ``STACK`` as an OME-TIFF of two files."""
    paths = folder / "a.ome.tif", folder / "b.ome.tif"
    for path, plane in zip(paths, STACK, strict=False):
        tifffile.imwrite(path, plane, description=two_file_ome(path.name, [p.name for p in paths]), metadata=None)
    return paths


@pytest.mark.parametrize("kept", [0, 1])
def test_an_ome_tiff_without_one_of_its_files_is_refused_by_the_name_of_that_file(tmp_path, kept):
    paths = write_two_files(tmp_path)
    paths[1 - kept].unlink()
    with pytest.raises(PictureError, match=f"{paths[1 - kept].name} of its series is missing"):
        planes_of(paths[kept])


def test_a_picture_in_several_files_is_worked_off_once_in_its_folder(tmp_path, double_card):
    (tmp_path / "in").mkdir()
    second = write_two_files(tmp_path / "in")[1]
    notes = []
    work = PlaneWork(lambda p: p, double_card, on_event=notes.append)
    report = apply_to_folder(plan_folder(tmp_path / "in", tmp_path / "out"), work)
    assert [p.name for p in report.written] == ["a.tif"] and report.failed == ()
    assert "b.ome.tif belongs to a.ome.tif and is done with it" in [getattr(n, "message", "") for n in notes]
    np.testing.assert_array_equal(planes_of(tmp_path / "out" / "a.tif")[0], STACK[:2])
    apply_to_file(second, tmp_path / "alone.tif", work)
    np.testing.assert_array_equal(planes_of(tmp_path / "alone.tif")[0], STACK[:2])


def test_planes_that_an_ome_tiff_never_had_are_remarked(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK[0], description=two_file_ome(path.name, [path.name]), metadata=None)
    with open_picture(path) as opened:
        assert opened.remark == "1 of its 2 planes were never written and are read as zeros"


def test_a_tiff_of_grey_with_alpha_is_read_as_grey(tmp_path):
    data = np.stack([STACK[0], np.full_like(STACK[0], 65535)], -1)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", planarconfig="contig", extrasamples=[2])
    found, axes, _, _ = planes_of(tmp_path / "a.tif")
    assert axes == "YXS"
    np.testing.assert_array_equal(found, STACK[0])


@pytest.mark.parametrize("leading", [(), (4,)])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 8}, {"ome": True}])
def test_a_colour_tiff_is_read_as_colour_also_where_its_planes_lie_apart(tmp_path, leading, options):
    data = np.random.default_rng(0).integers(0, 255, (*leading, 40, 50, 3), np.uint8)
    tifffile.imwrite(tmp_path / "whole.tif", data, photometric="rgb", planarconfig="contig", **options)
    apart = np.moveaxis(data, -1, -3)
    tifffile.imwrite(tmp_path / "apart.tif", apart, photometric="rgb", planarconfig="separate", **options)
    whole, axes, _, _ = planes_of(tmp_path / "whole.tif")
    found, found_axes, _, _ = planes_of(tmp_path / "apart.tif")
    assert found_axes == axes and axes.endswith("YXS")
    np.testing.assert_array_equal(found, whole)
    with open_picture(tmp_path / "apart.tif") as opened:
        assert not isinstance(opened.picture.data, np.ndarray)


def test_samples_that_are_no_colours_are_channels(tmp_path):
    data = np.concatenate([STACK, STACK])[:5]
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", planarconfig="separate")
    found, axes, _, _ = planes_of(tmp_path / "a.tif")
    assert axes == "CYX"
    np.testing.assert_array_equal(found, data)


def test_the_finest_level_of_a_pyramid_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(STACK[0], subifds=1)
        writer.write(STACK[0, ::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(planes_of(tmp_path / "a.tif")[0], STACK[0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_stack_compressed_by_lzw_is_read_lazily_with_its_axes(tmp_path, dtype):
    """As ImageJ, Bio-Formats and microscopes write it."""
    stack, path = (STACK // 256).astype(dtype), tmp_path / "a.tif"
    pages = [Image.fromarray(plane) for plane in stack]
    notes = "ImageJ=1.54\nimages=3\nslices=3\nspacing=0.5\nunit=nm\n"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw", description=notes)
    found, axes, steps, unit = planes_of(path)
    assert axes == "ZYX" and steps["Z"] == 0.5 and unit == "nm" and found.dtype == dtype
    np.testing.assert_array_equal(found, stack)
    with open_picture(path) as opened:
        assert not isinstance(opened.picture.data, np.ndarray)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
def test_a_compressed_colour_tiff_is_read_as_colour(tmp_path, compression):
    colours = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.tif", compression=compression)
    with open_picture(tmp_path / "a.tif") as opened, Image.open(tmp_path / "a.tif") as image:
        assert opened.picture.axes == "YXS"
        np.testing.assert_array_equal(opened.picture.data, image)


def test_an_older_ome_zarr_and_a_bare_array_are_read(tmp_path):
    group = zarr.open_group(tmp_path / "old.zarr", mode="w", zarr_format=2)
    group.create_array("full", data=STACK)
    group.attrs["multiscales"] = [
        {
            "axes": [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"],
            "datasets": [{"path": "full", "coordinateTransformations": [{"type": "scale", "scale": [9, 2, 2]}]}],
        }
    ]
    found, axes, steps, unit = planes_of(tmp_path / "old.zarr")
    np.testing.assert_array_equal(found, STACK)
    assert (axes, steps, unit) == ("ZYX", {"Z": 9, "Y": 2, "X": 2}, "nm")
    zarr.save_array(tmp_path / "bare.zarr", STACK)
    np.testing.assert_array_equal(planes_of(tmp_path / "bare.zarr")[0], STACK)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_image_in_a_group_of_images_is_read(tmp_path, zarr_format):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format)
    layout = {"bioformats2raw.layout": 3}
    group.attrs.update(layout if zarr_format == 2 else {"ome": {"version": "0.5", **layout}})
    axes = [{"name": a, "type": "space"} for a in "zyx"]
    for i in range(2):
        image = group.create_group(str(i))
        image.create_array("0", data=STACK + np.uint16(i))
        scales = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
        image.attrs.update(scales if zarr_format == 2 else {"ome": scales})
    with open_picture(tmp_path / "a.zarr") as opened:
        assert opened.remark.startswith("the first of 2 images in it is read")
        np.testing.assert_array_equal(opened.picture.take_plane((1,)), STACK[1])
    np.testing.assert_array_equal(planes_of(tmp_path / "a.zarr" / "1")[0], STACK + 1)
    np.testing.assert_array_equal(planes_of(tmp_path / "a.zarr" / "1" / "0")[0], STACK + 1)


def test_a_zarr_group_without_an_image_says_so(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w")
    with pytest.raises(PictureError, match="no OME-Zarr image"):
        planes_of(tmp_path / "a.zarr")


@pytest.mark.parametrize(("mode", "axes"), [("L", "YX"), ("RGB", "YXS"), ("RGBA", "YXS"), ("P", "YXS"), ("1", "YX")])
def test_png_of_any_mode_is_read(tmp_path, mode, axes):
    Image.fromarray((STACK[0] // 256).astype(np.uint8)).convert(mode).save(tmp_path / "a.png")
    found, found_axes, _, _ = planes_of(tmp_path / "a.png")
    assert found_axes == axes and found.shape == (40, 50)


def test_a_16_bit_png_keeps_its_grey_levels(tmp_path):
    Image.fromarray(STACK[0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(planes_of(tmp_path / "a.png")[0], STACK[0])


def test_a_png_of_16_bit_colours_says_that_it_is_read_with_8(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = b"\0" + np.full((40, 3), 300, ">u2").tobytes()
    header = struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 40)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    Image.fromarray(STACK[0]).save(tmp_path / "grey.png")
    for name, remark in {"a.png": "8 of its 16 bits", "grey.png": ""}.items():
        with open_picture(tmp_path / name) as opened:
            assert remark in opened.remark and bool(opened.remark) == bool(remark)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_larger_than_pillow_allows_is_read_and_the_limit_stays(tmp_path, monkeypatch, suffix):
    Image.new("L", (50, 40)).save(tmp_path / f"a{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert planes_of(tmp_path / f"a{suffix}")[0].shape == (40, 50)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_big_endian_mrc_file_is_refused_with_the_cure(tmp_path):
    pytest.importorskip("rsciio")
    write_mrc(tmp_path / "a.mrc", STACK, 2.5, order=">")
    with pytest.raises(PictureError, match="convert it"):
        planes_of(tmp_path / "a.mrc")


def test_an_mrc_stack_is_read_lazily_with_its_pixel_size(tmp_path):
    pytest.importorskip("rsciio")
    write_mrc(tmp_path / "a.mrc", STACK, angstrom=2.5)
    with open_picture(tmp_path / "a.mrc") as opened:
        assert not isinstance(opened.picture.data, np.ndarray)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found, axes, steps, unit = planes_of(tmp_path / "a.mrc")
    np.testing.assert_array_equal(found, STACK)
    assert axes == "ZYX" and unit == "nm" and steps["X"] == pytest.approx(0.25)


def test_an_ome_zarr_keeps_its_place_and_voxels_without_a_unit_their_shape(tmp_path, double_card):
    group = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=3)
    group.create_array("0", data=np.ones((2, 40, 50), np.uint8))
    axes = [{"name": a, "type": "space"} for a in "zyx"]
    placed = [{"type": "scale", "scale": [40.0, 5.0, 5.0]}, {"type": "translation", "translation": [7.0, 100.0, 200.0]}]
    level = {"path": "0", "coordinateTransformations": placed}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    work = PlaneWork(lambda plane: plane.repeat(2, 0).repeat(2, 1), double_card)
    apply_to_file(tmp_path / "in.zarr", tmp_path / "out.zarr", work)
    with open_picture(tmp_path / "out.zarr") as opened:
        assert opened.steps == {"Z": 40.0, "Y": 2.5, "X": 2.5} and opened.unit == ""
        assert opened.starts == {"Z": 7.0, "Y": 98.75, "X": 198.75}  # pixel areas lie over those of the source


def test_the_sections_of_an_mrc_volume_have_their_distance(tmp_path):
    pytest.importorskip("rsciio")
    header = np.zeros(256, "<i4")
    header[:4], header[7:10], header[16:19] = (20, 30, 8, 2), (20, 30, 8), (1, 2, 3)
    header[10:13] = np.array([100, 150, 80], "<f4").view("<i4")  # 5, 5 and 10 Å
    header[52] = np.frombuffer(b"MAP ", "<i4")[0]
    header[53] = 0x4444
    (tmp_path / "volume.mrc").write_bytes(header.tobytes() + np.ones((8, 30, 20), "<f4").tobytes())
    with open_picture(tmp_path / "volume.mrc") as opened:
        assert opened.unit == "nm" and opened.steps == pytest.approx({"Z": 1.0, "Y": 0.5, "X": 0.5})


IMOD = 1146047817


@pytest.mark.parametrize(
    ("least", "most", "imod", "dtype"),
    [
        (-100, 100, (0, 0), "int8"),
        (0, 0, (IMOD, 1), "int8"),
        (0, 255, (0, 0), "uint8"),
        (-1, -2, (0, 0), "uint8"),  # said to be unknown
        (-100, 100, (IMOD, 0), "uint8"),
    ],
)
def test_the_bytes_of_an_mrc_file_have_the_sign_its_header_says(tmp_path, least, most, imod, dtype):
    pytest.importorskip("rsciio")
    values = np.linspace(-100, 100, 32 * 40).astype(np.int8)
    header = np.zeros(256, "<i4")
    header[:3], header[7:10], header[16:19], header[38:40] = (40, 32, 1), (40, 32, 1), (1, 2, 3), imod
    header.view("<f4")[19:21] = least, most
    header.view("S4")[52] = b"MAP "
    header.view("u1")[212:214] = 0x44
    (tmp_path / "a.mrc").write_bytes(header.tobytes() + values.tobytes())
    found = planes_of(tmp_path / "a.mrc")[0]
    np.testing.assert_array_equal(found.ravel(), values.view(dtype))
    assert found.dtype == dtype


def test_a_spectrum_image_is_passed_over_for_the_image_beside_it(tmp_path, monkeypatch):
    reader = pytest.importorskip("rsciio.digitalmicrograph")
    (tmp_path / "a.dm4").write_bytes(b"")
    survey = signal(STACK[0], "nm", "nm")
    energy_loss = signal(np.zeros((20, 20, 512), np.float32), "nm", "nm", "eV")
    by_navigation = signal(np.zeros((20, 20, 512), np.float32), "nm", "nm", "", n_navigation=2)
    monkeypatch.setattr(reader, "file_reader", lambda *_, **__: [energy_loss, survey, by_navigation])
    found, axes, steps, unit = planes_of(tmp_path / "a.dm4")
    np.testing.assert_array_equal(found, STACK[0])
    assert (axes, steps, unit) == ("YX", {"Y": 2, "X": 2}, "nm")
    monkeypatch.setattr(reader, "file_reader", lambda *_, **__: [energy_loss, by_navigation])
    with pytest.raises(PictureError, match="holds no image"):
        planes_of(tmp_path / "a.dm4")


def test_an_energy_filtered_stack_and_a_scan_without_signal_axes_are_images(tmp_path, monkeypatch):
    reader = pytest.importorskip("rsciio.digitalmicrograph")
    (tmp_path / "a.dm4").write_bytes(b"")
    filtered, scan = signal(STACK, "eV", "µm", "nm", n_navigation=1), signal(STACK, "", "nm", "nm", n_navigation=3)
    for given, steps in ((filtered, {"Y": 2000, "X": 2}), (scan, {"Y": 2, "X": 2})):
        monkeypatch.setattr(reader, "file_reader", lambda *_, given=given, **__: [given])
        found = planes_of(tmp_path / "a.dm4")
        np.testing.assert_array_equal(found[0], STACK)
        assert found[1:] == ("ZYX", steps, "nm")


def test_a_missing_reader_names_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.dm4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "rsciio", None)
    with pytest.raises(PictureError, match="pip install"):
        planes_of(tmp_path / "a.dm4")


@pytest.mark.parametrize("suffix", sorted(s for f in FORMATS for s in f.suffixes))
def test_a_damaged_file_of_any_format_is_named(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"this is no picture" * 10)
    with pytest.raises(PictureError, match="broken"):
        planes_of(path)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True, "tile": (16, 16)}])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_truncated_tiff_is_never_read_as_if_it_were_whole(tmp_path, options, share):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", **options)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: int(share * len(whole))])
    try:
        found = planes_of(tmp_path / "a.tif")[0]
    except PictureError as error:
        assert "a.tif" in str(error)
    else:
        np.testing.assert_array_equal(found, STACK)  # what was cut off held no pixels


def test_missing_files_and_unknown_formats_are_named(tmp_path):
    with pytest.raises(PictureError, match="does not exist"):
        planes_of(tmp_path / "a.tif")
    with pytest.raises(PictureError, match="no format that can be read"):
        planes_of(tmp_path / "a.doc")
    with pytest.raises(StorageError, match=r"end in one of \.tif"):
        writable_format(tmp_path / "a.dm4")


def test_unknown_axes_take_the_next_free_letter():
    assert [known_axes(a) for a in ("IYX", "QQYX", "SYX", "YXS", "tcyx")] == ["ZYX", "ZTYX", "CYX", "YXS", "TCYX"]
    assert known_axes("YQX") == known_axes("YXQ") == "ZYX"  # tifffile's guesses for planes of one row or column
    assert format_of(__import__("pathlib").Path("A.TIF")) is FORMATS[0]


def write_mrc(path, stack, angstrom, order="<"):
    """A minimal MRC2014 file of 16-bit unsigned planes, little or big-endian."""
    n, height, width = stack.shape
    header = np.zeros(256, f"{order}i4")
    header[:10] = [width, height, n, 6, 0, 0, 0, width, height, n]
    header.view(f"{order}f4")[10:16] = [width * angstrom, height * angstrom, n * angstrom, 90, 90, 90]
    header[16:19] = [1, 2, 3]
    header.view("S4")[52] = b"MAP "
    header.view("u1")[212:214] = 0x44 if order == "<" else 0x11
    path.write_bytes(header.tobytes() + stack.astype(f"{order}u2").tobytes())


def write_ome_zarr(path, units, scale, **more):
    """``STACK`` as an OME-Zarr of one level whose axes Z, Y and X have these units."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", data=STACK)
    axes = [{"name": a, "type": "space", "unit": u} for a, u in zip("zyx", units, strict=True)]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level], **more}]}


def multiscale_of(path):
    return zarr.open_group(path, mode="r").attrs["ome"]["multiscales"][0]


def two_file_ome(name, names):
    """OME-XML of a file whose image has one plane of ``STACK``'s size in each of two files."""
    ids = {n: f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i, n in enumerate(names)}
    data = "".join(
        f'<TiffData FirstZ="{i}" IFD="0" PlaneCount="1"><UUID FileName="{n}">{ids[n]}</UUID></TiffData>'
        for i, n in enumerate(names)
    )
    return (
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{ids[name]}"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="50" SizeY="40" SizeZ="2" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )


def signal(data, *units, n_navigation=0):
    """A signal as rosettasciio gives it, its pixels 2 units wide."""
    axes = [{"scale": 2.0, "units": unit, "navigate": i < n_navigation} for i, unit in enumerate(units)]
    return {"data": data, "axes": axes}
