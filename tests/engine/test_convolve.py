"""A sum of shifted planes is the convolution that it stands for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_fewshot.engine.convolve import convolve


@pytest.mark.parametrize("step", [1, 2, 4])
def test_shifted_planes_add_up_to_a_convolution(step: int) -> None:
    x, half = torch.rand(2, 3, 20, 17), (0.5, 0.2, 0.05)
    line = torch.tensor([0.05, 0.2, 0.5, 0.2, 0.05])
    kernel = torch.outer(line, line).expand(3, 1, 5, 5)
    wanted = F.conv2d(F.pad(x, (2 * step,) * 4, mode="replicate"), kernel, dilation=step, groups=3)
    assert torch.allclose(convolve(x, half, step), wanted, atol=1e-6)
