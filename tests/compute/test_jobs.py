"""Claims about real work on the worker: fine-tuning and applying with the engine and embedded models."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from distributed import Client

from napari_fewshot.compute import jobs
from napari_fewshot.compute.client import Compute
from napari_fewshot.compute.events import Failed, Finished, Lost, PlaneDone, PlaneLeftOut, Preview, Progress, Stopped
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Apply, Budget, FineTune, Judge, LookAhead, View
from napari_fewshot.core.objects import Objects, along_z
from napari_fewshot.core.picture import Picture, picture_of
from napari_fewshot.core.restoring import Restoring
from napari_fewshot.core.shelf import ModelFile, Shelf
from napari_fewshot.core.strokes import Painting, painting_of
from tests.compute.acts import PATIENCE_S, Act, Ear, at_once, run_until_told

RNG = np.random.default_rng(0)
DISC = np.hypot(*(np.mgrid[:96, :96] - 48)) < 30
IMAGE = (DISC * 100 + 50 + RNG.normal(0, 5, DISC.shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def denoise() -> ModelFile:
    return Shelf().read("em-denoise")


@pytest.fixture(scope="module")
def segment() -> ModelFile:
    return Shelf().read("em-segment")


def painted(n_classes: int = 2) -> Painting:
    labels = np.zeros(IMAGE.shape, np.uint8)
    labels[46:50, 30:66] = 1
    labels[4:8, 10:80] = 2
    if n_classes == 3:
        labels[88:92, 10:80] = 3
    return painting_of([IMAGE], [labels])


def view() -> View:
    return View((), (0, 0), IMAGE, Intensity.measure(IMAGE), "whole")


class Stack:
    """A lazy stack that counts what is read, and can be made to wait or to fail."""

    def __init__(self, n: int, fails_at: int | None = None) -> None:
        self.shape, self.dtype = (n, *IMAGE.shape), IMAGE.dtype
        self.read: list[int] = []
        self.fails_at = fails_at
        self.may_read = threading.Semaphore(n)

    def __getitem__(self, where: Any) -> np.ndarray:
        z = int(where[0])
        if z == self.fails_at:
            raise OSError("the disk is gone")
        self.may_read.acquire(timeout=PATIENCE_S)
        self.read.append(z)
        return IMAGE + np.uint8(z)


def planes(n: int) -> tuple[tuple[int, ...], ...]:
    return tuple((z,) for z in range(n))


def test_fine_tuning_hands_over_a_model_that_can_be_applied(compute: Compute, ear: Ear, segment: ModelFile) -> None:
    job = FineTune(segment, painted(), budget=Budget(steps=2), view=view(), name="discs")
    job_id = compute.submit(job)
    tuned = ear.end(job_id)
    assert isinstance(tuned, Finished) and tuned.model is not None, tuned
    assert tuned.model.card.parent == segment.card.id and tuned.model.card.name == "discs"
    preview = ear.wait(job_id, Preview)
    assert preview.values.shape == IMAGE.shape and set(np.unique(preview.values)) <= {1, 2}
    assert [e.done for e in ear.of(job_id) if isinstance(e, Progress)][-1] == 2

    job_id = compute.submit(Apply(tuned.model, picture_of(IMAGE), ((),), confidence=True))
    assert isinstance(ear.end(job_id), Finished)
    done = ear.wait(job_id, PlaneDone)
    assert done.values.shape == done.confidence.shape == IMAGE.shape
    assert (done.values == np.where(DISC, 1, 2)).mean() > 0.9


def test_a_stopped_fine_tuning_hands_over_its_best_model(compute: Compute, ear: Ear, segment: ModelFile) -> None:
    job_id = run_until_told(compute, ear, FineTune(segment, painted()))
    compute.stop(job_id)
    end = ear.end(job_id)
    assert isinstance(end, Stopped) and end.model is not None and end.model.card.painted == (1, 2)


def test_strokes_added_while_it_trains_are_learned(compute: Compute, ear: Ear, segment: ModelFile) -> None:
    job_id = run_until_told(compute, ear, FineTune(segment, painted()))
    n_told = len(ear.events)
    compute.send(job_id, painted(n_classes=3))
    compute.send(job_id, view())
    while not any(isinstance(e, Preview) and 3 in e.values for e in ear.events[n_told:]):
        ear.wait_more()
    compute.stop(job_id)
    assert ear.end(job_id).model.card.painted == (1, 2, 3)


def test_a_restoration_adapts_to_an_image_alone(compute: Compute, ear: Ear, denoise: ModelFile) -> None:
    end = ear.end(compute.submit(FineTune(denoise, pairs=((IMAGE, None),), budget=Budget(steps=1))))
    assert isinstance(end, Finished) and end.model is not None, end
    assert end.model.card.parent == denoise.card.id


def test_one_class_only_fails_with_a_cure(compute: Compute, ear: Ear, segment: ModelFile) -> None:
    labels = np.zeros(IMAGE.shape, np.uint8)
    labels[:9] = 1
    end = ear.end(compute.submit(FineTune(segment, painting_of([IMAGE], [labels]))))
    assert isinstance(end, Failed) and "second class" in end.message and not end.traceback


def test_an_altered_model_fails_with_a_cure(compute: Compute, ear: Ear, denoise: ModelFile) -> None:
    model = ModelFile(replace(denoise.card, id="altered"), b"no weights")
    end = ear.end(compute.submit(Apply(model, picture_of(IMAGE), ((),))))
    assert isinstance(end, Failed) and "export the model again" in end.message and not end.traceback


def test_a_part_is_applied_to_on_the_grey_scale_of_its_whole_plane(
    compute: Compute, ear: Ear, denoise: ModelFile
) -> None:
    def applied(intensity: Intensity | None) -> np.ndarray:
        job_id = compute.submit(Apply(denoise, picture_of(IMAGE[:, :48]), ((),), intensity=intensity))
        assert isinstance(ear.end(job_id), Finished)
        return ear.wait(job_id, PlaneDone).values

    part = Intensity.measure(IMAGE[:, :48])
    np.testing.assert_array_equal(applied(None), applied(part))
    assert (applied(None) != applied(Intensity(part.low - 500, part.high + 500))).any()


def test_planes_are_read_in_the_order_asked_for_and_come_each_with_progress(
    compute: Compute, ear: Ear, denoise: ModelFile
) -> None:
    stack = Stack(5)
    job_id = compute.submit(Apply(denoise, Picture(stack, "ZYX"), ((3,), (0,), (4,))))
    assert ear.end(job_id).details == {"n_planes": 3}
    events = ear.of(job_id)[:-1]
    assert {e.index for e in events[::2]} == {(3,), (0,), (4,)}  # two are on their way at once
    assert [(e.done, e.total) for e in events[1::2]] == [(1, 3), (2, 3), (3, 3)]
    assert stack.read == [3, 0, 4]
    assert events[0].values.dtype == IMAGE.dtype and events[0].values.shape == IMAGE.shape


def test_planes_are_read_at_most_two_ahead(compute: Compute, ear: Ear, denoise: ModelFile) -> None:
    stack, ahead = Stack(8), []
    job_id = compute.submit(Apply(denoise, Picture(stack, "ZYX"), planes(8)))
    n_done = 0
    while n_done < 8:
        events = ear.of(job_id)
        n_done = sum(isinstance(e, PlaneDone) for e in events)
        ahead.append(len(stack.read) - sum(isinstance(e, PlaneDone) for e in ear.of(job_id)))
        ear.wait_more(0.01)
    ear.end(job_id)
    assert max(ahead) <= 2


def test_an_apply_stops_although_a_read_hangs_and_keeps_its_planes(
    compute: Compute, ear: Ear, denoise: ModelFile
) -> None:
    stack = Stack(5)
    for _ in range(3):
        stack.may_read.acquire()
    job_id = compute.submit(Apply(denoise, Picture(stack, "ZYX"), planes(5)))
    while len([e for e in ear.of(job_id) if isinstance(e, PlaneDone)]) < 2:
        ear.wait_more()
    compute.stop(job_id)
    assert isinstance(ear.end(job_id), Stopped)
    stack.may_read.release(3)
    assert isinstance(ear.end(compute.submit(Act(at_once))), Finished)


def test_a_plane_that_cannot_be_read_is_left_out_and_named(compute: Compute, ear: Ear, denoise: ModelFile) -> None:
    message = "left out: plane (2,) of 'liver' cannot be read (OSError: the disk is gone): check the file"
    picture = Picture(Stack(4, fails_at=2), "ZYX", "liver")
    job_id = compute.submit(Apply(denoise, picture, planes(4)))
    assert ear.end(job_id).details == {"n_planes": 3}
    assert [e.message for e in ear.of(job_id) if isinstance(e, PlaneLeftOut)] == [message]
    assert {e.index for e in ear.of(job_id) if isinstance(e, PlaneDone)} == {(0,), (1,), (3,)}
    end = ear.end(compute.submit(Apply(denoise, picture, ((2,),))))
    assert isinstance(end, Failed) and end.message == message


def test_a_plane_without_a_finite_pixel_is_left_out_and_named(compute: Compute, ear: Ear, denoise: ModelFile) -> None:
    stack = np.stack([IMAGE] * 3).astype(np.float32)
    stack[1] = np.nan
    job_id = compute.submit(Apply(denoise, Picture(stack, "ZYX", "series"), planes(3)))
    assert ear.end(job_id).details == {"n_planes": 2}
    (left_out,) = [e for e in ear.of(job_id) if isinstance(e, PlaneLeftOut)]
    assert left_out.index == (1,) and "plane (1,) of 'series' is left out: the image has no finite" in left_out.message
    end = ear.end(compute.submit(Apply(denoise, Picture(stack, "ZYX", "series"), ((1,),))))
    assert isinstance(end, Failed) and "no finite pixel" in end.message and not end.traceback


def test_a_model_is_sent_once_and_again_to_a_new_worker(compute: Compute, ear: Ear, denoise: ModelFile) -> None:
    job = Apply(denoise, picture_of(IMAGE), ((),))
    assert compute._session is not None and compute._session.cluster is not None
    kept = compute._session.cluster.result()._models
    ear.end(compute.submit(job))
    first = kept[denoise.card.id + denoise.card.sha256]
    ear.end(compute.submit(job))
    assert kept[denoise.card.id + denoise.card.sha256] is first
    compute.kill_worker()  # idle: no job is lost, but the model is
    while first.status == "finished":
        ear.wait_more(0.01)
    assert isinstance(ear.end(compute.submit(job)), Finished)


def test_a_worker_killed_between_planes_is_lost(compute: Compute, ear: Ear, denoise: ModelFile) -> None:
    stack = Stack(6)
    for _ in range(4):
        stack.may_read.acquire()
    job_id = compute.submit(Apply(denoise, Picture(stack, "ZYX"), planes(6)))
    while len([e for e in ear.of(job_id) if isinstance(e, PlaneDone)]) < 2:
        ear.wait_more()
    compute.kill_worker()
    stack.may_read.release(4)
    # the worker may be replaced before the next plane is sent; what was sent to the old one is gone
    assert isinstance(ear.end(job_id), Lost | Finished)
    assert isinstance(ear.end(compute.submit(Apply(denoise, picture_of(IMAGE), ((),)))), Finished)


def test_generators_stay_warm_but_not_all_of_them(denoise: ModelFile) -> None:
    bench = jobs.Bench("cpu")
    first = bench.generator(denoise)
    assert bench.generator(denoise) is first
    for i in range(jobs.N_WARM_GENERATORS):
        bench.generator(replace(denoise, card=replace(denoise.card, id=str(i))))
    assert bench.generator(denoise) is not first


def test_a_stop_while_a_result_is_fetched_costs_no_later_result(
    compute: Compute, ear: Ear, denoise: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask shares one fetch among all who wait; cancelled before its first step, it would stay so for good."""
    fetch, stopped = Client._gather_remote, threading.Event()

    def stop_now(client: Client, *args: Any) -> Any:
        if not stopped.is_set():
            stopped.set()
            assert compute._session is not None
            compute._with_errand(compute._session, job_id, lambda errand: errand.stop())
        return fetch(client, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "_gather_remote", stop_now)
        job_id = compute.submit(Apply(denoise, Picture(Stack(3), "ZYX"), planes(3)))
        assert isinstance(ear.end(job_id), Stopped) and stopped.is_set()
    assert isinstance(ear.end(compute.submit(Apply(denoise, picture_of(IMAGE), ((),)))), Finished)


