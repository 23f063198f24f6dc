"""A training keeps to the image and the strokes it was started with, whatever the form says meanwhile."""

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Signal

from napari_fewshot.compute.events import Failed, Finished, Note, Preview, Stopped
from napari_fewshot.core.card import ClassLabel
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Extras
from napari_fewshot.core.shelf import ModelFile
from napari_fewshot.ui.classes import classes_of, name_classes, name_image
from napari_fewshot.ui.docks.extras_menu import ExtrasMenu
from napari_fewshot.ui.live import ANSWERS
from napari_fewshot.ui.models import Models
from napari_fewshot.ui.scene import Params
from napari_fewshot.ui.training import Trainer
from napari_fewshot.ui.work import Work

SETTLED_MS = 60


class Desk(QObject):
    """Stands in for a bridge: jobs lie here until a test wants to see them, messages are taken at once."""

    busy_changed = Signal(bool)
    is_busy = False

    def __init__(self):
        super().__init__()
        self.models, self.jobs, self.sent, self.saves = Models(), [], [], []
        self.looks, self.stopped = [], []

    def submit(self, make_job, title, finish=None):
        self.jobs.append(make_job)
        return Work(self, title, finish)

    def send(self, work, kind, make):
        self.sent.append(make())

    def call(self, function, then):
        try:
            result, error = function(), None
        except Exception as raised:
            result, error = None, raised
        then(result, error)

    def save(self, model, finish, then):
        self.saves.append(lambda: then(finish(model).card, None))

    def submit_for(self, hear, job):
        self.looks.append(job)
        return f"look {len(self.looks)}"

    def compute(self):
        return SimpleNamespace(stop=self.stopped.append)


@pytest.fixture
def desk(qapp):
    return Desk()


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def form():
    """What the form says; a test changes ``params``."""
    return SimpleNamespace(params=None)


@pytest.fixture
def trainer(viewer, desk, form):
    return Trainer(viewer, desk, lambda: form.params, desk)


@pytest.fixture
def painted(viewer, blobs):
    """Adds an image, and strokes of two classes on it."""

    def add(name, seed):
        image = viewer.add_image(np.random.default_rng(seed).integers(0, 255, (96, 128), np.uint8), name=name)
        labels = viewer.add_labels(np.zeros((96, 128), np.uint8))
        labels.paint((20, 20), 1)
        labels.paint((60, 60), 2)
        return Params("segment", "em-segment", image, labels)

    return add


@pytest.fixture
def tuned(desk):
    """A model of three classes as it comes from the worker."""
    model = desk.models.read("em-segment")
    classes = tuple(ClassLabel(f"class {k}", "#000000") for k in (1, 2, 3))
    return ModelFile.sealed(replace(model.card, name="em-segment", classes=classes, painted=(1, 2, 3)), model.weights)


def check_learns_from(params, job):
    """The job has the image and all the strokes that the form named."""
    (plane,) = job.painting.planes
    np.testing.assert_array_equal(plane.image, params.image.data)
    assert len(plane.strokes) == np.count_nonzero(params.labels.data)


def test_strokes_on_another_image_never_reach_a_training(trainer, desk, form, painted, qtbot):
    a, b = painted("a", 0), painted("b", 1)
    form.params = a
    trainer.fine_tune()
    desk.jobs[0]()
    form.params = b
    trainer.follow(b.labels)
    b.labels.paint((40, 100), 2)
    qtbot.wait(SETTLED_MS)
    assert not desk.sent
    a.labels.paint((40, 100), 1)
    qtbot.wait(SETTLED_MS)
    (painting,) = desk.sent
    np.testing.assert_array_equal(painting.planes[0].image, a.image.data)

    trainer.work.tell(Stopped(""))
    trainer.fine_tune()
    check_learns_from(b, desk.jobs[1]())


def test_strokes_removed_before_they_are_read_are_still_learned(trainer, desk, form, painted, viewer):
    form.params = painted("a", 0)
    trainer.fine_tune()
    viewer.layers.remove(form.params.labels)
    trainer.follow(None)
    assert desk.jobs[0]().painting.classes == (1, 2)


def test_resume_goes_on_with_the_image_and_strokes_it_had(trainer, desk, form, painted, tuned):
    a, b = painted("a", 0), painted("b", 1)
    form.params = a
    trainer.fine_tune()
    trainer.work.tell(Stopped("", tuned))
    form.params = b
    trainer.follow(b.labels)
    b.labels.paint((40, 100), 2)
    trainer.resume()
    check_learns_from(a, desk.jobs[1]())


