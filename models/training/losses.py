"""Retrieval losses by name: which items a user vector must beat."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

FULL_SOFTMAX_LIMIT = 20_000
_NOT_THIS = -1e9


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
    """Softmax over the target and a sample of others, with logQ correction (Bengio & Senecal 2008).

    Half of the sample are other targets of the batch, so that popular items are met as often as they are
    popular; half is uniform over the catalogue. A draw's chance is q = (frequency + 1 / m) / 2; a draw that
    is the target itself does not count (our choice: the sample does not grow with the batch).
    """

    def __init__(self, frequency: Tensor, negatives: int) -> None:
        self.frequency = frequency / frequency.sum().clamp(min=1)
        self.negatives = negatives

    def __call__(self, queries: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        """The loss."""
        items, half = len(table), self.negatives // 2
        popular = targets[torch.randint(len(targets), (half,), device=targets.device)]
        uniform = torch.randint(items, (self.negatives - half,), device=targets.device)
        sample = torch.cat([popular, uniform])
        chance = self.negatives * 0.5 * (self.frequency[sample] + 1.0 / items)
        logits = scores(queries, table[sample]) - chance.log()
        logits = logits.masked_fill(sample[None, :] == targets[:, None], _NOT_THIS)
        own = scores_of(queries, table[targets])
        return F.cross_entropy(torch.cat([own[:, None], logits], 1), torch.zeros_like(targets))


def scores(queries: Tensor, table: Tensor) -> Tensor:
    """Inner products of [B, d + 1] or, the best of K, of [B, K, d + 1], with a table [m, d + 1]: [B, m]."""
    products = queries @ table.T
    return products.amax(1) if queries.dim() == 3 else products


def scores_of(queries: Tensor, rows: Tensor) -> Tensor:
    """The same for one row of `rows` [B, d + 1] per query: [B]."""
    if queries.dim() == 3:
        return (queries * rows.unsqueeze(1)).sum(-1).amax(1)
    return (queries * rows).sum(-1)


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
