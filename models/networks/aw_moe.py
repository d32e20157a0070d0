"""AW-MoE ranker: experts weighed by a gate that reads the behaviour sequence (arXiv 2306.05011)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.event_input import EventInput
from models.networks.profile import Profile
from models.schema import Schema


@dataclass(frozen=True, slots=True)
class Form:
    """What the input and the gate read: the ranker of the paper, and simpler ones to compare it with."""

    reads: Literal["attention", "sum"]
    """The input's events: weighed by the candidate, or summed."""
    gate: Literal["attention", "sum", "plain", "none"]
    """The gate: units of events weighed by the reference, or summed; a softmax over target, context and
    summed events; or none, one expert."""


FORMS: Mapping[str, Form] = {
    "aw-moe": Form("attention", "attention"),
    "aw-moe-sum": Form("attention", "sum"),
    "moe": Form("attention", "plain"),
    "target-attention": Form("attention", "none"),
    "dnn": Form("sum", "none"),
}


class Ranked(NamedTuple):
    """What the ranker says of B requests with N candidates each, and how it came to it."""

    logits: Tensor
    """[B, N] = sum of `shares` + w . cross."""
    gate: Tensor
    """[B, N, K] G."""
    shared: Tensor
    """[B, N, i] x, what all experts read: heads of other tasks hang on it."""
    shares: Tensor
    """[B, N, K] b G_k s_k, each expert's part of the logit."""
    reads: Tensor
    """[B, N, T] alpha, 0 at pads."""
    opens: Tensor
    """[B, N, T] a, 0 at pads."""


class Activation(nn.Module):
    """Weights of T events for N references, in the algebraically split form (our choice).

    The first layer over [h_j, h_t, h_j * h_t] is linear in h_t once the event is fixed, so per request one
    matrix [diag(h_j) W_p + W_t] (d x T a) and one bias meet all candidates in ONE product. A term in
    h_j - h_t would fold into W_e and W_t. Two heads: the input's weights and the gate's.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.event = nn.Linear(dim, width)
        self.target = nn.Parameter(torch.randn(dim, width) * dim**-0.5)
        self.product = nn.Parameter(torch.randn(dim, width) * dim**-0.5)
        self.heads = nn.Linear(width, 2)

    def forward(self, events: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """events [B, T, d], targets [B, N, d], mask [B, T] -> two weights [B, N, T], 0 at pads."""
        batch, length, dim = events.shape
        width = self.product.shape[1]
        matrix = events.unsqueeze(-1) * self.product + self.target  # B T d a
        matrix = matrix.permute(0, 2, 1, 3).reshape(batch, dim, length * width)
        bias = self.event(events).reshape(batch, 1, length * width)
        hidden = F.relu(targets @ matrix + bias).view(batch, -1, length, width)
        weights = self.heads(hidden) * mask[:, None, :, None]
        return weights[..., 0], weights[..., 1]


class Experts(nn.Module):
    """K feed-forward experts in one grouped product: x [B, N, i] -> scores [B, N, K]."""

    def __init__(self, inputs: int, experts: int, hidden: tuple[int, int], dropout: float) -> None:
        super().__init__()
        first, second = hidden
        self.experts = experts
        self.first = nn.Linear(inputs, experts * first)
        self.second = nn.Parameter(torch.randn(experts, first, second) * (2 / first) ** 0.5)
        self.second_bias = nn.Parameter(torch.zeros(experts, 1, second))
        self.last = nn.Parameter(torch.randn(experts, second, 1) * second**-0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Score."""
        batch, count, _ = x.shape
        hidden = self.dropout(F.relu(self.first(x)))
        hidden = hidden.view(batch * count, self.experts, -1).transpose(0, 1)  # K BN f
        hidden = self.dropout(F.relu(hidden @ self.second + self.second_bias))
        scores: Tensor = (hidden @ self.last).squeeze(-1).T.reshape(batch, count, self.experts)
        return scores


