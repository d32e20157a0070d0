"""What causal encoders share: who may read whom, and how far apart they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def distances(steps: Tensor) -> Tensor:
    """Distance i - j of positions `steps` [T] = 0..T-1, 0 where j is later: [T, T]."""
    return (steps[:, None] - steps[None, :]).clamp(min=0)


def causal(mask: Tensor) -> Tensor:
    """Positions i (rows) may read j <= i where `mask` [B, T]: bool [B, 1, T, T]."""
    steps = torch.arange(mask.shape[1], device=mask.device)
    earlier = steps[:, None] >= steps[None, :]
    return earlier[None, None] & mask[:, None, None, :]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, T, d] -> [B, H, T, d / H]."""
    batch, length, dim = x.shape
    return x.view(batch, length, heads, dim // heads).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[B, H, T, d / H] -> [B, T, d]."""
    batch, heads, length, width = x.shape
    return x.transpose(1, 2).reshape(batch, length, heads * width)


class CausalStack(nn.Module):
    """`layers` blocks one after the other; a block is `(x [B, T, d], readable, apart) -> [B, T, d]`, and its
    `newest` gives the last place alone, [B, 1, d], where `readable` [B, 1, 1, T] and `apart` [1, T] are."""

    ordered = True

    def __init__(
        self,
        block: Callable[[int, int, int, float], nn.Module],
        dim: int,
        layers: int,
        heads: int,
        length: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.length = length
        self.blocks = nn.ModuleList(block(dim, heads, length, dropout) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode x [B, T, d] under mask [B, T]; T at most `length`."""
        readable = causal(mask)
        apart = distances(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            x = block(x, readable, apart)
        return x

    def whole(self, x: Tensor, mask: Tensor) -> Tensor:
        """The last place of a call, [B, 1, d], for which the last block computes no other."""
        readable = causal(mask)
        apart = distances(torch.arange(x.shape[1], device=x.device))
        blocks: list[Any] = list(self.blocks)
        for block in blocks[:-1]:
            x = block(x, readable, apart)
        newest: Tensor = blocks[-1].newest(x, mask[:, None, None, :], apart[-1:])
        return newest
