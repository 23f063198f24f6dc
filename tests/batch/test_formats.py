import sys
import warnings

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_fewshot.batch.formats import FORMATS, format_of, open_picture, writable_format
from napari_fewshot.batch.formats.format import Layout, known_axes
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


def test_a_plain_tiff_stack_is_read_page_by_page(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", compression="zlib")
    with open_picture(tmp_path / "a.tif") as opened:
        assert not isinstance(opened.picture.data, np.ndarray) and opened.picture.axes == "ZYX"
        np.testing.assert_array_equal(opened.picture.take_plane((1,)), STACK[1])
        assert opened.steps == {}


def test_the_finest_level_of_a_pyramid_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(STACK[0], subifds=1)
        writer.write(STACK[0, ::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(planes_of(tmp_path / "a.tif")[0], STACK[0])


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
    assert [known_axes(a) for a in ("IYX", "QQYX", "SYX", "YXS", "tcyx")] == ["ZYX", "ZTYX", "ZYX", "YXS", "TCYX"]
    assert format_of(__import__("pathlib").Path("A.TIF")) is FORMATS[0]


def write_mrc(path, stack, angstrom):
    """A minimal MRC2014 file of 16-bit unsigned planes."""
    n, height, width = stack.shape
    header = np.zeros(256, "<i4")
    header[:10] = [width, height, n, 6, 0, 0, 0, width, height, n]
    header.view("<f4")[10:16] = [width * angstrom, height * angstrom, n * angstrom, 90, 90, 90]
    header[16:19] = [1, 2, 3]
    header.view("S4")[52] = b"MAP "
    header.view("u1")[212:214] = 0x44
    path.write_bytes(header.tobytes() + stack.astype("<u2").tobytes())