class AwMoe(nn.Module):
    """Shapes: B requests, T events, N candidates, K experts, X cross features, d dimension, q of the query.

    v = sum_j alpha_j h_j / sqrt(valid); x = [v, h_t, v * h_t, h_c, h_c * h_t, cross], h_c = profile + query;
    G = sum_j a_j g_j / sqrt(valid) + b0 with g_j = unit(h_j, h_c), defined for an empty history;
    logit = b sum_k G_k s_k(x) + w . cross.

    alpha_j sees the event and the candidate, a_j the event and a reference: the candidate, or in a search the
    query. The linear path w . cross and the blend b are our choice: the ranker starts from what the funnel
    knows and adds to it (`start_from`). The products with h_t are our choice, too. A ranker that was never
    trained on searches (`knows_queries`) takes every request for a recommendation.
    """

    cross_mean: Tensor
    cross_scale: Tensor
    knows_queries: Tensor

    def __init__(
        self,
        schema: Schema,
        dim: int,
        experts: int,
        hidden: tuple[int, int],
        activation: int,
        cross: int,
        query: int,
        dropout: float,
        form: Form = FORMS["aw-moe"],
    ) -> None:
        super().__init__()
        self.form = form
        if form.gate == "none":
            # One network of about as many weights as the experts have together.
            widen = max(round(experts**0.5), 1)
            experts, hidden = 1, (hidden[0] * widen, hidden[1] * widen)
        self.target = nn.Linear(dim + 1, dim)
        self.event = EventInput(schema, dim, dim, 2, dropout, scale=1.0)
        self.profile = Profile(schema, dim)
        self.query = nn.Linear(query, dim, bias=False)
        self.activation = Activation(dim, activation)
        self.experts = Experts(5 * dim + cross, experts, hidden, dropout)
        self.gate_unit = nn.Linear((3 if form.gate == "plain" else 2) * dim, experts)
        self.gate_base = nn.Parameter(torch.full((experts,), 1 / experts))
        self.linear = nn.Linear(cross, 1)
        self.blend = nn.Parameter(torch.ones(1))
        self.register_buffer("cross_mean", torch.zeros(cross))
        self.register_buffer("cross_scale", torch.ones(cross))
        self.register_buffer("knows_queries", torch.zeros(1))

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Read cross features in units of `scale` [X] around `mean` [X]."""
        self.cross_mean.copy_(mean)
        self.cross_scale.copy_(scale)

    def start_from(self, weights: Tensor, blend: float) -> None:
        """Start as w . cross + blend * experts, with `weights` [X] over the standardised cross features."""
        with torch.no_grad():
            self.linear.weight.copy_(weights[None])
            self.linear.bias.zero_()
            self.blend.fill_(blend)

    def items(self, vectors: Tensor) -> Tensor:
        """What the ranker reads of items, from rows of its item tower: [m, d + 1] -> [m, d]."""
        # Unit vectors have components of size d^-1/2: bring them to the scale of one.
        projected: Tensor = self.target(vectors * self.target.out_features**0.5)
        return projected

    def forward(
        self,
        events: Tensor,
        kind: Tensor,
        gap: Tensor,
        age: Tensor,
        mask: Tensor,
        profile: Tensor,
        query: Tensor,
        candidates: Tensor,
        cross: Tensor,
    ) -> Ranked:
        """events [B, T, d] and candidates [B, N, d] as `items` gives them, cross [B, N, X], query [B, q].

        A query of zeros is a recommendation.
        """
        history = self.event(events, kind, gap, age) * mask.unsqueeze(-1)
        asked, words = self.asked(query)
        context = self.profile(profile) + words
        reads, opens = self._weights(history, candidates, words, asked, mask)
        valid = mask.sum(1).clamp(min=1).sqrt()[:, None, None]
        pooled = reads @ history / valid  # B N d
        gate = self._gate(opens, history, candidates, context, valid)  # B N K
        known = (cross - self.cross_mean) / self.cross_scale
        wide = context.unsqueeze(1).expand_as(candidates)
        x = torch.cat([pooled, candidates, pooled * candidates, wide, wide * candidates, known], dim=-1)
        shares = self.blend * gate * self.experts(x)
        return Ranked(shares.sum(-1) + self.linear(known).squeeze(-1), gate, x, shares, reads, opens)

    def asked(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Whether requests are searches [B, 1], and the direction of their query [B, d], 0 where not."""
        query = query * self.knows_queries
        asked = (query != 0).any(-1, keepdim=True)
        return asked, self.query(F.normalize(query, dim=-1) * query.shape[-1] ** 0.5)

    def _weights(
        self, history: Tensor, target: Tensor, words: Tensor, asked: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        every = mask[:, None, :].to(history.dtype).expand(-1, target.shape[1], -1)
        if self.form.reads == "sum":
            return every, every
        reads, opens = self.activation(history, target, mask)
        if self.form.gate != "attention":
            return reads, every
        _, searching = self.activation(history, words.unsqueeze(1), mask)
        return reads, torch.where(asked.unsqueeze(-1), searching, opens)

    def _gate(self, opens: Tensor, history: Tensor, target: Tensor, context: Tensor, valid: Tensor) -> Tensor:
        if self.form.gate == "none":
            return torch.ones_like(target[..., :1])
        if self.form.gate == "plain":
            summed = (history.sum(1, keepdim=True) / valid).expand_as(target)
            read = torch.cat([summed, target, context.unsqueeze(1).expand_as(target)], dim=-1)
            plain: Tensor = (self.gate_unit(read) + self.gate_base).softmax(-1)
            return plain
        units = self.gate_unit(torch.cat([history, context.unsqueeze(1).expand_as(history)], dim=-1))
        gate: Tensor = opens @ units / valid + self.gate_base
        return gate
