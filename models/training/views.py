"""Self-supervised item views: two halves of an item's content should say the same (arXiv 2007.12865)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.networks.item_tower import ItemTower

Ints = NDArray[np.int64]

ITEMS = 256
"""Items per step, drawn uniformly from the catalogue, so that the tail counts as much as the head."""
TEMPERATURE = 0.1
_SAMPLE = 20_000


class ItemViews:
    """Correlated feature masking: a random field and the half of the fields that tell most about it make one
    view, the others the second; the two views of an item must find each other among all (InfoNCE).

    Were fields masked independently, one view could often be read off a field that the other view repeats.

    Raises:
        ValueError: the items have fewer than two fields.
    """

    def __init__(self, tokens: Ints, widths: list[int]) -> None:
        if len(widths) < 2:
            raise ValueError("tower.views_weight: item views need items with at least two attributes")
        self.tokens = torch.from_numpy(tokens)
        self.partners = torch.from_numpy(np.argsort(-dependence(tokens, widths), axis=1, kind="stable"))

    def loss(self, items: ItemTower) -> Tensor:
        """InfoNCE of one random sample of items, both directions."""
        rows = torch.randint(len(self.tokens), (min(ITEMS, len(self.tokens)),))
        seed = int(torch.randint(len(self.partners), ()))
        first = torch.zeros(len(self.partners))
        first[self.partners[seed, : len(self.partners) // 2]] = 1.0
        tokens = self.tokens[rows]
        one, other = items.view(tokens, first), items.view(tokens, 1.0 - first)
        # An item whose half is empty has no direction there, and nothing to find.
        told = (one.abs().sum(1) > 0) & (other.abs().sum(1) > 0)
        likeness = one[told] @ other[told].T / TEMPERATURE
        same = torch.arange(len(likeness))
        if len(same) < 2:
            return likeness.sum() * 0.0
        return 0.5 * (F.cross_entropy(likeness, same) + F.cross_entropy(likeness.T, same))


def dependence(tokens: Ints, widths: list[int]) -> NDArray[np.float64]:
    """Normalised mutual information [F, F] of the fields' first tokens; a field knows itself best (2)."""
    if len(tokens) > _SAMPLE:
        tokens = tokens[np.linspace(0, len(tokens) - 1, _SAMPLE).astype(np.int64)]
    starts = np.cumsum([0, *widths[:-1]])
    codes = [np.unique(tokens[:, start], return_inverse=True)[1] for start in starts]
    entropy = [_entropy(code) for code in codes]
    found = np.zeros((len(codes), len(codes)))
    for i, one in enumerate(codes):
        for j, other in enumerate(codes):
            joint = _entropy(one * (int(other.max(initial=0)) + 1) + other)
            shared = entropy[i] + entropy[j] - joint
            found[i, j] = 2.0 if i == j else shared / max(min(entropy[i], entropy[j]), 1e-12)
    return found


def _entropy(codes: Ints) -> float:
    share = np.unique(codes, return_counts=True)[1] / max(len(codes), 1)
    return float(-(share * np.log(share)).sum())