def test_the_score_of_a_training_goes_by_the_name_of_its_job(trainer, desk, form, painted, tuned):
    names = []
    trainer.started.connect(lambda work, name: names.append(name))
    a = painted("a", 0)
    restored = replace(a, task="denoise", model="em-denoise")
    for params, end in ((restored, None), (replace(restored, target=painted("b", 1).image), None), (a, tuned)):
        form.params = params
        trainer.fine_tune()
        trainer.work.tell(Stopped("", end))
    form.params = restored
    trainer.resume()
    assert names == ["held-out gain", "held-out error removed", "held-out stroke IoU", "held-out stroke IoU"]


def test_resume_minds_not_that_the_version_was_renamed(trainer, desk, form, painted, tuned):
    form.params = painted("a", 0)
    trainer.fine_tune()
    card = desk.models.save(tuned)
    trainer.work.tell(Stopped("", replace(tuned, card=card)))
    desk.models.rename(card.name, "my best")
    said = []
    trainer.said.connect(lambda *what: said.append(what))
    trainer.resume()
    assert not said and desk.jobs[1]().model.weights == tuned.weights


def test_classes_named_while_it_trains_are_shown_and_kept(trainer, desk, form, painted, tuned, viewer):
    form.params = painted("a", 0)
    trainer.fine_tune()
    preview = Preview("", (), (0, 0), np.full((64, 64), 3, np.uint8))
    trainer.work.previewed.emit(preview)
    shown = viewer.layers["preview em-segment"]
    assert shown.get_color(3)[3] == 1  # painted before anybody named it
    labels = form.params.labels
    name_classes(labels, (*classes_of(labels), ClassLabel("membrane", "#00ff00")))
    trainer.renew_classes()
    np.testing.assert_allclose(shown.get_color(3), (0, 1, 0, 1))
    assert trainer.work.finish(tuned).card.classes[2] == ClassLabel("membrane", "#00ff00")


def test_a_live_model_may_be_saved_after_its_dock_is_gone(viewer, desk, form, painted, tuned, qapp):
    form.params = painted("a", 0)
    dock = QObject()
    trainer = Trainer(viewer, desk, lambda: form.params, dock)
    saved = []
    trainer.live.saved.connect(lambda card, notes: saved.append(card))
    for n_saved in (1, 1):
        trainer.live.switch(True)
        trainer.live.work.tell(Finished("", tuned))
        trainer.live.switch(False)
        if saved:
            dock.deleteLater()
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        desk.saves.pop()()
        assert len(saved) == n_saved


def test_live_switched_off_waits_for_the_refit_that_runs(trainer, desk, form, painted, tuned):
    form.params = painted("a", 0)
    kept, not_kept = [], []
    trainer.live.saved.connect(lambda card, notes: kept.append(card))
    trainer.live.not_kept.connect(lambda: not_kept.append(1))
    trainer.live.switch(True)
    trainer.live.work.tell(Finished("", tuned))
    trainer.live.refit()
    trainer.live.switch(False)
    assert trainer.live.is_learning and not desk.saves
    trainer.live.refit()  # one more stroke came before
    newer = ModelFile.sealed(replace(tuned.card, seed=7), tuned.weights)
    trainer.live.work.tell(Finished("", tuned))
    assert len(desk.jobs) == 3 and not desk.saves
    trainer.live.work.tell(Finished("", newer))
    (save,) = desk.saves
    save()
    assert [card.seed for card in kept] == [7] and not trainer.live.is_learning and not not_kept


@pytest.mark.parametrize("end", [Failed("", "too few strokes"), Stopped("")])
def test_live_that_led_to_nothing_says_so(trainer, desk, form, painted, end):
    form.params = painted("a", 0)
    told = []
    trainer.live.not_kept.connect(lambda: told.append(1))
    trainer.live.switch(True)
    trainer.live.switch(False)
    assert not told
    trainer.live.work.tell(end)
    assert told and not desk.saves and not trainer.live.is_learning


def test_a_restoration_shown_by_live_is_nothing_to_wait_for(trainer, desk, form, painted):
    form.params = replace(painted("a", 0), task="denoise", model="em-denoise")
    trainer.live.switch(True)
    assert trainer.live.work.is_running and not trainer.live.is_learning


def test_live_looks_at_a_region_on_the_grey_scale_of_its_plane(trainer, desk, form, viewer):
    plane = np.linspace(0, 60_000, 1200 * 1300).reshape(1200, 1300).astype(np.uint16)
    image = viewer.add_image(plane)
    form.params = Params("denoise", "em-denoise", image)
    trainer.live.switch(True)
    job = desk.jobs[0]()
    assert job.picture.shape != plane.shape
    assert job.intensity == trainer._scene.reader.take_intensity(()) != Intensity.measure(job.picture.take_plane(()))


