"""How an event enters a network: its item's vector, what was done, and the times around it."""

from __future__ import annotations

from torch import Tensor, nn

from models.encode import GAP_BUCKETS
from models.schema import Schema

_SPREAD = 0.02


class EventInput(nn.Module):
    """events [B, T, e] (0 at pads) -> [B, T, d]; the spans are bucket tokens [B, T].

    Events are unit vectors with a bias, unless a `scale` says what brings their components to about one.
    """

    def __init__(
        self, schema: Schema, item_dim: int, dim: int, spans: int, dropout: float, scale: float | None = None
    ) -> None:
        super().__init__()
        self.item = nn.Linear(item_dim, dim)
        # Start from what the item is: a history is then close to the items it holds from the first step on.
        nn.init.eye_(self.item.weight)
        nn.init.zeros_(self.item.bias)
        # Unit vectors have components of size d^-1/2: bring them to the scale of one before they are mixed.
        self.scale = dim**0.5 if scale is None else scale
        self.kind = nn.Embedding(len(schema.event_kinds) + 1, dim)
        self.spans = nn.ModuleList(nn.Embedding(GAP_BUCKETS, dim) for _ in range(spans))
        self.dropout = nn.Dropout(dropout)
        for table in (self.kind, *self.spans):
            nn.init.normal_(table.weight, std=_SPREAD)

    def forward(self, events: Tensor, kind: Tensor, *spans: Tensor) -> Tensor:
        """Sum of the item's map and the embeddings of kind and spans."""
        x = self.item(events * self.scale) + self.kind(kind)
        for table, span in zip(self.spans, spans, strict=True):
            x = x + table(span)
        mixed: Tensor = self.dropout(x)
        return mixed
