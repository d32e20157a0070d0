"""Retrieval losses by name: which items a user vector must beat."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

FULL_SOFTMAX_LIMIT = 20_000


class RetrievalLoss(Protocol):
    """`(score, table, targets) -> scalar`."""

    def __call__(self, queries: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        """Queries [B, d + 1] or [B, K, d + 1] (the best of K counts), item table [m, d + 1], targets [B]."""


class FullSoftmax:
    """Cross-entropy over the whole catalogue: exact, for catalogues that fit."""

    def __init__(self, frequency: Tensor, negatives: int) -> None:
        pass

    def __call__(self, queries: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        """The loss."""
        return F.cross_entropy(scores(queries, table), targets)


class SampledSoftmax:
    """Softmax over the batch's targets and uniform negatives, with logQ correction (Bengio & Senecal 2008).

    q(item) = expected number of times that the sample holds it: B * frequency + negatives / m.
    """

    def __init__(self, frequency: Tensor, negatives: int) -> None:
        self.frequency = frequency / frequency.sum().clamp(min=1)
        self.negatives = negatives

    def __call__(self, queries: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        """The loss."""
        items = len(table)
        uniform = torch.randint(items, (self.negatives,), device=targets.device)
        sample, place = torch.unique(torch.cat([targets, uniform]), return_inverse=True)
        expected = len(targets) * self.frequency[sample] + self.negatives / items
        logits = scores(queries, table[sample]) - expected.clamp(max=1).log()
        return F.cross_entropy(logits, place[: len(targets)])


def scores(queries: Tensor, table: Tensor) -> Tensor:
    """Inner products of [B, d + 1] or, the best of K, of [B, K, d + 1], with a table [m, d + 1]: [B, m]."""
    products = queries @ table.T
    return products.amax(1) if queries.dim() == 3 else products


RETRIEVAL_LOSSES: dict[str, type[FullSoftmax] | type[SampledSoftmax]] = {
    "full-softmax": FullSoftmax,
    "sampled-softmax": SampledSoftmax,
}


def retrieval_loss(name: str, frequency: Tensor, negatives: int) -> RetrievalLoss:
    """The loss of that name; "auto" takes the full softmax up to `FULL_SOFTMAX_LIMIT` items.

    Raises:
        ValueError: the name is unknown.
    """
    if name == "auto":
        name = "full-softmax" if len(frequency) <= FULL_SOFTMAX_LIMIT else "sampled-softmax"
    if name not in RETRIEVAL_LOSSES:
        raise ValueError(f"unknown loss {name!r}; known are {', '.join(sorted(RETRIEVAL_LOSSES))}")
    return RETRIEVAL_LOSSES[name](frequency, negatives)