@pytest.mark.parametrize("n_channels", [3, 1])
def test_a_target_with_channels_gives_that_on_display(trainer, desk, form, viewer, n_channels):
    planes = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 80), np.uint8)
    named = {"axis_labels": ("t", "c", "y", "x")}
    image = viewer.add_image(planes, **named)
    better = viewer.add_image(255 - (planes if n_channels == 3 else planes[:, 2:]), **named)
    viewer.dims.set_point([0, 1], [1, 2])
    form.params = Params("denoise", "em-denoise", image, target=better)
    trainer.fine_tune()
    job = desk.jobs[0]()
    assert len(job.pairs) == 2
    for (noisy, target), t in zip(job.pairs, (1, 0), strict=True):
        np.testing.assert_array_equal(noisy, planes[t, 2])
        np.testing.assert_array_equal(target, 255 - planes[t, 2])


def test_strokes_are_nothing_to_a_restoration(trainer, desk, form, painted, qtbot):
    """They neither reach its training nor renew its Live preview."""
    strokes = painted("a", 0)
    form.params = replace(strokes, task="denoise", model="em-denoise")
    trainer.follow(strokes.labels)
    trainer.fine_tune()
    strokes.labels.paint((40, 100), 2)
    qtbot.wait(SETTLED_MS)
    assert not desk.sent
    trainer.work.tell(Stopped(""))
    trainer.live.switch(True)
    trainer.live.work.tell(Stopped(""))
    strokes.labels.paint((50, 100), 2)
    qtbot.wait(SETTLED_MS)
    assert len(desk.jobs) == 2


def shown_and_ended(trainer, form, params, end):
    form.params = params
    trainer.fine_tune()
    trainer.work.previewed.emit(Preview("", (), (0, 0), np.ones((64, 64), np.uint8)))
    trainer.work.tell(end)


def test_a_removed_image_is_neither_resumed_nor_shown_nor_kept(trainer, desk, form, painted, tuned, viewer, qtbot):
    shown_and_ended(trainer, form, painted("a", 0), Stopped("", tuned))
    assert trainer.can_resume and "preview em-segment" in viewer.layers
    image = weakref.ref(form.params.image)
    form.params = None
    desk.jobs.clear()
    trainer.work.deleteLater()
    viewer.layers.remove("a")
    assert not trainer.can_resume
    qtbot.waitUntil(lambda: "preview em-segment" not in viewer.layers)
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    assert image() is None


def test_the_image_of_another_training_may_be_removed(trainer, form, painted, tuned, viewer, qtbot):
    painted("b", 1)
    shown_and_ended(trainer, form, painted("a", 0), Stopped("", tuned))
    viewer.layers.remove("b")
    qtbot.wait(SETTLED_MS)
    assert trainer.can_resume and "preview em-segment" in viewer.layers


def test_an_image_removed_while_it_is_trained_is_shown_until_the_end_and_not_resumed(
    trainer, form, painted, tuned, viewer, qtbot
):
    gone = []
    trainer.image_gone.connect(lambda: gone.append(1))
    form.params = painted("a", 0)
    trainer.fine_tune()
    trainer.work.previewed.emit(Preview("", (), (0, 0), np.ones((64, 64), np.uint8)))
    viewer.layers.remove("a")
    qtbot.wait(SETTLED_MS)
    assert "preview em-segment" in viewer.layers and not gone
    trainer.work.tell(Stopped("", tuned))
    assert gone and not trainer.can_resume
    qtbot.waitUntil(lambda: "preview em-segment" not in viewer.layers)


def test_strokes_that_were_removed_are_not_gone_on_with(trainer, desk, form, painted, tuned, viewer):
    a, b = painted("a", 0), painted("b", 1)
    form.params = a
    trainer.fine_tune()
    trainer.work.tell(Stopped("", tuned))
    viewer.layers.remove(a.labels)
    form.params = b
    assert not trainer.can_resume
    trainer.resume()
    assert len(desk.jobs) == 1
    form.params = replace(a, labels=None)
    assert not trainer.can_resume
    form.params = replace(a, labels=b.labels)  # others on the same image
    assert trainer.can_resume
    trainer.resume()
    assert len(desk.jobs) == 2


def test_what_a_training_noted_is_known_when_it_has_ended(trainer, desk, form, painted, tuned):
    form.params = painted("a", 0)
    for end in (Finished("1", tuned), Stopped("1")):
        trainer.fine_tune()
        for note in (Note("1", "too few strokes"), Note("", "of the last stroke"), Note("1", "too few strokes")):
            trainer.work.tell(note)
        trainer.work.tell(end)
        assert trainer.notes == ["too few strokes"]
    trainer.fine_tune()
    trainer.work.tell(Finished("1", tuned))
    assert trainer.notes == []


