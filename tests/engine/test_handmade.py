"""Hand-made features find what they are named after, wherever the tile begins."""

from __future__ import annotations

import torch

from napari_fewshot.engine.handmade import N_FEATURES, REACH_PX, handmade
from napari_fewshot.engine.look import features_at, spanning


def test_a_ramp_has_an_edge_and_no_curvature_at_any_scale() -> None:
    ramp = (torch.arange(128.0) / 128).expand(1, 1, 128, 128).contiguous()
    found = features_at([spanning(handmade(ramp), (slice(0, 128), slice(0, 128)))], torch.tensor([[60, 64], [64, 68]]))
    smooth, edge, high, low = found.view(2, N_FEATURES // 4, 4).unbind(2)
    assert torch.allclose(smooth, torch.tensor([[64.0], [68.0]]) / 128, atol=5e-3)
    assert torch.allclose(edge[0], torch.tensor([1, 1, 2, 4, 8]) / 128, rtol=0.05)  # per pixel of the scale's own grid
    assert high.abs().max() < 1e-3 and low.abs().max() < 1e-3


def test_a_bright_spot_curves_down_in_every_direction() -> None:
    y, x = torch.meshgrid(torch.arange(64.0) - 32, torch.arange(64.0) - 32, indexing="ij")
    spot = torch.exp(-(y**2 + x**2) / 50)[None, None]
    found = features_at([spanning(handmade(spot), (slice(0, 64), slice(0, 64)))], torch.tensor([[32, 32]]))
    assert (found.view(-1, 4)[:, 2:] < 0).all()


def test_nothing_beyond_the_reach_changes_a_pixel() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 1, 256, 256)
    yx = torch.randint(0, 256 - 2 * REACH_PX, (50, 2)) + REACH_PX
    other = x.clone()
    other[..., :8, :] = torch.rand(8, 256)
    below = yx[:, 0] >= 8 + REACH_PX
    a, b = (features_at([spanning(handmade(p), (slice(0, 256), slice(0, 256)))], yx[below]) for p in (x, other))
    assert below.any() and torch.allclose(a, b, atol=1e-6)
