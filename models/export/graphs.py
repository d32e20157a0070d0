"""The ONNX graphs: the trained networks in the form that serving calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from models import artifacts
from models.export.eight_bit_ranker import ROUNDED, EightBitRanker
from models.export.folded_hcn import FoldedHcn
from models.export.ranker_graphs import EXPLAINED, ExplainGraph, serving_form
from models.export.samples import sample_candidates, sample_history, sample_query, sample_tokens
from models.export.translate import TOLERANCE, Axes, Blueprint, Exported, translate
from models.networks.aw_moe import AwMoe
from models.networks.item_tower import ItemTower
from models.schema import Schema
from models.training.networks import Networks
from models.training.query_model import HashedQuery, QueryModel
from models.training.ranges import Ranges

HISTORY = ("events", "kind", "gap", "age", "recent", "mask", "profile")
USERS, STEPS, CANDIDATES, ITEMS = 3, 7, 11, 3
"""Sizes of the recorded inputs."""
TEXTS = ("the matrix", "Amélie", "東京物語 1953", "")


class ItemTowersGraph(nn.Module):
    """Rows of the three tables for items known by content alone: `item` and `prerank` [n, d + 1], `rank`
    [n, d]."""

    def __init__(self, item: ItemTower, prerank: ItemTower, rank: ItemTower, ranker: AwMoe) -> None:
        super().__init__()
        self.item, self.prerank, self.rank = item, prerank, rank
        self.ranker = ranker

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode."""
        return self.item.new(tokens), self.prerank.new(tokens), self.ranker.items(self.rank.new(tokens))


def export_graphs(
    networks: Networks, schema: Schema, seed: int, ranges: Ranges | None = None
) -> list[Exported]:
    """Export every graph but the query tower; the recorded inputs are random, seeded histories.

    With `ranges` the ranker's experts are products of 8-bit numbers (see `serving_form`).
    """
    plans = blueprints(networks, schema, np.random.default_rng(seed), ranges)
    return [translate(each) for each in tqdm(plans, desc="graphs", unit="graph", disable=None)]


def export_query(query: QueryModel) -> Exported:
    """Export the query tower; the recorded inputs are texts of several scripts, one of them empty."""
    batch = torch.export.Dim("batch", max=1 << 16)
    # All tokens of the texts, whether or not training has met them.
    whole = HashedQuery(query.tower, np.ones_like(query.known)) if isinstance(query, HashedQuery) else query
    inputs = whole.inputs(TEXTS)
    axes: Axes = {name: {0: batch} for name in inputs}
    return translate(Blueprint(Path(artifacts.QUERY_TOWER).stem, query.tower, inputs, axes, ("query",)))


def blueprints(
    networks: Networks, schema: Schema, random: np.random.Generator, ranges: Ranges | None = None
) -> list[Blueprint]:
    """What is exported, with the inputs that are recorded."""
    steps = min(STEPS, schema.history_length)
    item, prerank, rank = networks.items.dim, networks.prerank_items.dim, networks.rank_items.dim - 1
    width, served = networks.ranker.query.in_features, serving_form(networks.ranker, ranges)
    ranked = (
        sample_history(random, schema, rank, 1, steps)
        | sample_candidates(random, rank, CANDIDATES)
        | {"query": sample_query(random, width)}
    )
    return [
        Blueprint(
            Path(artifacts.USER_TOWER).stem,
            networks.users,
            sample_history(random, schema, item, USERS, steps),
            _many_users(),
            ("user",),
        ),
        Blueprint(
            Path(artifacts.PRERANKER).stem,
            FoldedHcn(networks.preranker),
            sample_history(random, schema, prerank, USERS, steps),
            _many_users(),
            ("interests",),
        ),
        Blueprint(
            Path(artifacts.RANKER).stem,
            served,
            ranked,
            request_axes(),
            ("logit",),
            ROUNDED if isinstance(served, EightBitRanker) else TOLERANCE,
        ),
        Blueprint(
            Path(artifacts.RANKER_EXPLAIN).stem,
            ExplainGraph(networks.ranker),
            ranked,
            request_axes(),
            EXPLAINED,
        ),
        Blueprint(
            Path(artifacts.ITEM_TOWERS).stem,
            ItemTowersGraph(networks.items, networks.prerank_items, networks.rank_items, networks.ranker),
            {"tokens": sample_tokens(random, schema.item_fields, ITEMS)},
            {"tokens": {0: torch.export.Dim("items", max=1 << 20)}},
            ("item", "prerank", "rank"),
        ),
    ]


def _many_users() -> Axes:
    batch, steps = torch.export.Dim("batch", max=1 << 16), torch.export.Dim("steps", max=1 << 12)
    return {name: {0: batch, 1: steps} for name in HISTORY} | {"profile": {0: batch}}


def request_axes() -> Axes:
    """The axes of one request's inputs that vary: events and candidates."""
    steps, count = torch.export.Dim("steps", max=1 << 12), torch.export.Dim("count", max=1 << 16)
    axes = {name: {1: steps} for name in HISTORY} | {"profile": {}, "query": {}}
    return axes | {"candidates": {0: count}, "cross": {0: count}}
