"""Mean encoder: a learned weighted mean of the events, for data without order."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MeanEncoder(nn.Module):
    """mean_j of w_j x_j with w = exp(a . x) / |x|^p, then a residual layer that starts near 0 (our choice).

    p starts at 1, a mean of directions: where lengths say how popular an item is, a popular one would drown
    what is special about a user.

    It reads a set: training asks it for each event from all others (`others`), not for the next one. `layers`
    and `heads` are not used.
    """

    ordered = False

    def __init__(self, dim: int, layers: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.length = length
        self.weight = nn.Linear(dim, 1, bias=False)
        self.exponent = nn.Parameter(torch.ones(()))
        self.inward = nn.Linear(dim, dim)
        self.outward = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.weight.weight)
        nn.init.normal_(self.outward.weight, std=0.01)
        nn.init.zeros_(self.outward.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The mean of the events so far: [B, T, d] under mask [B, T]."""
        weight, weighted = self._weighted(x, mask)
        return self._refined(weighted.cumsum(1), weight.cumsum(1))

    def others(self, x: Tensor, mask: Tensor) -> Tensor:
        """At each place the mean of all other events of the row: [B, T, d] under mask [B, T]."""
        weight, weighted = self._weighted(x, mask)
        return self._refined(weighted.sum(1, keepdim=True) - weighted, weight.sum(1, keepdim=True) - weight)

    def whole(self, x: Tensor, mask: Tensor) -> Tensor:
        """The mean of all events of each row: [B, 1, d] under mask [B, T]."""
        weight, weighted = self._weighted(x, mask)
        return self._refined(weighted.sum(1, keepdim=True), weight.sum(1, keepdim=True))

    def _weighted(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        length = x.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        told = self.dropout(self.weight(x)).clamp(-10, 10) - self.exponent * length.log()
        weight = torch.exp(told) * mask.unsqueeze(-1)
        return weight, weight * x

    def _refined(self, total: Tensor, weight: Tensor) -> Tensor:
        mean = total / weight.clamp(min=1e-6)
        encoded: Tensor = mean + self.dropout(self.outward(nn.functional.gelu(self.inward(mean))))
        return encoded
