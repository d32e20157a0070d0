"""Text tower: the vector of a frozen text model becomes one query vector in the space of the items."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TextTower(nn.Module):
    """Shapes: B queries, e components of the text model's vectors, d dimension.

    x = normalise(embedding - mean) sqrt(e), since vectors of text models share much of their direction
    (Mu & Viswanath 2018, arXiv 1702.01417); query = normalise(project(x) + mlp(x)) * scale, and beside it the
    weight of the item's bias (our choice).
    """

    mean: Tensor

    def __init__(self, width: int, dim: int, hidden: int, dropout: float, temperature: float) -> None:
        super().__init__()
        self.project = nn.Linear(width, dim)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )
        self.dropout = nn.Dropout(dropout)
        self.bias_weight = nn.Parameter(torch.ones(()))
        self.temperature = temperature
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, embedding: Tensor) -> Tensor:
        """Queries [B, d + 1] of vectors [B, e]."""
        state = F.normalize(embedding - self.mean, dim=-1) * embedding.shape[-1] ** 0.5
        state = self.dropout(state)
        vector = F.normalize(self.project(state) + self.mlp(state), dim=-1) / self.temperature
        return torch.cat([vector, self.bias_weight * torch.ones_like(vector[:, :1])], dim=-1)