def test_models_are_judged_side_by_side(compute: Compute, ear: Ear, segment: ModelFile) -> None:
    models = (segment, Shelf().read("classic"))
    end = ear.end(compute.submit(Judge(models, painted(), view())))
    assert isinstance(end, Finished) and end.model is None
    assert [v.name for v in end.details["verdicts"]] == ["em-segment", "classic"]
    assert all(v.held_out.confusion.mean_iou > 0.8 and v.view.shape == IMAGE.shape for v in end.details["verdicts"])


def test_a_judgement_of_one_class_fails_with_the_cure(compute: Compute, ear: Ear, segment: ModelFile) -> None:
    labels = np.ones(IMAGE.shape, np.uint8)
    end = ear.end(compute.submit(Judge((segment,), painting_of([IMAGE], [labels]))))
    assert isinstance(end, Failed) and "second class" in end.message and not end.traceback


def test_objects_keep_their_ids_along_z_and_are_measured(compute: Compute, ear: Ear, segment: ModelFile) -> None:
    tuned = ear.end(compute.submit(FineTune(segment, painted(), budget=Budget(steps=0)))).model
    stack = picture_of(np.stack([IMAGE, IMAGE[::-1], IMAGE]))
    job_id = compute.submit(Apply(tuned, stack, along_z(stack, (1,)), objects=Objects(1, smallest_px=200)))
    end = ear.end(job_id)
    planes = [e for e in ear.of(job_id) if isinstance(e, PlaneDone)]
    assert [p.index for p in planes] == [(1,), (2,), (0,)]
    assert all(p.values[48, 48] == 1 and p.values[2, 2] == 0 for p in planes)
    table = end.details["measures"].table()
    assert table["slices"].tolist()[0] == 3 and table["area"][0] == pytest.approx(3 * DISC.sum(), rel=0.1)


