"""`suggest` works without Qt, on stacks that do not fit into memory, and says where a stroke helps."""

import dask.array
import numpy as np
import pytest

import napari_fewshot as nf
from napari_fewshot.compute.events import Progress
from napari_fewshot.core.simulate import simulate_strokes


@pytest.fixture
def stack(disc):
    """Five discs, one plane of noise, and strokes on the first plane."""
    planes = np.stack([disc[0]] * 5)
    planes[3] = np.random.default_rng(0).integers(0, 255, disc[0].shape)
    strokes = np.zeros(planes.shape, np.uint16)
    strokes[0] = simulate_strokes(disc[1], 4)
    return planes, strokes


def test_the_slice_unlike_anything_painted_is_suggested_first(stack):
    planes, strokes = stack
    heard = []
    spots = nf.suggest(nf.load("em-segment"), planes, strokes, seconds=60, on_event=heard.append)
    index, box, gain = spots[0]
    assert index == (3,) and gain == max(s.gain for s in spots)
    assert planes[index][box].size and {s.index for s in spots} == {(z,) for z in range(5)}
    assert all(isinstance(e, Progress) for e in heard) and heard[-1].done == heard[-1].total == 5


def test_a_fine_tuned_model_needs_no_strokes_and_a_lazy_stack_is_read_in_parts(stack):
    planes, strokes = stack
    tuned = nf.fine_tune(nf.load("em-segment"), planes, strokes, steps=0)
    read = []

    def plane_of(block_info=None):
        read.append(block_info[None]["array-location"][0])
        return planes[:1]

    lazy = dask.array.map_blocks(plane_of, dtype=planes.dtype, chunks=((1,) * 50_000, (96,), (128,)))
    assert nf.suggest(tuned, lazy, seconds=1e-9) and len(read) <= 3
    with pytest.raises(nf.FewshotError, match="paint a few strokes"):
        nf.suggest(nf.load("em-segment"), planes)


def test_an_empty_plane_is_passed_over(stack):
    planes, strokes = stack[0].astype(np.float32), stack[1]
    planes[2] = np.nan
    spots = nf.suggest(nf.load("em-segment"), planes, strokes, seconds=60)
    assert {s.index for s in spots} == {(z,) for z in (0, 1, 3, 4)}
