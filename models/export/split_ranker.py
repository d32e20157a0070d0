"""The ranker in the form that serving runs: the same numbers with less work per candidate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.aw_moe import AwMoe


def splits(ranker: AwMoe) -> bool:
    """Whether the form of a ranker can be rewritten."""
    return ranker.form.reads == "attention" and ranker.form.gate == "attention"


class SplitRanker(nn.Module):
    """An `AwMoe` of the form "aw-moe", rewritten for one request (our choice).

    Shapes as of `AwMoe`, a the width of the activation, f of an expert's layer. What is linear in the
    candidate once the request is fixed becomes one matrix per request:

    - activation: [diag(h_j) W_p + W_t] of all events, d x (a T): one product for all candidates;
    - experts: h_t W_t + (h_c * h_t) W_ct = h_t (W_t + diag(h_c) W_ct), and h_c W_c is a constant.

    The gate's units see only event and context, so they are computed once per request. Scales, means, the
    blend and the square root of the history's length are folded into weights and into the T rows of the
    history, which are 0 at pads. Candidates are columns: then nothing between two products has to be turned,
    and heads and last layers are rows, for which ONNX Runtime is several times faster than for columns. A
    ranker that knows no queries ignores them altogether.

    The experts' linear part of a candidate (K f numbers per item) is not read from a table: that would take
    K f / d times the memory of the items' projections and save a fifth of the time.
    """

    def __init__(self, ranker: AwMoe) -> None:
        super().__init__()
        assert splits(ranker)
        self.dim, self.experts = ranker.target.out_features, ranker.experts.experts
        self.width = ranker.activation.product.shape[1]
        self.knows_queries = bool(ranker.knows_queries.item())
        self.event, self.profile, self.query = ranker.event, ranker.profile, ranker.query
        with torch.no_grad():
            self._fold(ranker)

    def _fold(self, ranker: AwMoe) -> None:
        unit, experts, dim = ranker.activation, ranker.experts, self.dim
        # a 1 d
        self.product, self.towards = (_kept(part.T.unsqueeze(1)) for part in (unit.product, unit.target))
        self.from_event = _kept(unit.event.weight)
        self.event_bias = _kept(unit.event.bias[:, None])
        self.reads, self.opens = (_kept(row[None]) for row in unit.heads.weight)
        self.reads_bias, self.opens_bias = _kept(unit.heads.bias[0]), _kept(unit.heads.bias[1])
        self.gate_event, self.gate_context = (_kept(part) for part in ranker.gate_unit.weight.split(dim, 1))
        self.gate_bias, self.gate_base = (
            _kept(ranker.gate_unit.bias[:, None]),
            _kept(ranker.gate_base[:, None]),
        )
        widths = [dim] * 5 + [len(ranker.cross_mean)]
        pooled, target, product, context, both, known = experts.first.weight.split(widths, 1)
        known = known / ranker.cross_scale
        self.first = _kept(torch.cat([pooled, product, known], dim=1))
        self.first_target, self.first_both, self.first_context = map(_kept, (target, both, context))
        self.first_bias = _kept((experts.first.bias - known @ ranker.cross_mean)[:, None])
        self.second = _kept(experts.second.transpose(1, 2))
        self.second_bias = _kept(experts.second_bias.transpose(1, 2))
        self.last = _kept(experts.last.transpose(1, 2) * ranker.blend)
        linear = ranker.linear.weight / ranker.cross_scale
        self.linear = _kept(linear)
        self.linear_bias = _kept(ranker.linear.bias - linear @ ranker.cross_mean)

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
    ) -> Tensor:
        """Logits [N] for events [1, T, d], candidates [N, d] and cross [N, X]."""
        present = mask[0].to(events.dtype).unsqueeze(-1)  # T 1
        history = self.event(events, kind, gap, age)[0] * present
        # Each present event's share of a sum: 1 / sqrt(valid).
        share = present / present.sum().clamp(min=1.0).sqrt()
        context = self.profile(profile).T  # d 1
        target = references = candidates.T  # d N
        if self.knows_queries:
            words = self.query(F.normalize(query, dim=-1) * query.shape[-1] ** 0.5).T
            context = context + words
            references = torch.cat([target, words], dim=1)
        hidden = self._activate(references, history)  # a TN
        length = history.shape[0]
        reads = (self.reads @ hidden + self.reads_bias).view(length, -1)  # T N
        opens = (self.opens @ hidden + self.opens_bias).view(length, -1)
        if self.knows_queries:
            opens = torch.where((query != 0).any(), opens[:, -1:], opens[:, :-1])
            reads = reads[:, :-1]
        units = self.gate_event @ history.T + (self.gate_context @ context + self.gate_bias)  # K T
        gate = torch.addmm(self.gate_base, units * share.T, opens)  # K N
        pooled = (history * share).T @ reads  # d N
        scores = self._experts(pooled, target, context, cross.T)
        return (gate * scores).sum(0) + (self.linear @ cross.T + self.linear_bias)[0]

    def _activate(self, references: Tensor, history: Tensor) -> Tensor:
        """The activation's hidden layer [a, T N] of events [T, d] for references [d, N]."""
        matrix = history * self.product + self.towards  # a T d
        bias = self.from_event @ history.T + self.event_bias  # a T
        flat = torch.addmm(bias.reshape(-1, 1), matrix.reshape(-1, self.dim), references)
        return F.relu(flat).view(self.width, -1)

    def _experts(self, pooled: Tensor, target: Tensor, context: Tensor, cross: Tensor) -> Tensor:
        """Scores [K, N]."""
        x = torch.cat([pooled, pooled * target, cross, target])
        matrix = torch.cat([self.first, self.first_target + context.T * self.first_both], dim=1)
        hidden = F.relu(torch.addmm(self.first_context @ context + self.first_bias, matrix, x))
        hidden = hidden.view(self.experts, self.second.shape[2], -1)  # K f N
        hidden = F.relu(self.second @ hidden + self.second_bias)
        return (self.last @ hidden).squeeze(1)


def _kept(weights: Tensor) -> nn.Parameter:
    return nn.Parameter(weights.clone().contiguous(), requires_grad=False)
