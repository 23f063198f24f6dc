"""The public contract: load, fine_tune, predict, models on arrays, with clear sentences for what cannot work."""

import dask.array
import numpy as np
import pytest

import napari_fewshot as nf
from napari_fewshot.compute.events import Finished, Progress
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.simulate import simulate_strokes

EMBEDDED = {"em-segment", "em-denoise", "em-superres-x2", "em-superres-x4", "em-background"}


@pytest.fixture(scope="module")
def denoiser():
    return nf.load("em-denoise")


@pytest.fixture(scope="module")
def segmenter():
    return nf.load("em-segment")


@pytest.fixture
def painted(disc):
    return simulate_strokes(disc[1], 2)


def test_the_embedded_models_are_listed_as_cards():
    cards = nf.models()
    assert {c.name for c in cards} >= EMBEDDED and all(isinstance(c, ModelCard) for c in cards)
    assert issubclass(nf.FewshotError, ValueError) and nf.__version__


def test_strokes_become_classes_of_every_pixel(segmenter, disc, painted):
    image, truth = disc
    tuned = nf.fine_tune(segmenter, image, painted, steps=0)
    classes, uncertainty = nf.predict(tuned, image, uncertainty=True)
    assert classes.dtype == np.uint8 and set(np.unique(classes)) <= {1, 2}
    assert (classes == truth).mean() > 0.8
    assert uncertainty.dtype == np.float32 and uncertainty.shape == image.shape
    assert 0 <= uncertainty.min() <= uncertainty.max() <= 1
    assert tuned.card.parent == segmenter.card.id and not segmenter.has_head


def test_the_same_seed_gives_the_same_result(segmenter, disc, painted):
    results = [nf.predict(nf.fine_tune(segmenter, disc[0], painted, steps=2, seed=4), disc[0]) for _ in range(2)]
    np.testing.assert_array_equal(*results)


def test_a_saved_generator_predicts_the_same(segmenter, disc, painted, tmp_path):
    tuned = nf.fine_tune(segmenter, disc[0], painted, steps=0)
    card = tuned.save(tmp_path / "mine")
    again = nf.load(tmp_path / "mine")
    assert again.card == card and sorted(p.name for p in (tmp_path / "mine").iterdir()) == [
        "card.json",
        "model.safetensors",
    ]
    assert (nf.predict(again, disc[0]) == nf.predict(tuned, disc[0])).mean() > 0.999


def test_a_generator_saved_as_a_zip_file_is_loaded_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = nf.load("em-denoise").save("mine.zip")
    assert (tmp_path / "mine.zip").is_file() and card.name == "mine"
    assert nf.load("mine.zip").card == card


