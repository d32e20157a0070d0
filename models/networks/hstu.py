"""HSTU encoder: pointwise SiLU attention with relative position bias and gated output (arXiv 2402.17152)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.attention import CausalStack, join_heads, split_heads


class HstuBlock(nn.Module):
    """x [B, T, d] -> x + W(norm(A V) * U), A = SiLU(Q K^T / sqrt(d_h) + bias), no softmax.

    Where the paper divides by the length, we divide by the square root of the number of readable events (our
    choice: short histories keep their scale).
    """

    def __init__(self, dim: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.norm_in = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, 4 * dim)
        self.position = nn.Parameter(torch.zeros(heads, length))
        self.norm_out = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, readable: Tensor, apart: Tensor) -> Tensor:
        """`readable` [B, 1, T, T] bool, `apart` [T, T] distances."""
        return self._read(x, F.silu(self.project(self.norm_in(x))).chunk(4, dim=-1), readable, apart)

    def newest(self, x: Tensor, readable: Tensor, apart: Tensor) -> Tensor:
        """The last place alone, [B, 1, d]; `readable` [B, 1, 1, T], `apart` [1, T]."""
        events = self.norm_in(x)
        weights, biases = self.project.weight.chunk(4), self.project.bias.chunk(4)
        own, others = (
            F.silu(F.linear(part, torch.cat(weights[place::2]), torch.cat(biases[place::2])))
            for place, part in enumerate((events[:, -1:], events))
        )
        (gate, query), (value, key) = own.chunk(2, dim=-1), others.chunk(2, dim=-1)
        return self._read(x[:, -1:], (gate, value, query, key), readable, apart)

    def _read(self, x: Tensor, parts: Sequence[Tensor], readable: Tensor, apart: Tensor) -> Tensor:
        gate, *attended = parts
        value, query, key = (split_heads(part, self.heads) for part in attended)
        weights = F.silu(query @ key.transpose(-1, -2) * self.scale + self.position[:, apart]) * readable
        weights = weights / readable.sum(-1, keepdim=True).clamp(min=1).sqrt()
        read: Tensor = self.out(self.norm_out(join_heads(weights @ value)) * gate)
        encoded: Tensor = x + self.dropout(read)
        return encoded


class HstuEncoder(CausalStack):
    """A stack of HSTU blocks."""

    def __init__(self, dim: int, layers: int, heads: int, length: int, dropout: float) -> None:
        super().__init__(HstuBlock, dim, layers, heads, length, dropout)
