"""HCN pre-ranker: K interests, level by level, long and short term joined; the best interest scores.

The method is that of arXiv 2210.10547; its form here is our choice.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.event_input import EventInput
from models.networks.profile import Profile
from models.schema import Schema

Hierarchy = Literal["none", "residual", "weighted"]
"""What levels after the first read and give: all events again; what the levels before left of them; or all
events, with a learned mean over the levels as the interest."""

OUT_SPREAD = 0.1
"""How much of the learned part an interest starts with, beside the mean of its events."""


class InterestExtractor(nn.Module):
    """K centres compete for the events, over a few unrolled levels (our form of the paper's layer).

    S = norm(C) Wq (norm(X) Wk)^T / sqrt(d); A = softmax over K; C += update(A / sum_T A (X Wv)), X being the
    events. Under "residual" the next level reads X - r A^T C, r learned per level from 1 on: from coarse to
    fine. Under "weighted" an interest is the mean of its centres over the levels, by learned weights.
    """

    def __init__(self, dim: int, interests: int, iterations: int, hierarchy: Hierarchy = "none") -> None:
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
        several = iterations > 1
        residual, weighted = several and hierarchy == "residual", several and hierarchy == "weighted"
        self.explained = nn.Parameter(torch.ones(iterations - 1)) if residual else None
        self.level_weight = nn.Parameter(torch.zeros(iterations)) if weighted else None

    def forward(self, events: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Centres [B, K, d] of events [B, T, d] under mask [B, T], and their shares of them [B, K, T].

        Without any event the centres are learned seeds moved by the biases, and the shares 0.
        """
        present = mask.unsqueeze(1).to(events.dtype)  # B 1 T
        centres = self.seeds.expand(events.shape[0], -1, -1)
        key, value = self._read(events)
        levels = []
        for level in range(self.iterations):
            claim, share = self._compete(centres, key, present)
            centres = centres + self.update_out(F.gelu(self.update_in(share @ value)))
            levels.append((centres, share))
            if self.explained is not None and level < self.iterations - 1:
                events = events - self.explained[level] * (claim.transpose(1, 2) @ centres)
                key, value = self._read(events)
        return levels[-1] if self.level_weight is None else self._weighted(levels)

    def _read(self, events: Tensor) -> tuple[Tensor, Tensor]:
        key, value = self.key_value(self.norm_event(events)).chunk(2, dim=-1)
        return key, value

    def _compete(self, centres: Tensor, key: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """How the centres divide each event among them, and each centre's claims to a sum of 1: [B, K, T]."""
        scores = self.query(self.norm_centre(centres)) @ key.transpose(1, 2) * self.scale
        claim = torch.softmax(scores, dim=1) * present
        return claim, claim / claim.sum(-1, keepdim=True).clamp(min=1e-6)

    def _weighted(self, levels: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        assert self.level_weight is not None
        weights = torch.softmax(self.level_weight, dim=0)
        centres, shares = zip(*levels, strict=True)
        return (
            (torch.stack(centres, -1) * weights).sum(-1),
            (torch.stack(shares, -1) * weights).sum(-1),
        )


class Hcn(nn.Module):
    """Shapes: B users, T events, K interests, d dimension; item rows and interests are [d + 1], bias last.

    Long reads all events, Short the last session; each is enriched by attention over the other (the
    co-interest network), and a gate per interest mixes them. Without that network the interests are those of
    Long. An interest is the mean of its events' item vectors plus what the layers learn: it lives in the item
    space from the first step on (our choice).
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
        hierarchy: Hierarchy = "none",
        co_interest: bool = True,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.event = EventInput(schema, dim + 1, dim, 2, dropout)
        self.profile = Profile(schema, dim)
        self.long = InterestExtractor(dim, interests, iterations, hierarchy)
        self.co_interest = co_interest
        if co_interest:
            self.short = InterestExtractor(dim, interests, iterations, hierarchy)
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
        centres, share = self.long(x, mask)
        items = events[..., :-1]
        person = self.profile(profile).unsqueeze(1).expand_as(centres)
        pooled = share @ items
        if self.co_interest:
            short, short_share = self.short(x, recent)
            centres, gate = self._joined(centres, short, person)
            pooled = gate * pooled + (1 - gate) * (short_share @ items)
        vector = F.normalize(pooled + self.out(self.norm(centres + person)), dim=-1) / self.temperature
        return torch.cat([vector, torch.ones_like(vector[..., :1])], dim=-1)

    def _joined(self, long: Tensor, short: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
        """Both mixed after each has read the other, and the long term's part in it: [B, K, d] each."""
        joined_long = long + self.long_reads(long, short, short, need_weights=False)[0]
        joined_short = short + self.short_reads(short, long, long, need_weights=False)[0]
        gate = torch.sigmoid(self.gate(torch.cat([joined_long, joined_short, person], dim=-1)))
        return gate * joined_long + (1 - gate) * joined_short, gate


def pair_cosines(interests: Tensor) -> Tensor:
    """Cosines of the pairs i < j of interests [B, K, d + 1], the biases left out: [B, K (K - 1) / 2]."""
    vectors = F.normalize(interests[..., :-1], dim=-1)
    cosine = vectors @ vectors.transpose(1, 2)
    upper = torch.triu_indices(cosine.shape[1], cosine.shape[1], offset=1)
    return cosine[:, upper[0], upper[1]]


def overlap(interests: Tensor, margin: float) -> Tensor:
    """Redundancy: mean over pairs i < j of relu(cos(z_i, z_j) - margin); a scalar, 0 without pairs."""
    excess = F.relu(pair_cosines(interests) - margin)
    return excess.sum() / max(excess.numel(), 1)
