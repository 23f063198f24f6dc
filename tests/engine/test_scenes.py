"""Claims about drawn scenes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fewshot.engine.pretexts import scenes


@pytest.mark.parametrize("layout", list(scenes.LAYOUTS))
def test_every_layout_has_classes_from_one_on(layout: str) -> None:
    for seed in range(10):
        classes = scenes.LAYOUTS[layout](96, np.random.default_rng(seed))
        assert classes.shape == (96, 96) and classes.min() >= 1 and classes.max() <= 4


def test_a_scene_is_the_same_for_the_same_seed_and_mostly_within_the_unit_range() -> None:
    image, classes = scenes.draw_scene(96, np.random.default_rng(3))
    again, _ = scenes.draw_scene(96, np.random.default_rng(3))
    np.testing.assert_array_equal(image, again)
    assert image.dtype == np.float32 and classes.dtype == np.uint8
    many = np.stack([scenes.draw_scene(64, np.random.default_rng(s))[0] for s in range(40)])
    assert np.isfinite(many).all() and np.mean((many > -0.1) & (many < 1.2)) > 0.95


def test_classes_differ_in_what_can_be_seen() -> None:
    """A classifier of nothing but the smoothed grey level finds most pixels of most scenes."""
    found = []
    for seed in range(30):
        image, classes = scenes.draw_scene(96, np.random.default_rng(seed))
        means = {k: image[classes == k].mean() for k in np.unique(classes)}
        nearest = np.stack([np.abs(image - m) for m in means.values()]).argmin(0)
        found.append(np.mean(np.array(list(means))[nearest] == classes))
    assert np.median(found) > 0.8
