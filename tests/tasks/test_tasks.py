import numpy as np
import pytest

from napari_fewshot import samples
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.scores import psnr
from napari_fewshot.tasks import TASKS

RESTORING = [(task, factor) for task in TASKS.values() if task.corrupt for factor in task.models.values()]


@pytest.fixture(scope="module")
def clean():
    image = samples.image("superalloy")[:129, :130]
    return Intensity.measure(image).to_unit(image)


def test_every_task_has_words_and_a_model_and_model_names_are_unique():
    names = [model for task in TASKS.values() for model in task.models]
    assert names and len(names) == len(set(names))
    assert all(task.title and task.hint and TASKS[task.name] is task for task in TASKS.values())


@pytest.mark.parametrize(("task", "factor"), RESTORING, ids=lambda v: getattr(v, "name", v))
def test_training_pairs_fit_each_other_and_come_again_with_their_seed(task, factor, clean):
    clean = clean[: 128 // factor * factor, : 128 // factor * factor]
    spoilt, target = task.corrupt(clean, factor, np.random.default_rng(1))
    again, _ = task.corrupt(clean, factor, np.random.default_rng(1))
    assert tuple(n * factor for n in spoilt.shape) == target.shape
    assert spoilt.dtype == target.dtype == np.float32 and np.isfinite(spoilt).all()
    np.testing.assert_array_equal(spoilt, again)
    lifted, with_support = task.corrupt(clean, factor, np.random.default_rng(1), np.full_like(clean, 0.2))
    assert lifted.mean() > spoilt.mean() + 0.1  # the film below is seen; whether it is wanted too, the task says
    np.testing.assert_allclose(with_support - target, 0.0 if task.name == "remove_background" else 0.2, atol=1e-5)
    assert psnr(spoilt.repeat(factor, 0).repeat(factor, 1), target) < 35
