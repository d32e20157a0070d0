"""AW-MoE as its formulas read, one request at a time: what faster forms are compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.aw_moe import AwMoe


class PlainAwMoe(nn.Module):
    """The weights of an `AwMoe` of the form "aw-moe"; every pair of event and candidate is spelt out."""

    def __init__(self, ranker: AwMoe) -> None:
        super().__init__()
        assert (ranker.form.reads, ranker.form.gate) == ("attention", "attention")
        self.ranker = ranker

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
        ranker = self.ranker
        h_j = ranker.event(events, kind, gap, age)[0]  # T d
        h_t = candidates
        asked, words = ranker.asked(query)
        h_c = ranker.profile(profile) + words  # 1 d
        valid = mask.sum().clamp(min=1).sqrt()
        reads, opens = self._activate(h_j, h_t, mask)
        _, searching = self._activate(h_j, words, mask)
        opens = torch.where(asked, searching, opens)
        v = reads @ h_j / valid  # N d
        units = ranker.gate_unit(torch.cat([h_j, h_c.expand_as(h_j)], dim=-1))  # T K
        gate = opens @ units / valid + ranker.gate_base
        known = (cross - ranker.cross_mean) / ranker.cross_scale
        h_c = h_c.expand_as(h_t)
        x = torch.cat([v, h_t, v * h_t, h_c, h_c * h_t, known], dim=-1)
        scores = torch.stack([self._expert(k, x) for k in range(ranker.experts.experts)], dim=-1)
        logit: Tensor = ranker.blend * (gate * scores).sum(-1) + ranker.linear(known).squeeze(-1)
        return logit

    def _activate(self, h_j: Tensor, h_t: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Both weights [N, T] of events [T, d] for references [N, d]: a network over every pair."""
        unit = self.ranker.activation
        left = h_j.unsqueeze(0).expand(h_t.shape[0], -1, -1)
        right = h_t.unsqueeze(1).expand(-1, h_j.shape[0], -1)
        pairs = torch.cat([left, right, left * right], dim=-1)  # N T 3d
        first = torch.cat([unit.event.weight.T, unit.target, unit.product])
        weights = unit.heads(F.relu(pairs @ first + unit.event.bias)) * mask[0, :, None]
        return weights[..., 0], weights[..., 1]

    def _expert(self, k: int, x: Tensor) -> Tensor:
        """One expert's scores [N]."""
        experts = self.ranker.experts
        width = experts.second.shape[1]
        own = slice(k * width, (k + 1) * width)
        hidden = F.relu(F.linear(x, experts.first.weight[own], experts.first.bias[own]))
        hidden = F.relu(hidden @ experts.second[k] + experts.second_bias[k])
        score: Tensor = (hidden @ experts.last[k]).squeeze(-1)
        return score