def test_stacks_lists_and_lazy_arrays_are_all_the_same(segmenter, disc, painted):
    image, blank = disc[0], np.zeros_like(painted)
    ways = [
        (image, painted),
        (np.stack([image, image]), np.stack([blank, painted])),
        ([image, image[:64]], [painted, blank[:64]]),
        (dask.array.from_array(image), dask.array.from_array(painted)),
    ]
    tuned = [nf.fine_tune(segmenter, images, strokes, steps=0) for images, strokes in ways]
    results = [nf.predict(t, image) for t in tuned]
    for result in results[1:]:
        assert (result == results[0]).mean() > 0.99
    many = nf.predict(tuned[0], [image, np.stack([image] * 2)])
    assert [m.shape for m in many] == [image.shape, (2, *image.shape)]
    np.testing.assert_array_equal(many[1][1], results[0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
def test_a_restored_image_keeps_dtype_and_range(denoiser, disc, dtype):
    image = disc[0].astype(dtype)
    result = nf.predict(denoiser, image)
    assert result.dtype == (np.float32 if dtype.startswith("float") else dtype) and result.shape == image.shape
    assert abs(float(result.mean()) - float(disc[0].mean())) < 0.2 * float(disc[0].std())


@pytest.mark.parametrize("factor", [2, 4])
def test_super_resolution_makes_factor_times_as_many_pixels(disc, factor):
    result = nf.predict(nf.load(f"em-superres-x{factor}"), np.stack([disc[0]] * 2))
    assert result.shape == (2, 96 * factor, 128 * factor)


def test_a_restoration_learns_from_targets_or_from_images_alone(denoiser, disc):
    image, truth = disc
    for target in (truth * np.uint8(90), None):
        tuned = nf.fine_tune(denoiser, image, target, steps=1)
        assert tuned.card.parent == denoiser.card.id and nf.predict(tuned, image).shape == image.shape


def test_events_tell_progress_and_end_with_the_model(segmenter, disc, painted):
    events = []
    tuned = nf.fine_tune(segmenter, disc[0], painted, steps=2, on_event=events.append)
    assert isinstance(events[-1], Finished) and events[-1].model.card.parent == tuned.card.parent
    assert any(isinstance(e, Progress) for e in events) and all(e.job_id == "" for e in events)
    planes = []
    nf.predict(tuned, np.stack([disc[0]] * 2), on_event=planes.append)
    assert [(e.done, e.total) for e in planes] == [(1, 2), (2, 2)]


def test_a_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "em-denoise").mkdir()
    assert nf.load("em-denoise").card.task == "denoise"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image, painted: (image, None), "learns from strokes"),
        (lambda image, painted: (image, painted * 0), "nothing is painted"),
        (lambda image, painted: (image, (painted > 0) * 1), "only class 1"),
        (lambda image, painted: (image, painted[:50]), "must be equal"),
        (lambda image, painted: (image, painted.astype(float)), "use integers"),
        (lambda image, painted: (image[:20], painted[:20]), "at least 32 px in Y, got 20"),
        (lambda image, painted: (image * 0, painted), "constant"),
        (lambda image, painted: (image * np.nan, painted), "no finite pixel"),
        (lambda image, painted: (image[(None,) * 4], painted[(None,) * 4]), "has 6 axes"),
        (lambda image, painted: ([image, image], [painted]), "2 images and 1 strokes"),
        (lambda image, painted: ([], []), "list of images is empty"),
        (lambda image, painted: (image.astype(complex), painted), "convert it"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_with_a_cure(segmenter, disc, painted, change, message):
    with pytest.raises(nf.FewshotError, match=message):
        nf.fine_tune(segmenter, *change(disc[0], painted), steps=0)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"seconds": 0}, "positive"),
        ({"steps": -1}, "negative"),
        ({"seed": -1}, "whole number"),
        ({"seed": 0.5}, "whole"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(segmenter, disc, painted, budget, message):
    with pytest.raises(nf.FewshotError, match=message):
        nf.fine_tune(segmenter, disc[0], painted, **budget)


def test_what_cannot_be_predicted_is_refused_with_a_cure(segmenter, denoiser, disc):
    image = disc[0]
    for generator, bad, message in [
        (segmenter, image, "stroke"),
        (denoiser, image[:20], "at least 32 px"),
        (denoiser, np.full((64, 64), np.nan), "no finite pixel"),
        (denoiser, np.zeros((0, 64, 64)), "no plane"),
        (denoiser, image[(None,) * 4], "6 axes"),
    ]:
        with pytest.raises(nf.FewshotError, match=message):
            nf.predict(generator, bad)


def test_a_target_of_the_wrong_size_is_refused(disc):
    with pytest.raises(nf.FewshotError, match=r"must be \(192, 256\)"):
        nf.fine_tune(nf.load("em-superres-x2"), disc[0], disc[0], steps=1)


def test_unknown_and_damaged_models_are_refused(tmp_path):
    with pytest.raises(nf.FewshotError, match="choose one of"):
        nf.load("em-nothing")
    with pytest.raises(nf.FewshotError, match="not a model folder"):
        nf.load(tmp_path)
    with pytest.raises(nf.FewshotError, match="there is no device"):
        nf.load("em-denoise", "cuda:99")


def test_unknown_names_of_the_package_raise_attribute_errors():
    with pytest.raises(AttributeError, match="nothing"):
        nf.nothing  # noqa: B018
    assert {"load", "predict", "fine_tune", "models", "FewshotError", "__version__"} <= set(dir(nf))


def test_too_little_memory_anywhere_is_a_clear_error(denoiser, disc, monkeypatch):
    def no_memory(*what):
        raise MemoryError("Unable to allocate 33 MiB for an array")

    monkeypatch.setattr("napari_fewshot.engine.restorer.Noise.measure", no_memory)
    with pytest.raises(nf.FewshotError, match="close other programs"):
        nf.predict(denoiser, disc[0])


class TooLarge:
    """An image that does not fit into memory."""

    shape, dtype = (1, 64, 64), np.dtype(np.uint8)

    def __getitem__(self, where):
        raise MemoryError


@pytest.mark.parametrize(
    "call",
    [lambda model: nf.suggest(model, TooLarge()), lambda model: nf.objects(TooLarge())],
    ids=["suggest", "objects"],
)
def test_too_little_memory_is_told_with_a_cure(segmenter, disc, painted, call):
    tuned = nf.fine_tune(segmenter, disc[0], painted, steps=0)
    with pytest.raises(nf.FewshotError, match="close other programs"):
        call(tuned)
