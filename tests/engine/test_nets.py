"""Backbones know their receptive field and grid; their norm looks at one pixel only, so tiles leave no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_fewshot.core.errors import ModelError
from napari_fewshot.engine.nets import NETS, build_net
from napari_fewshot.engine.nets.backbone import Backbone
from napari_fewshot.engine.nets.receptive_unet import DILATIONS, ReceptiveUNet
from napari_fewshot.engine.nets.residual_unet import PixelGroupNorm
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.widen import take_over

SMALL: list[dict[str, Any]] = [
    {"name": "residual-unet", "widths": [8, 8, 16]},
    {"name": "receptive-unet", "receptive_px": 44},
    {"name": "receptive-unet", "receptive_px": 116},
    {"name": "hrnet", "widths": [4, 8, 8]},
    {"name": "hrnet", "widths": [4, 8], "blocks": 2},
]
TITLES = ["-".join(map(str, net.values())) for net in SMALL]


def reached(net: Backbone, y: int) -> tuple[int, int]:
    """How many rows above and below a pixel of row ``y`` change its finest features; a narrow strip has all rows."""
    above = (net.radius_px // net.align_px + 1) * net.align_px
    x = torch.rand(2, 1, 2 * above + net.align_px, 2 * net.align_px, requires_grad=True)
    channels = net(x)[0][..., above + y, net.align_px]
    unequal = torch.arange(1.0, channels.shape[1] + 1)  # the plain sum over normalised channels is constant
    (grad,) = torch.autograd.grad((channels * unequal).sum(), x)
    rows = grad.abs().sum((0, 1, 3)).nonzero()[:, 0]
    return above + y - int(rows.min()), int(rows.max()) - above - y


def test_every_network_is_tried_here() -> None:
    assert {net["name"] for net in SMALL} == NETS.keys()


@pytest.mark.parametrize("description", SMALL, ids=TITLES)
def test_nothing_beyond_the_radius_reaches_a_pixel(description: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = build_net(description)
    for y in range(net.align_px):  # the reach depends on where a pixel lies in the pooling grid
        assert net.radius_px - net.align_px <= max(reached(net, y)) <= net.radius_px


@pytest.mark.parametrize("receptive_px", DILATIONS)
def test_the_receptive_field_is_what_the_paper_says(receptive_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the mean over the pooling grid; with every ReLU open and means for maxima, so that no path is shut by chance."""
    monkeypatch.setattr(F, "max_pool2d", F.avg_pool2d)
    torch.manual_seed(1)
    net = ReceptiveUNet(receptive_px, [4] * len(DILATIONS[receptive_px]))
    for module in net.modules():
        if isinstance(module, PixelGroupNorm):
            torch.nn.init.constant_(module.bias, 10.0)
    fields = [sum(reached(net, y)) + 1 for y in range(net.align_px)]
    assert sum(fields) / len(fields) == receptive_px


def test_the_papers_networks_are_as_small_as_theirs() -> None:
    """8,074, 32,730 and 130,682 parameters with two class scores of 10 parameters; ours lack those."""
    for receptive_px, theirs in ((44, 8_074), (96, 32_730), (200, 130_682)):
        assert sum(p.numel() for p in ReceptiveUNet(receptive_px).parameters()) == theirs - 10


@pytest.mark.parametrize("description", SMALL, ids=TITLES)
@pytest.mark.parametrize("answer", ["image", "classes"])
def test_a_part_is_answered_as_in_the_whole(description: dict[str, Any], answer: str) -> None:
    torch.manual_seed(0)
    network = Network(description, (1, 2), answer, n_classes=2)
    for parameter in [*network.head.parameters(), *network.head.buffers()]:
        torch.nn.init.normal_(parameter)
    x = torch.rand(1, 1, 320, 256)
    with torch.inference_mode():
        whole = network(x)
        for box in ((slice(0, 30), slice(200, 256)), (slice(150, 191), slice(101, 140))):
            assert torch.allclose(network(x, box), whole[..., box[0], box[1]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("description", SMALL, ids=TITLES)
def test_levels_halve_the_resolution(description: dict[str, Any]) -> None:
    net = build_net(description)
    shapes = [tuple(f.shape[1:]) for f in net(torch.rand(1, 1, 16, 32))]
    assert shapes == [(w, 16 // 2**level, 32 // 2**level) for level, w in enumerate(net.widths)]


def test_norm_does_not_mix_pixels() -> None:
    norm, x = PixelGroupNorm(8), torch.rand(1, 8, 4, 4)
    changed = x.clone()
    changed[..., 0, 0] += 1.0
    assert torch.equal(norm(x)[..., 1:, 1:], norm(changed)[..., 1:, 1:])


@pytest.mark.parametrize(
    "description",
    [
        {"name": "perceptron"},
        {"name": "residual-unet", "depth": 3},
        {"name": "receptive-unet", "receptive_px": 45},
        {"name": "receptive-unet", "receptive_px": 44, "widths": [4, 8]},
    ],
)
def test_a_network_that_cannot_be_built_names_the_cure(description: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"update|export"):
        build_net(description)


@pytest.mark.parametrize("description", SMALL, ids=TITLES)
def test_a_wider_network_answers_what_the_narrower_one_did(description: dict[str, Any]) -> None:
    torch.manual_seed(0)
    narrow = build_net(description)
    wide = build_net(description | {"widths": [3 * w for w in narrow.widths]})
    take_over(wide, narrow.state_dict())
    x = torch.rand(2, 1, 2 * narrow.align_px, 2 * narrow.align_px)
    for few, many in zip(narrow(x), wide(x), strict=True):
        torch.testing.assert_close(many, few.repeat_interleave(3, 1), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="multiple"):
        take_over(narrow, wide.state_dict())
    with pytest.raises(ValueError, match="another"):
        take_over(nn.Conv2d(1, 1, 1), narrow.state_dict())
