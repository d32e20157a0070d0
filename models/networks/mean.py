"""Mean encoder: the running mean of a learned map of the events, for data without order."""

from __future__ import annotations

from torch import Tensor, nn


class MeanEncoder(nn.Module):
    """Causal mean of W x over the events so far, then a residual layer; `layers` and `heads` are not used."""

    def __init__(self, dim: int, layers: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.length = length
        self.inward = nn.Linear(dim, dim)
        self.outward = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode x [B, T, d] under mask [B, T]."""
        present = mask.unsqueeze(-1).to(x.dtype)
        mean = (self.inward(x) * present).cumsum(1) / present.cumsum(1).clamp(min=1)
        encoded: Tensor = mean + self.dropout(self.outward(nn.functional.gelu(mean)))
        return encoded
