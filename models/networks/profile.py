"""A user's attributes as one vector."""

from __future__ import annotations

from torch import Tensor, nn

from models.encode import total_size
from models.schema import Schema

_SPREAD = 0.02


class Profile(nn.Module):
    """profile [B, P] field tokens (0 = absent) -> [B, d], the sum of their embeddings."""

    def __init__(self, schema: Schema, dim: int) -> None:
        super().__init__()
        self.token = nn.Embedding(total_size(schema.user_fields), dim, padding_idx=0)
        nn.init.normal_(self.token.weight, std=_SPREAD)
        nn.init.zeros_(self.token.weight[0])

    def forward(self, profile: Tensor) -> Tensor:
        """Sum over the P tokens."""
        total: Tensor = self.token(profile).sum(1)
        return total
