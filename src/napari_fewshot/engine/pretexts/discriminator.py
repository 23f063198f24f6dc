"""The conditional patch discriminator of pix2pix and its least-squares losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchDiscriminator(nn.Sequential):
    """PatchGAN (Isola et al. 2017) for pairs of input and answer, with instance norm and ``width`` filters at first.

    (B, 2, Y, X) -> (B, 1, Y / 8 - 2, X / 8 - 2), one verdict per 70 px patch.
    """

    def __init__(self, width: int = 32) -> None:
        def layer(a: int, b: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(a, b, 4, stride, 1), nn.InstanceNorm2d(b, affine=True), nn.LeakyReLU(0.2, inplace=True)]

        super().__init__(
            nn.Conv2d(2, width, 4, 2, 1),
            nn.LeakyReLU(0.2, inplace=True),
            *layer(width, 2 * width, 2),
            *layer(2 * width, 4 * width, 2),
            *layer(4 * width, 8 * width, 1),
            nn.Conv2d(8 * width, 1, 4, 1, 1),
        )


def real_loss(verdict: Tensor) -> Tensor:
    """Least-squares GAN (Mao et al. 2017): 0 when everything is held for real."""
    return ((verdict - 1) ** 2).mean()


def judge_loss(discriminator: nn.Module, given: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises; given, real, fake are (B, 1, Y, X)."""
    on_real = discriminator(torch.cat([given, real], 1))
    on_fake = discriminator(torch.cat([given, fake], 1))
    return 0.5 * (real_loss(on_real) + (on_fake**2).mean())
