"""What the ranker is trained on: loss terms over one step's candidates and what the network made of them.

A further term is a module with a `forward(step)`: its parameters are trained along, and never exported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.aw_moe import AwMoe, Ranked
from models.training.batches import Batch
from models.training.ranker_losses import RANKER_LOSSES, contrast
from models.training.timeline import Requests


@dataclass(frozen=True, slots=True)
class Step:
    """B requests with N candidates each, the positive first, and what the ranker says of them.

    `table` [m, d] is what the ranker reads of items, `rows` [B, N] the candidates, `cross` [B, N, X] their
    features, `query` [B, q] the searches' queries, 0 for recommendations.
    """

    requests: Requests
    batch: Batch
    table: Tensor
    rows: Tensor
    cross: Tensor
    query: Tensor
    ranked: Ranked


def rank(
    ranker: AwMoe, table: Tensor, batch: Batch, candidates: Tensor, cross: Tensor, query: Tensor | None = None
) -> Ranked:
    """What the ranker says of candidate rows [B, N]; without `query` [B, q] to recommendations."""
    if query is None:
        query = table.new_zeros(len(batch), ranker.query.in_features)
    ranked: Ranked = ranker(
        batch.events(table),
        batch.kind,
        batch.gap,
        batch.age,
        batch.mask,
        batch.profile,
        query,
        F.embedding(candidates, table),
        cross,
    )
    return ranked


class Fit(nn.Module):
    """A loss of `RANKER_LOSSES` over the logits."""

    def __init__(self, loss: str) -> None:
        super().__init__()
        self._loss = RANKER_LOSSES[loss]

    def forward(self, step: Step) -> Tensor:
        """Its mean."""
        return self._loss(step.ranked.logits)


class Contrast(nn.Module):
    """weight x InfoNCE between the gate of the positive candidate and that of the same sequence, masked.

    Events are hidden at random with `share`: a user with many events then shows how one with few is to be
    treated (arXiv 2306.05011).
    """

    def __init__(self, ranker: AwMoe, weight: float, share: float) -> None:
        super().__init__()
        # In a list, so that the ranker's parameters are not this module's.
        self._ranker = [ranker]
        self._weight, self._share = weight, share

    def forward(self, step: Step) -> Tensor:
        """One row per user."""
        kept = step.batch.mask & (torch.rand(step.batch.mask.shape) >= self._share)
        thin = replace(step.batch, mask=kept)
        only = (step.rows[:, :1], step.cross[:, :1], step.query)
        masked = rank(self._ranker[0], step.table, thin, *only)
        users = torch.from_numpy(step.requests.user)
        return self._weight * contrast(step.ranked.gate[:, 0], masked.gate[:, 0], users)


class KindHeads(nn.Module):
    """weight x BCE of one head per kind of event on what the experts read: which of them will happen?

    The heads are left behind in training (our choice): what is served is the chance of any event, and kinds
    that differ in what they say of an item shape the representation that it is computed from.
    """

    def __init__(self, inputs: int, kind: NDArray[np.int64], kinds: int, width: int, weight: float) -> None:
        """`kind` [E] are the kind tokens, from 1, by place of the timeline."""
        super().__init__()
        self._kind, self._weight = kind, weight
        self.heads = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, kinds))

    def forward(self, step: Step) -> Tensor:
        """Its mean over candidates and kinds."""
        logits = self.heads(step.ranked.shared)
        labels = torch.zeros_like(logits)
        # A request ends where its target stands in the timeline.
        kinds = torch.from_numpy(self._kind[step.requests.end]) - 1
        labels[torch.arange(len(labels)), 0, kinds] = 1.0
        return self._weight * F.binary_cross_entropy_with_logits(logits, labels)
