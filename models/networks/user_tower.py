"""User tower: events and profile become one query vector. It reads no user id, so it works for new users."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.encoders import ENCODERS, SetEncoder
from models.networks.event_input import EventInput
from models.networks.profile import Profile
from models.schema import Schema


class UserTower(nn.Module):
    """Shapes: B users, T events, d dimension; item rows and user vectors are [d + 1], the bias last.

    u_t = normalise(encoder(events up to t) + profile) / temperature, with 1 appended for the item's bias.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: str,
        dim: int,
        layers: int,
        heads: int,
        dropout: float,
        temperature: float,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.event = EventInput(schema, dim + 1, dim, 1, dropout)
        self.encoder = ENCODERS[encoder](dim, layers, heads, schema.history_length, dropout)
        self.norm = nn.LayerNorm(dim)
        self.profile = Profile(schema, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.start, std=dim**-0.5)

    @property
    def ordered(self) -> bool:
        """Whether the encoder reads a sequence, and so learns the next event, or a set."""
        return self.encoder.ordered

    def positions(self, events: Tensor, kind: Tensor, gap: Tensor, mask: Tensor, profile: Tensor) -> Tensor:
        """One query per prefix of the history, the place's own event included: [B, T, d + 1]."""
        x = self.encoder(self.event(events, kind, gap) * mask.unsqueeze(-1), mask)
        return self._query(self.norm(x), mask, profile)

    def others(self, events: Tensor, kind: Tensor, gap: Tensor, mask: Tensor, profile: Tensor) -> Tensor:
        """Of a set, one query per place from all other events: [B, T, d + 1]."""
        assert isinstance(self.encoder, SetEncoder)
        x = self.encoder.others(self.event(events, kind, gap) * mask.unsqueeze(-1), mask)
        return self._query(self.norm(x), mask & (mask.sum(1, keepdim=True) > 1), profile)

    def forward(self, events: Tensor, kind: Tensor, gap: Tensor, mask: Tensor, profile: Tensor) -> Tensor:
        """The query after the newest event, also for an empty history: [B, d + 1]."""
        x = self.encoder.whole(self.event(events, kind, gap) * mask.unsqueeze(-1), mask)
        return self._query(self.norm(x), mask[:, -1:], profile)[:, -1]

    def _query(self, state: Tensor, mask: Tensor, profile: Tensor) -> Tensor:
        present = mask.unsqueeze(-1)
        state = torch.where(present, state, self.start) + self.profile(profile).unsqueeze(1)
        vector = F.normalize(state, dim=-1) / self.temperature
        return torch.cat([vector, torch.ones_like(vector[..., :1])], dim=-1)
