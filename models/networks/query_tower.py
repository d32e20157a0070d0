"""Query tower: the words of a search become one query vector in the space of the items."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SPREAD = 0.05


class QueryTower(nn.Module):
    """Shapes: B queries, W word tokens, G gram tokens, d dimension; 0 pads.

    bag(tokens) = sum over tokens of softmax(weight) embedding, so that a word like "the" learns to say
    nothing; query = normalise(bag(words) + bag(grams) + mlp(of both)) * scale, and beside it the weight of
    the item's bias (our choice). Words and grams are hashed, so any text has a query.
    """

    def __init__(self, buckets: int, dim: int, hidden: int, dropout: float, temperature: float) -> None:
        super().__init__()
        self.words = nn.Embedding(buckets + 1, dim, padding_idx=0)
        self.grams = nn.Embedding(buckets + 1, dim, padding_idx=0)
        self.word_weight = nn.Embedding(buckets + 1, 1)
        self.gram_weight = nn.Embedding(buckets + 1, 1)
        self.mlp = nn.Sequential(
            nn.Linear(2 * dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )
        self.dropout = nn.Dropout(dropout)
        self.bias_weight = nn.Parameter(torch.ones(()))
        self.temperature = temperature
        for table in (self.words, self.grams):
            nn.init.normal_(table.weight, std=_SPREAD)
            nn.init.zeros_(table.weight[0])
        for weights in (self.word_weight, self.gram_weight):
            nn.init.zeros_(weights.weight)

    def forward(self, words: Tensor, grams: Tensor) -> Tensor:
        """Queries [B, d + 1] of word tokens [B, W] and gram tokens [B, G]."""
        bags = [
            self.dropout(_bag(table(tokens), weights(tokens), tokens > 0))
            for tokens, table, weights in (
                (words, self.words, self.word_weight),
                (grams, self.grams, self.gram_weight),
            )
        ]
        state = bags[0] + bags[1] + self.mlp(torch.cat(bags, dim=-1))
        vector = F.normalize(state, dim=-1) / self.temperature
        return torch.cat([vector, self.bias_weight * torch.ones_like(vector[:, :1])], dim=-1)


def _bag(rows: Tensor, weights: Tensor, present: Tensor) -> Tensor:
    """The weighted mean [B, d] of rows [B, W, d] where tokens are present; 0 without any."""
    share = weights.exp() * present.unsqueeze(-1)
    mean: Tensor = (rows * share).sum(1) / share.sum(1).clamp(min=1e-6)
    return mean
