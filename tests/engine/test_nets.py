"""Backbones know their receptive field and grid; their norm looks at one pixel only."""

from __future__ import annotations

import pytest
import torch

from napari_fewshot.core.errors import ModelError
from napari_fewshot.engine.nets import NETS, build_net
from napari_fewshot.engine.nets.residual_unet import PixelGroupNorm


@pytest.mark.parametrize("name", NETS)
def test_nothing_beyond_the_radius_reaches_a_pixel(name: str) -> None:
    torch.manual_seed(0)
    net = build_net({"name": name, "widths": [8, 8, 16]})
    side = 4 * (net.radius_px // net.align_px + 1) * net.align_px
    x = torch.rand(1, 1, side, side, requires_grad=True)
    centre = side // 2
    for y in range(centre, centre + net.align_px):  # the reach depends on where a pixel lies in the pooling grid
        grad = torch.autograd.grad(net(x)[0][0, 0, y, y], x)[0][0, 0]
        rows = grad.abs().sum(1).nonzero()[:, 0]
        reach = max(y - int(rows.min()), int(rows.max()) - y)
        assert net.radius_px - net.align_px <= reach <= net.radius_px


def test_levels_halve_the_resolution() -> None:
    net = build_net({"name": "residual-unet", "widths": [8, 16, 24]})
    shapes = [tuple(f.shape[1:]) for f in net(torch.rand(1, 1, 16, 32))]
    assert shapes == [(8, 16, 32), (16, 8, 16), (24, 4, 8)]


def test_norm_does_not_mix_pixels() -> None:
    norm, x = PixelGroupNorm(8), torch.rand(1, 8, 4, 4)
    changed = x.clone()
    changed[..., 0, 0] += 1.0
    assert torch.equal(norm(x)[..., 1:, 1:], norm(changed)[..., 1:, 1:])


@pytest.mark.parametrize("description", [{"name": "perceptron"}, {"name": "residual-unet", "depth": 3}])
def test_a_network_that_cannot_be_built_names_the_cure(description: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"update|export"):
        build_net(description)
