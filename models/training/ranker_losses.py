"""Ranker losses by name, over logits [B, N] whose first candidate is the positive one."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def pointwise(logits: Tensor) -> Tensor:
    """Binary cross-entropy of every candidate on its own."""
    labels = torch.zeros_like(logits)
    labels[:, 0] = 1.0
    return F.binary_cross_entropy_with_logits(logits, labels)


def listwise(logits: Tensor) -> Tensor:
    """Softmax cross-entropy: the positive must beat the list."""
    return -F.log_softmax(logits, dim=1)[:, 0].mean()


def mixed(logits: Tensor) -> Tensor:
    """The list's order and each candidate's level, equally weighed (our choice)."""
    return pointwise(logits) + listwise(logits)


RANKER_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "pointwise": pointwise,
    "listwise": listwise,
    "mixed": mixed,
}


def contrast(gate: Tensor, masked: Tensor, users: Tensor, temperature: float = 0.2) -> Tensor:
    """InfoNCE between the gate's outputs [B, K] of whole and of masked sequences, one row per user [B]."""
    order = torch.argsort(users, stable=True)
    sorted_users = users[order]
    first = torch.ones_like(sorted_users, dtype=torch.bool)
    first[1:] = sorted_users[1:] != sorted_users[:-1]
    rows = order[first]
    similarity = F.normalize(gate[rows], dim=-1) @ F.normalize(masked[rows], dim=-1).T
    return F.cross_entropy(similarity / temperature, torch.arange(len(rows)))
