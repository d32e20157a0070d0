"""HCN pre-ranker: K interests, long and short term joined; the best interest scores (arXiv 2210.10547)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.event_input import EventInput
from models.networks.profile import Profile
from models.schema import Schema

OUT_SPREAD = 0.1
"""How much of the learned part an interest starts with, beside the mean of its events."""


class InterestExtractor(nn.Module):
    """K centres compete for the events, over a few unrolled iterations (our form of the paper's layer).

    S = norm(C) Wq (norm(B) Wk)^T / sqrt(d); A = softmax over K; C += update(A / sum_T A (B Wv)).
    """

    def __init__(self, dim: int, interests: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.scale = dim**-0.5
        self.seeds = nn.Parameter(torch.randn(interests, dim) * dim**-0.5)
        self.norm_centre = nn.LayerNorm(dim)
        self.norm_event = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.update_in = nn.Linear(dim, dim)
        self.update_out = nn.Linear(dim, dim)

    def forward(self, events: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Centres [B, K, d] of events [B, T, d] under mask [B, T], and their shares of them [B, K, T].

        Without any event the centres are learned seeds, and the shares 0.
        """
        key, value = self.key_value(self.norm_event(events)).chunk(2, dim=-1)
        present = mask.unsqueeze(1).to(events.dtype)  # B 1 T
        centres = self.seeds.expand(events.shape[0], -1, -1)
        for _ in range(self.iterations):
            scores = self.query(self.norm_centre(centres)) @ key.transpose(1, 2) * self.scale  # B K T
            share = torch.softmax(scores, dim=1) * present
            share = share / share.sum(-1, keepdim=True).clamp(min=1e-6)
            centres = centres + self.update_out(F.gelu(self.update_in(share @ value)))
        return centres, share


class Hcn(nn.Module):
    """Shapes: B users, T events, K interests, d dimension; item rows and interests are [d + 1], bias last.

    Long reads all events, Short the last session; each is enriched by attention over the other (the
    co-interest network), and a gate per interest mixes them. An interest is the mean of its events' item
    vectors plus what the layers learn: it lives in the item space from the first step on (our choice).
    """

    def __init__(
        self,
        schema: Schema,
        dim: int,
        interests: int,
        iterations: int,
        heads: int,
        dropout: float,
        temperature: float,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.event = EventInput(schema, dim + 1, dim, 2, dropout)
        self.profile = Profile(schema, dim)
        self.long = InterestExtractor(dim, interests, iterations)
        self.short = InterestExtractor(dim, interests, iterations)
        self.long_reads = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.short_reads = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.gate = nn.Linear(3 * dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)
        nn.init.normal_(self.out.weight, std=OUT_SPREAD * dim**-0.5)

    def forward(
        self,
        events: Tensor,
        kind: Tensor,
        gap: Tensor,
        age: Tensor,
        recent: Tensor,
        mask: Tensor,
        profile: Tensor,
    ) -> Tensor:
        """Interests [B, K, d + 1]; score(u, v) = max_k z_k . v."""
        x = self.event(events, kind, gap, age)
        (long, long_share), (short, short_share) = self.long(x, mask), self.short(x, recent)
        person = self.profile(profile).unsqueeze(1).expand_as(long)
        joined_long = long + self.long_reads(long, short, short, need_weights=False)[0]
        joined_short = short + self.short_reads(short, long, long, need_weights=False)[0]
        gate = torch.sigmoid(self.gate(torch.cat([joined_long, joined_short, person], dim=-1)))
        mixed = self.norm(gate * joined_long + (1 - gate) * joined_short + person)
        items = events[..., :-1]
        pooled = gate * (long_share @ items) + (1 - gate) * (short_share @ items)
        vector = F.normalize(pooled + self.out(mixed), dim=-1) / self.temperature
        return torch.cat([vector, torch.ones_like(vector[..., :1])], dim=-1)


def best_interest(interests: Tensor, items: Tensor) -> Tensor:
    """max_k z_k . v for interests [B, K, d + 1] and the whole table [m, d + 1]: [B, m]."""
    return (interests @ items.T).amax(1)


def overlap(interests: Tensor, margin: float) -> Tensor:
    """Redundancy: mean over pairs i < j of relu(cos(z_i, z_j) - margin), the biases left out; a scalar."""
    vectors = F.normalize(interests[..., :-1], dim=-1)
    cosine = vectors @ vectors.transpose(1, 2)
    upper = torch.triu_indices(cosine.shape[1], cosine.shape[1], offset=1)
    return F.relu(cosine[:, upper[0], upper[1]] - margin).mean()
