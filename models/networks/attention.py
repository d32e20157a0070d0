"""What causal encoders share: who may read whom, and how far apart they are."""

from __future__ import annotations

import torch
from torch import Tensor


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