def test_a_slice_without_a_finite_pixel_on_display_keeps_no_training_from_beginning(trainer, desk, form, viewer):
    planes = np.random.default_rng(0).random((2, 96, 128)).astype(np.float32)
    planes[1] = np.nan
    image = viewer.add_image(planes, contrast_limits=(0, 1))
    labels = viewer.add_labels(np.zeros(planes.shape, np.uint8))
    for at, k in (((0, 20, 20), 1), ((0, 60, 60), 2)):
        labels.paint(at, k)
    viewer.dims.set_current_step(0, 1)
    form.params = Params("segment", "em-segment", image, labels)
    trainer.fine_tune()
    job = desk.jobs[0]()
    assert len(job.painting.planes) == 1
    assert np.isfinite(job.view.intensity.to_unit(job.view.image)).all()


def test_a_training_tells_which_strokes_it_leaves_out(trainer, desk, form, viewer, tuned):
    planes = np.random.default_rng(0).random((4, 96, 128)).astype(np.float32)
    planes[2] = np.nan
    image = viewer.add_image(planes, contrast_limits=(0, 1))
    viewer.dims.set_current_step(0, 0)
    labels = viewer.add_labels(np.zeros(planes.shape, np.uint8))
    for at, k in (((0, 20, 20), 1), ((0, 60, 60), 2), ((2, 30, 30), 1)):
        labels.paint(at, k)
    form.params = Params("segment", "em-segment", image, labels)
    said = []
    trainer.said.connect(lambda *what: said.append(what))
    call, calls = desk.call, []
    desk.call = lambda *what: calls.append(what)  # comes after the job, as in a bridge
    trainer.fine_tune()
    assert len(desk.jobs[0]().painting.planes) == 1
    call(*calls[0])
    ((sentence, is_failure),) = said
    assert "slice 2" in sentence and "left out" in sentence and not is_failure
    trainer.work.tell(Finished("1", tuned))
    assert trainer.notes == [sentence]


def test_what_is_ticked_beside_the_strokes_reaches_the_training(trainer, desk, form, painted):
    form.params = replace(painted("a", 0), extras=Extras(contrast=True, copy_paste=True))
    trainer.fine_tune()
    assert desk.jobs[0]().extras == Extras(contrast=True, copy_paste=True)


def test_the_menu_counts_what_is_ticked(qtbot):
    menu = ExtrasMenu()
    qtbot.addWidget(menu)
    assert menu.text() == "+" and menu.extras == Extras()
    menu.copy_paste.setChecked(True)
    assert menu.text() == "+1" and menu.extras == Extras(copy_paste=True)


@pytest.fixture
def two_images(painted, form):
    """The form at image b, with strokes made for it; the parameters of image a, painted too."""
    a, b = painted("a", 0), painted("b", 1)
    for params in (a, b):
        name_image(params.labels, params.image)
    form.params = replace(b, other_images=True)
    return a, b


def seen_by(painting):
    """Names of the images by their first pixel, and how much is painted on each."""
    return {int(plane.image[0, 0]): len(plane.strokes) for plane in painting.planes}


def on(*all_params):
    return {int(p.image.data[0, 0]): np.count_nonzero(p.labels.data) for p in all_params}


def test_strokes_on_other_images_are_learned_from_when_that_is_wished(trainer, desk, form, two_images):
    a, b = two_images
    trainer.fine_tune()
    assert seen_by(desk.jobs[0]().painting) == on(a, b) and "with the strokes on 'a'" in trainer.work.title
    trainer.work.tell(Stopped(""))
    form.params = b
    trainer.fine_tune()
    assert seen_by(desk.jobs[1]().painting) == on(b) and "'a'" not in trainer.work.title


def test_strokes_on_another_image_join_while_it_trains_and_are_sent_once(trainer, desk, two_images, qtbot):
    a, b = two_images
    trainer.fine_tune()
    desk.jobs[0]()
    a.labels.paint((40, 100), 1)
    qtbot.wait(SETTLED_MS)
    (painting,) = desk.sent
    assert seen_by(painting) == on(a, b)
    trainer._on_strokes_settled()
    assert desk.sent == [painting, None]


