import threading

import numpy as np
import pytest

from napari_fewshot.batch.through_compute import PlaneSender
from napari_fewshot.compute.events import Failed, Finished, Lost, PlaneDone, Stopped
from napari_fewshot.core.errors import ComputeError

PLANE = np.arange(40 * 40).reshape(40, 40)


def compute(model_file, *answers, early=False):
    """A sender whose submitted job is answered on another thread, or before submit returns."""
    sender = PlaneSender(lambda job: submit(job), model_file)
    jobs = []

    def answer(job_id):
        for event in answers:
            sender.on_event(event(job_id))

    def submit(job):
        jobs.append(job)
        if early:
            answer("7")
        else:
            threading.Timer(0.05, answer, ["7"]).start()
        return "7"

    return sender, jobs


@pytest.mark.parametrize("early", [True, False])
def test_a_plane_comes_back_whenever_its_answer_comes(model_file, early):
    sender, jobs = compute(model_file, lambda i: PlaneDone(i, (), PLANE + 1), lambda i: Finished(i), early=early)
    np.testing.assert_array_equal(sender(PLANE).values, PLANE + 1)
    np.testing.assert_array_equal(jobs[0].picture.take_plane(()), PLANE)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda i: Failed(i, "too small"), "too small"),
        (lambda i: Lost(i, "the worker died"), "the worker died"),
        (lambda i: Stopped(i), "stopped"),
    ],
)
def test_an_end_without_an_answer_raises(model_file, end, message):
    sender, _ = compute(model_file, end)
    with pytest.raises(ComputeError, match=message):
        sender(PLANE)


def test_events_of_other_jobs_do_not_count(model_file):
    sender, _ = compute(
        model_file,
        lambda i: PlaneDone("other", (), PLANE * 2),
        lambda i: Finished("other"),
        lambda i: PlaneDone(i, (), PLANE),
        lambda i: Finished(i),
    )
    np.testing.assert_array_equal(sender(PLANE).values, PLANE)
