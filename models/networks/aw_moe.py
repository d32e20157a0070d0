"""AW-MoE ranker: experts weighed by a gate that reads the behaviour sequence (arXiv 2306.05011)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.event_input import EventInput
from models.networks.profile import Profile
from models.schema import Schema


class Activation(nn.Module):
    """Weights of T events for N candidates, in the algebraically split form (our choice).

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
    """Shapes: B requests, T events, N candidates, K experts, X cross features, d dimension.

    v = sum_j alpha_j h_j / sqrt(valid); x = [v, h_t, v * h_t, h_c, cross], h_c the user's profile;
    G = sum_j a_j g_j / sqrt(valid) + b0, defined for an empty history;
    logit = b sum_k G_k s_k(x) + w . cross.

    The linear path w . cross and the blend b are our choice: the ranker starts from what the funnel knows and
    adds to it (`start_from`).
    """

    cross_mean: Tensor
    cross_scale: Tensor

    def __init__(
        self,
        schema: Schema,
        dim: int,
        experts: int,
        hidden: tuple[int, int],
        activation: int,
        cross: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.event = EventInput(schema, dim + 1, dim, 2, dropout)
        self.target = nn.Linear(dim + 1, dim)
        self.profile = Profile(schema, dim)
        self.activation = Activation(dim, activation)
        self.experts = Experts(4 * dim + cross, experts, hidden, dropout)
        self.gate_unit = nn.Linear(2 * dim, experts)
        self.gate_base = nn.Parameter(torch.full((experts,), 1 / experts))
        self.linear = nn.Linear(cross, 1)
        self.blend = nn.Parameter(torch.ones(1))
        self.register_buffer("cross_mean", torch.zeros(cross))
        self.register_buffer("cross_scale", torch.ones(cross))

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

    def forward(
        self,
        events: Tensor,
        kind: Tensor,
        gap: Tensor,
        age: Tensor,
        mask: Tensor,
        profile: Tensor,
        candidates: Tensor,
        cross: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """candidates [B, N, d + 1], cross [B, N, X] -> logits [B, N] and the gate's G [B, N, K]."""
        history = self.event(events, kind, gap, age) * mask.unsqueeze(-1)
        target = self.target(candidates * self.event.scale)
        context = self.profile(profile)
        reads, opens = self.activation(history, target, mask)
        valid = mask.sum(1).clamp(min=1).sqrt()[:, None, None]
        pooled = reads @ history / valid  # B N d
        units = self.gate_unit(torch.cat([history, context.unsqueeze(1).expand_as(history)], dim=-1))
        gate = opens @ units / valid + self.gate_base  # B N K
        known = (cross - self.cross_mean) / self.cross_scale
        wide = context.unsqueeze(1).expand_as(target)
        scores = self.experts(torch.cat([pooled, target, pooled * target, wide, known], dim=-1))
        return self.blend * (gate * scores).sum(-1) + self.linear(known).squeeze(-1), gate
