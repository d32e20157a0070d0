"""The ranker as serving calls it: one user, N candidates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.export.eight_bit_ranker import EightBitRanker
from models.export.samples import sample_candidates, sample_history
from models.export.split_ranker import SplitRanker, splits
from models.networks.aw_moe import AwMoe, Ranked
from models.schema import Schema
from models.training.ranges import Ranges

EXPLAINED = ("logit", "experts", "attention", "gate")
RANKER_INPUTS = ("events", "kind", "gap", "age", "mask", "profile", "query", "candidates", "cross")


def serving_form(ranker: AwMoe, ranges: Ranges | None = None) -> nn.Module:
    """`logit` [N] of one user's candidates: the split form where there is one.

    With `ranges` its experts are products of 8-bit numbers, unless it reads queries: those of searches make
    other ranges than were measured.
    """
    if not splits(ranker):
        return RankerGraph(ranker)
    if ranges is None or ranker.knows_queries.item():
        return SplitRanker(ranker)
    return EightBitRanker(ranker, ranges)


def sampled_ranges(ranker: AwMoe, schema: Schema, requests: int = 8) -> Ranges:
    """The ranges of a ranker that nobody trained, over random requests with full histories."""
    random, dim = np.random.default_rng(0), ranker.target.out_features
    shared = []
    for _ in range(requests):
        inputs = sample_history(random, schema, dim - 1, 1, schema.history_length)
        inputs |= sample_candidates(random, dim - 1, 100)
        inputs["query"] = np.zeros((1, ranker.query.in_features), np.float32)
        tensors = (torch.from_numpy(inputs[name]) for name in RANKER_INPUTS)
        shared.append(one_user(ranker, *tensors).shared)
    return Ranges.of(ranker, shared)


class RankerGraph(nn.Module):
    """`logit` [N] of one user's candidates, by the network as it was trained."""

    def __init__(self, ranker: AwMoe) -> None:
        super().__init__()
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
        """Rank."""
        logit: Tensor = one_user(
            self.ranker, events, kind, gap, age, mask, profile, query, candidates, cross
        ).logits[0]
        return logit


class ExplainGraph(nn.Module):
    """`logit` [N], and how it came about: `experts` [N, K], `attention` [N, T], `gate` [N, T].

    An expert's part of the logit is b G_k s_k; what the parts leave over is the linear path of the cross
    features. `attention` are alpha_j, the weights with which events enter the input, `gate` are a_j, those
    with which their units enter the gate; 0 at pads. All are in the ranker's own units and may be negative.
    """

    def __init__(self, ranker: AwMoe) -> None:
        super().__init__()
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
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rank, and tell."""
        told = one_user(self.ranker, events, kind, gap, age, mask, profile, query, candidates, cross)
        return told.logits[0], told.shares[0], told.reads[0], told.opens[0]


def one_user(ranker: AwMoe, *inputs: Tensor) -> Ranked:
    """A request's candidates [N, d] and cross features [N, X], the last two inputs, as a batch of one."""
    *shared, candidates, cross = inputs
    ranked: Ranked = ranker(*shared, candidates.unsqueeze(0), cross.unsqueeze(0))
    return ranked
