"""Dense labels are read plane by plane; those that no episode can be drawn from are named with their file."""

import numpy as np
import pytest
import tifffile

from napari_fewshot.cli_labelled import read_labelled
from napari_fewshot.core.errors import FewshotError


@pytest.fixture
def labelled(tmp_path, disc):
    """A folder with a stack of two planes and its labels."""
    image, truth = disc
    for part, values in (("images", image), ("labels", truth - 1)):
        (tmp_path / "lab" / part).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "lab" / part / "a.tif", np.stack([values, values]))
    return tmp_path / "lab"


def test_a_labelled_stack_is_split_into_its_planes(labelled, disc):
    made = read_labelled(labelled)
    assert [image.shape for image in made.images] == [(96, 128)] * 2 and made.labels[1].dtype == np.uint8
    np.testing.assert_array_equal(made.labels[0], disc[1] - 1)


ZEROS = np.zeros((2, 96, 128), np.float32)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("images", None, "no picture is in"),
        ("images", ZEROS[:, :64], "give both the same shape"),
        ("images", ZEROS * np.nan, "without a finite pixel"),
        ("labels", None, "does not exist"),
        ("labels", ZEROS, "one class only"),
        ("labels", ZEROS - 1, "save the number of each"),
        ("labels", ZEROS + 0.5, "save the number of each"),
        ("labels", ZEROS + 1e9, "save the number of each"),
        ("labels", ZEROS * np.nan, "save the number of each"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_named(labelled, part, values, message):
    file = labelled / part / "a.tif"
    file.unlink() if values is None else tifffile.imwrite(file, values)
    with pytest.raises(FewshotError, match=message) as fault:
        read_labelled(labelled)
    assert str(labelled) in str(fault.value)