def test_a_plane_that_cannot_be_read_does_not_hold_up_the_objects_of_others(
    compute: Compute, ear: Ear, segment: ModelFile
) -> None:
    tuned = ear.end(compute.submit(FineTune(segment, painted(), budget=Budget(steps=0)))).model
    stack = Picture(Stack(3, fails_at=2), "ZYX")
    job_id = compute.submit(Apply(tuned, stack, along_z(stack, (1,)), objects=Objects(1, smallest_px=200)))
    assert ear.end(job_id).details["n_planes"] == 2
    assert [e.index for e in ear.of(job_id) if isinstance(e, PlaneDone)] == [(1,), (0,)]


def test_alternatives_are_those_of_the_seed(compute: Compute, ear: Ear, denoise: ModelFile) -> None:
    found = []
    for seed in (0, 0, 1):
        asked = Apply(denoise, picture_of(IMAGE), ((),), restoring=Restoring(n_alternatives=1), seed=seed)
        job_id = compute.submit(asked)
        ear.end(job_id)
        found.append(ear.wait(job_id, PlaneDone).maps["alternatives"])
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_a_look_ahead_leaves_the_features_for_the_fit_to_come(compute: Compute, ear: Ear, segment: ModelFile) -> None:
    elsewhere = painted()
    assert isinstance(ear.end(compute.submit(LookAhead(segment, view(), elsewhere))), Finished)

    def keys(bench: jobs.Bench, line: jobs.Line) -> Finished:
        return Finished(line._order.job_id, details={"keys": {place[1] for place in bench.features.kept}})

    assert {view().key, elsewhere.planes[0].key} <= ear.end(compute.submit(Act(keys))).details["keys"]
