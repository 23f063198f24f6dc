"""Claims about drawn atoms."""

from __future__ import annotations

import numpy as np

from napari_fewshot.engine.pretexts.atoms import draw_atoms


def test_atoms_are_the_same_for_the_same_seed_and_mostly_within_the_unit_range() -> None:
    again, drawn = (draw_atoms(96, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(drawn, again)
    assert all(image.dtype == np.float32 and image.shape == (96, 96) for image in drawn)
    many = np.stack([sum(draw_atoms(64, np.random.default_rng(s))) for s in range(40)])
    assert np.isfinite(many).all() and np.mean((many > -0.1) & (many < 1.2)) > 0.95


def test_a_lattice_stands_out_of_most_spectra() -> None:
    """The strongest frequency of a crystal has far more than its share of the power; that of noise has not."""
    shares = []
    for seed in range(30):
        image, _ = draw_atoms(128, np.random.default_rng(seed))
        smooth = np.outer(np.hanning(128), np.hanning(128)) * (image - image.mean())
        power = np.abs(np.fft.rfft2(smooth)) ** 2
        power[:3, :3] = power[-2:, :3] = 0  # what is wider than the lattice
        shares.append(power.max() / power.mean())
    assert np.median(shares) > 100
