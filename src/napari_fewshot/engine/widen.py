"""Takes over the weights of a narrower network, so that more channels begin where fewer have come. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def take_over(module: nn.Module, states: Mapping[str, Tensor]) -> None:
    """Load the state of the same architecture with as many channels, or with a divisor of them in every level.

    Every channel is there several times then, and what reads it shares its weight out among the copies at random: the
    answer stays what it was and the copies learn different things (Chen et al. 2016, "Net2Net", arXiv 1511.05641). Norms
    over the channels of a pixel see the same mean and variance. Buffers of another size are left as they are.

    Raises
    ------
    ValueError
        The state is of another architecture, or has more channels.
    """
    rng = torch.Generator().manual_seed(0)
    own, learned = module.state_dict(), {name for name, _ in module.named_parameters()}
    if own.keys() != states.keys():
        raise ValueError("another architecture")
    taken = {}
    for name, mine in own.items():
        if name in learned:
            taken[name] = _widened(states[name], mine.shape, rng)
        else:
            taken[name] = states[name] if states[name].shape == mine.shape else mine
    module.load_state_dict(taken)


def _widened(weight: Tensor, shape: torch.Size, rng: torch.Generator) -> Tensor:
    """Outputs first, inputs second, as in convolutions; the rest is the same."""
    copies = [new // old for new, old in zip(shape, weight.shape, strict=False)]
    if len(shape) != weight.dim() or list(shape) != [n * old for n, old in zip(copies, weight.shape, strict=True)]:
        raise ValueError("the channels are no multiple")
    if weight.dim() == 0:
        return weight
    weight = weight.repeat_interleave(copies[0], 0)
    if weight.dim() == 1 or copies[1] == 1:
        return weight
    parts = torch.rand(*weight.shape[:2], copies[1], generator=rng).add(0.5)  # none gets nearly nothing
    parts = (parts / parts.sum(2, keepdim=True)).flatten(1).to(weight)  # (O, I, copies) -> (O, I * copies)
    return weight.repeat_interleave(copies[1], 1) * parts[(..., *[None] * (weight.dim() - 2))]