def test_an_image_that_is_painted_first_while_it_trains_joins_too(trainer, desk, form, viewer, painted, qtbot):
    b = painted("b", 1)
    form.params = replace(b, other_images=True)
    trainer.fine_tune()
    assert seen_by(desk.jobs[0]().painting) == on(b)
    a = painted("a", 0)
    name_image(a.labels, a.image)
    late = viewer.add_labels(np.zeros_like(a.labels.data), name="late")
    name_image(late, a.image)
    qtbot.wait(SETTLED_MS)
    late.paint((40, 100), 1)
    qtbot.wait(SETTLED_MS)
    assert seen_by(desk.sent[-1]) == on(
        b, replace(a, labels=late)
    )  # the topmost made for an image is that of the image


def test_live_and_looking_ahead_learn_from_other_images_too(trainer, desk, two_images, qtbot):
    a, b = two_images
    trainer.live.switch(True)
    assert seen_by(desk.jobs[0]().painting) == on(a, b)
    trainer.live.work.tell(Stopped(""))
    a.labels.paint((40, 100), 1)
    qtbot.wait(SETTLED_MS)
    assert seen_by(desk.jobs[1]().painting) == on(a, b)


def test_another_image_that_cannot_be_used_is_left_out_and_named(trainer, desk, two_images, viewer, painted):
    a, b = two_images
    said = []
    trainer.said.connect(lambda *what: said.append(what))

    class Broken:
        shape, dtype, ndim = (96, 128), np.dtype(np.uint8), 2

        def __getitem__(self, where):
            raise OSError("disk gone")

    a.image.data = np.zeros((32, 32), np.uint8)  # other pixels than what was painted on
    c, d = painted("c", 2), painted("d", 3)
    for params in (c, d):
        name_image(params.labels, params.image)
    trainer.fine_tune()
    make, other = desk.jobs[0], trainer._others._others[str(d.labels.unique_id)]
    other.reader.picture = replace(other.reader.picture, data=Broken())
    assert seen_by(make().painting) == on(b, c)
    for _ in range(2):
        trainer._orders.take_new_painting(trainer._scene)
    (message,) = [text for text, _ in said if "left out" in text]
    assert "'a'" in message and "disk gone" in message and "'d'" in message
    viewer.layers.remove(c.image)
    trainer._others._follow()  # reads the other one anew
    assert seen_by(trainer._orders.take_new_painting(trainer._scene)) == on(b, d)


def test_what_is_declared_good_reaches_the_training_of_a_restoration(trainer, desk, form, painted):
    params = painted("a", 0)
    form.params = replace(params, task="denoise", model="em-denoise", labels=None, target=params.labels)
    trainer.fine_tune()
    ((plane, regions),) = desk.jobs[0]().pairs
    np.testing.assert_array_equal(plane, params.image.data)
    np.testing.assert_array_equal(regions.labels, params.labels.data)


def test_a_look_ahead_gives_way_to_the_user_and_is_taken_up_again(trainer, desk, form, painted, qtbot):
    form.params = painted("a", 0)
    trainer.follow(form.params.labels)
    for n in (1, 1):  # the same place is looked at once
        form.params.labels.paint((20, 40 + n), 1)
        qtbot.wait(SETTLED_MS)
        assert len(desk.looks) == 1 and not desk.stopped
    desk.busy_changed.emit(True)
    desk.busy_changed.emit(True)
    assert desk.stopped == ["look 1"]
    desk.busy_changed.emit(False)
    form.params.labels.paint((20, 50), 1)
    qtbot.wait(SETTLED_MS)
    assert len(desk.looks) == 2


def test_a_look_ahead_that_could_not_be_handed_in_is_tried_again(trainer, desk, form, painted, qtbot, monkeypatch):
    form.params = painted("a", 0)
    trainer.follow(form.params.labels)
    with monkeypatch.context() as patch:
        patch.setattr(desk.models, "read", lambda name: 1 / 0)
        form.params.labels.paint((20, 40), 1)
        qtbot.wait(SETTLED_MS)
        assert not desk.looks
    form.params.labels.paint((20, 50), 1)
    qtbot.wait(SETTLED_MS)
    assert len(desk.looks) == 1


def test_live_says_that_it_works_and_again_when_what_it_complained_of_is_cured(trainer, form, painted, tuned):
    form.params = painted("a", 0)
    told = []
    trainer.live.said.connect(lambda sentence, is_failure: told.append(sentence))
    trainer.live.switch(True)
    for end in (Failed("", "only class 1 is painted"), Finished("", tuned), Finished("", tuned)):
        trainer.live.work.tell(end)
        trainer.live.refit()
    assert told == ["only class 1 is painted", ANSWERS]
    form.params = replace(form.params, image=None)
    trainer.live.work.tell(Finished("", tuned))
    trainer.live.refit()
    assert len(told) == 3 and "no image layer" in told[-1]
