"""Claims about surveys and propagations on a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from napari_fewshot.compute.client import Compute
from napari_fewshot.compute.events import Failed, Finished, PlaneDone, Progress, Stopped, Surveyed
from napari_fewshot.core.guide import N_LOOKS
from napari_fewshot.core.job import Propagate, Survey
from napari_fewshot.core.picture import Picture, picture_of
from napari_fewshot.core.shelf import ModelFile, Shelf
from napari_fewshot.core.strokes import Painting, painting_of
from tests.compute.acts import Ear

RNG = np.random.default_rng(0)
DISC = np.hypot(*(np.mgrid[:96, :96] - 48)) < 30
IMAGE = (DISC * 100 + 50 + RNG.normal(0, 5, DISC.shape)).astype(np.uint8)


class Stack:
    """A lazy stack of discs, one plane of it broken or of noise, that counts what is read."""

    def __init__(self, n: int, noise_at: int | None = None, broken_at: int | None = None) -> None:
        self.shape, self.dtype = (n, *IMAGE.shape), IMAGE.dtype
        self.read: list[int] = []
        self.noise_at, self.broken_at = noise_at, broken_at

    def __getitem__(self, where: Any) -> np.ndarray:
        self.read.append(int(where[0]))
        if where[0] == self.broken_at:
            raise ValueError("truncated")
        noise = RNG.integers(0, 255, IMAGE.shape).astype(np.uint8)
        return (noise if where[0] == self.noise_at else IMAGE)[where[1:]]


@pytest.fixture(scope="module")
def segment() -> ModelFile:
    return Shelf().read("em-segment")


@pytest.fixture
def painting() -> Iterator[Painting]:
    labels = np.zeros(IMAGE.shape, np.uint8)
    labels[46:50, 30:66] = 1
    labels[60:64, 40:60] = 1
    labels[4:8, 10:80] = 2
    labels[88:92, 10:80] = 2
    yield painting_of([IMAGE], [labels])


def test_a_survey_of_an_endless_stack_takes_no_longer(
    compute: Compute, ear: Ear, segment: ModelFile, painting: Painting
) -> None:
    stack = Stack(1_000_000)
    job_id = compute.submit(Survey(segment, Picture(stack, "ZYX"), painting, here=(7,), seconds=0.5))
    end = ear.end(job_id)
    assert isinstance(end, Finished), end
    seen = [e.seen for e in ear.of(job_id) if isinstance(e, Surveyed)]
    assert seen[0].look.index == (7,) and 0 < end.details["n_looks"] == len(seen) <= N_LOOKS
    assert all(0 < one.quality <= 1 and one.spots and one.learned is None for one in seen)
    assert len(stack.read) <= len(seen) + 3 and isinstance(ear.wait(job_id, Progress), Progress)


def test_a_stopped_survey_keeps_what_it_saw(compute: Compute, ear: Ear, segment: ModelFile, painting: Painting) -> None:
    job_id = compute.submit(Survey(segment, Picture(Stack(1000), "ZYX"), painting, seconds=1000))
    assert ear.wait(job_id, Surveyed).seen.spots
    compute.stop(job_id)
    assert isinstance(ear.end(job_id), Stopped)


def test_without_strokes_and_classes_a_survey_says_what_to_do(compute: Compute, ear: Ear, segment: ModelFile) -> None:
    end = ear.end(compute.submit(Survey(segment, picture_of(IMAGE))))
    assert isinstance(end, Failed) and "paint a few strokes" in end.message and not end.traceback


def test_a_propagation_goes_both_ways_and_ends_where_quality_drops(
    compute: Compute, ear: Ear, segment: ModelFile, painting: Painting
) -> None:
    job = Propagate(segment, Picture(Stack(9, noise_at=6), "ZYX"), (3,), painting, confidence=True)
    job_id = compute.submit(job)
    end = ear.end(job_id)
    assert isinstance(end, Finished), end
    done = [e for e in ear.of(job_id) if isinstance(e, PlaneDone)]
    assert [e.index for e in done] == [(3,), (4,), (5,), (2,), (1,), (0,)]
    assert all(np.mean((e.values == 1) == DISC) > 0.9 and e.confidence is not None for e in done)
    (stop,) = end.details["stops"]
    assert stop.startswith("stopped before slice 6: the ")


def test_a_slice_that_cannot_be_read_ends_its_direction_alone(
    compute: Compute, ear: Ear, segment: ModelFile, painting: Painting
) -> None:
    job_id = compute.submit(Propagate(segment, Picture(Stack(5, broken_at=3), "ZYX"), (2,), painting))
    end = ear.end(job_id)
    assert isinstance(end, Finished), end
    assert [e.index for e in ear.of(job_id) if isinstance(e, PlaneDone)] == [(2,), (1,), (0,)]
    (stop,) = end.details["stops"]
    assert stop.startswith("stopped before slice 3: ") and "truncated" in stop


def test_what_is_known_stays_as_it_is_and_a_slice_that_is_known_ends_nothing(
    compute: Compute, ear: Ear, segment: ModelFile, painting: Painting
) -> None:
    stripes = (1 + np.arange(96) // 8 % 2).astype(np.uint8) * np.ones((96, 1), np.uint8)
    stroke = np.zeros(IMAGE.shape, np.uint8)
    stroke[40:50, 40:50] = 2
    known = {(1,): stripes, (2,): stroke, (3,): stripes}
    job = Propagate(segment, Picture(Stack(6, noise_at=3), "ZYX"), (1,), painting, confidence=True, known=known)
    job_id = compute.submit(job)
    assert isinstance(ear.end(job_id), Finished)
    done = {e.index: e for e in ear.of(job_id) if isinstance(e, PlaneDone)}
    assert {(1,), (2,), (3,)} <= done.keys()
    for index, values in known.items():
        np.testing.assert_array_equal(done[index].values[values > 0], values[values > 0])
        assert np.all(done[index].confidence[values > 0] == 1)
    assert np.mean((done[2,].values == 1) == DISC) > 0.85
