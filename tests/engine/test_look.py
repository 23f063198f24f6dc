"""Where feature maps lie, and what is read off them."""

import torch
import torch.nn.functional as F

from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.look import FeatureMap, spanning, spread_sum

ZONE: Box = (slice(16, 48), slice(0, 64))


def maps() -> list[FeatureMap]:
    torch.manual_seed(0)
    return spanning([torch.randn(1, 2, 32 // n, 64 // n) for n in (1, 2, 4, 8, 8)], ZONE)


def test_a_box_of_a_map_is_that_part_of_all_of_it() -> None:
    for one in maps():
        fine = F.interpolate(one.values, (32, 64), mode="bilinear", align_corners=False)
        assert torch.allclose(one.spread(ZONE), fine, atol=1e-6)
        box = (slice(21, 38), slice(3, 64))
        assert torch.allclose(one.spread(box), fine[..., 5:22, 3:], atol=1e-6)


def test_a_pixel_of_a_map_is_what_a_box_has_there() -> None:
    yx = torch.tensor([[16, 0], [47, 63], [20, 31], [33, 2]])
    for one in maps():
        assert torch.allclose(one.at(yx), one.spread(ZONE)[0][:, yx[:, 0] - 16, yx[:, 1]].T, atol=1e-6)


def test_maps_on_one_grid_are_added_first_and_the_sum_is_the_same() -> None:
    box = (slice(18, 40), slice(8, 30))
    each = torch.stack([one.spread(box) for one in maps()]).sum(0)
    assert torch.allclose(spread_sum(maps(), box), each, atol=1e-5)
