"""Item tower: an item's id and content become one vector and one bias."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encode import total_size, total_width
from models.schema import Schema

ITEM_SPREAD = 0.05
CONTENT_SPREAD = 0.02


class ItemTower(nn.Module):
    """Shapes: n items, W content tokens, d dimension.

    vector = normalise(id embedding + content), bias = id bias + content bias; the row [vector, bias] is what
    the index holds, so that popularity is not lost to the normalisation (our choice). In training the id is
    dropped at random with `id_dropout`, so that content alone can place a new item.
    """

    tokens: Tensor

    def __init__(self, schema: Schema, tokens: Tensor, dim: int, id_dropout: float) -> None:
        super().__init__()
        self.widths = [field.width for field in schema.item_fields] or [total_width(schema.item_fields)]
        self.dim = dim
        self.id_dropout = id_dropout
        self.register_buffer("tokens", tokens, persistent=False)
        self.id = nn.Embedding(len(tokens), dim)
        self.id_bias = nn.Embedding(len(tokens), 1)
        self.content = nn.Embedding(total_size(schema.item_fields), dim, padding_idx=0)
        self.content_bias = nn.Linear(dim, 1)
        nn.init.normal_(self.id.weight, std=ITEM_SPREAD)
        nn.init.zeros_(self.id_bias.weight)
        nn.init.normal_(self.content.weight, std=CONTENT_SPREAD)
        nn.init.zeros_(self.content.weight[0])
        nn.init.zeros_(self.content_bias.weight)
        nn.init.zeros_(self.content_bias.bias)

    def all(self) -> Tensor:
        """Every item of the catalogue: [m, d + 1]."""
        identity, bias = self.id.weight, self.id_bias.weight
        if self.training and self.id_dropout > 0:
            keep = (torch.rand_like(bias) >= self.id_dropout).float()
            identity, bias = identity * keep, bias * keep
        return self._join(identity, bias, self.tokens)

    def new(self, tokens: Tensor) -> Tensor:
        """Items that training never saw, from `tokens` [n, W] alone: [n, d + 1]."""
        identity = torch.zeros(1, self.id.embedding_dim, device=tokens.device)
        return self._join(identity, torch.zeros(1, 1), tokens)

    def _join(self, identity: Tensor, bias: Tensor, tokens: Tensor) -> Tensor:
        content = self._content(tokens)
        vector = F.normalize(identity + content, dim=-1)
        return torch.cat([vector, bias + self.content_bias(content)], dim=-1)

    def _content(self, tokens: Tensor) -> Tensor:
        """Sum over fields of the mean over a field's tokens: [n, d]."""
        parts = []
        for field in tokens.split(self.widths, dim=1):
            present = (field > 0).unsqueeze(-1)
            total = (self.content(field) * present).sum(1)
            parts.append(total / present.sum(1).clamp(min=1))
        return torch.stack(parts).sum(0)
