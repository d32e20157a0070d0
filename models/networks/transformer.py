"""Softmax transformer encoder, SASRec-type (arXiv 1808.09781), with relative positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.attention import CausalStack, join_heads, split_heads

_UNREADABLE = -1e9


class TransformerBlock(nn.Module):
    """Pre-norm self-attention with a learned bias per distance, then a feed-forward layer; x [B, T, d]."""

    def __init__(self, dim: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.norm_in = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, 3 * dim)
        self.position = nn.Parameter(torch.zeros(heads, length))
        self.out = nn.Linear(dim, dim)
        self.norm_forward = nn.LayerNorm(dim)
        self.forward_in = nn.Linear(dim, 2 * dim)
        self.forward_out = nn.Linear(2 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, readable: Tensor, apart: Tensor) -> Tensor:
        """`readable` [B, 1, T, T] bool, `apart` [T, T] distances."""
        return self._read(x, self.project(self.norm_in(x)).chunk(3, dim=-1), readable, apart)

    def newest(self, x: Tensor, readable: Tensor, apart: Tensor) -> Tensor:
        """The last place alone, [B, 1, d]; `readable` [B, 1, 1, T], `apart` [1, T]."""
        events, dim = self.norm_in(x), x.shape[-1]
        query = F.linear(events[:, -1:], self.project.weight[:dim], self.project.bias[:dim])
        key, value = F.linear(events, self.project.weight[dim:], self.project.bias[dim:]).chunk(2, dim=-1)
        return self._read(x[:, -1:], (query, key, value), readable, apart)

    def _read(self, x: Tensor, parts: Sequence[Tensor], readable: Tensor, apart: Tensor) -> Tensor:
        query, key, value = (split_heads(part, self.heads) for part in parts)
        logits = query @ key.transpose(-1, -2) * self.scale + self.position[:, apart]
        # A finite floor, not -inf: a row without any readable event stays a number.
        weights = self.dropout(torch.softmax(logits.masked_fill(~readable, _UNREADABLE), dim=-1))
        x = x + self.dropout(self.out(join_heads(weights @ value)))
        hidden = self.dropout(F.gelu(self.forward_in(self.norm_forward(x))))
        encoded: Tensor = x + self.dropout(self.forward_out(hidden))
        return encoded


class TransformerEncoder(CausalStack):
    """A stack of transformer blocks."""

    def __init__(self, dim: int, layers: int, heads: int, length: int, dropout: float) -> None:
        super().__init__(TransformerBlock, dim, layers, heads, length, dropout)
