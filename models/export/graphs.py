"""The four ONNX graphs: the trained networks in the form that serving calls."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.encode import CROSS, GAP_BUCKETS, total_size, total_width
from models.networks.aw_moe import AwMoe
from models.networks.hcn import Hcn
from models.networks.item_tower import ItemTower
from models.networks.user_tower import UserTower
from models.schema import Field, Schema
from models.training.networks import Networks

OPSET = 20
HISTORY = ("events", "kind", "gap", "age", "recent", "mask", "profile")


class UserTowerGraph(nn.Module):
    """`user` [B, d + 1]."""

    def __init__(self, tower: UserTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, events: Tensor, kind: Tensor, gap: Tensor, mask: Tensor, profile: Tensor) -> Tensor:
        """Encode."""
        user: Tensor = self.tower(events, kind, gap, mask, profile)
        return user


class PreRankerGraph(nn.Module):
    """`interests` [B, K, d + 1]."""

    def __init__(self, hcn: Hcn) -> None:
        super().__init__()
        self.hcn = hcn

    def forward(
        self,
        events: Tensor,
        kind: Tensor,
        gap: Tensor,
        age: Tensor,
        recent: Tensor,
        mask: Tensor,
        profile: Tensor,
    ) -> Tensor:
        """Encode."""
        interests: Tensor = self.hcn(events, kind, gap, age, recent, mask, profile)
        return interests


class RankerGraph(nn.Module):
    """`logit` [N] of one user's candidates."""

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
        candidates: Tensor,
        cross: Tensor,
    ) -> Tensor:
        """Rank."""
        logits, _ = self.ranker(
            events, kind, gap, age, mask, profile, candidates.unsqueeze(0), cross.unsqueeze(0)
        )
        logit: Tensor = logits[0]
        return logit


class ItemTowersGraph(nn.Module):
    """`item`, `prerank` and `rank` vectors [n, d + 1] of items known by content alone."""

    def __init__(self, item: ItemTower, prerank: ItemTower, rank: ItemTower) -> None:
        super().__init__()
        self.item, self.prerank, self.rank = item, prerank, rank

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode."""
        return self.item.new(tokens), self.prerank.new(tokens), self.rank.new(tokens)


@dataclass(frozen=True)
class Exported:
    """One graph as bytes, with recorded inputs and the answers that torch gave them."""

    name: str
    onnx: bytes
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]


def export_graphs(networks: Networks, schema: Schema, seed: int) -> list[Exported]:
    """Export the four graphs; the recorded inputs are random, seeded histories of the schema's shapes."""
    random = np.random.default_rng(seed)
    batch, steps = torch.export.Dim("batch", max=1 << 16), torch.export.Dim("steps", max=1 << 12)
    per_event = {0: batch, 1: steps}
    shapes: dict[str, Any] = {**dict.fromkeys(HISTORY, per_event), "profile": {0: batch}}

    def history(dim: int, users: int) -> dict[str, NDArray[Any]]:
        return sample_history(random, schema, dim, users, min(7, schema.history_length))

    tower = UserTowerGraph(networks.users)
    hcn = PreRankerGraph(networks.preranker)
    rank_shapes = {name: {1: steps} for name in HISTORY} | {"profile": {}}
    count = torch.export.Dim("candidates_count", max=1 << 16)
    rank_shapes |= {"candidates": {0: count}, "cross": {0: count}}
    candidates = {
        "candidates": unit_rows(random, 11, networks.rank_items.dim),
        "cross": random.normal(size=(11, len(CROSS))).astype(np.float32),
    }
    tokens = sample_tokens(random, schema.item_fields, 3)
    return [
        _export("user_tower", tower, history(networks.items.dim, 3), shapes, ("user",)),
        _export("preranker", hcn, history(networks.prerank_items.dim, 3), shapes, ("interests",)),
        _export(
            "ranker",
            RankerGraph(networks.ranker),
            {**history(networks.rank_items.dim, 1), **candidates},
            rank_shapes,
            ("logit",),
        ),
        _export(
            "item_towers",
            ItemTowersGraph(networks.items, networks.prerank_items, networks.rank_items),
            {"tokens": tokens},
            {"tokens": {0: torch.export.Dim("items", max=1 << 20)}},
            ("item", "prerank", "rank"),
        ),
    ]


def sample_history(
    random: np.random.Generator, schema: Schema, dim: int, users: int, steps: int
) -> dict[str, NDArray[Any]]:
    """Right-aligned random histories of 0..steps events, as the graphs read them."""
    length = random.integers(0, steps + 1, users)
    length[-1] = steps
    mask = np.arange(steps) >= (steps - length)[:, None]
    events = unit_rows(random, users * steps, dim).reshape(users, steps, dim + 1)
    spans = [random.integers(1, GAP_BUCKETS, mask.shape) for _ in range(2)]
    return {
        "events": events * mask[:, :, None].astype(np.float32),
        "kind": np.where(mask, random.integers(0, len(schema.event_kinds) + 1, mask.shape), 0),
        "gap": np.where(mask, spans[0], 0),
        "age": np.where(mask, spans[1], 0),
        "recent": mask & (np.arange(steps) >= steps // 2),
        "mask": mask,
        "profile": sample_tokens(random, schema.user_fields, users),
    }


def sample_tokens(random: np.random.Generator, fields: tuple[Field, ...], count: int) -> NDArray[np.int64]:
    """Random tokens as `encode_records` makes them; about a quarter are absent."""
    tokens = random.integers(0, total_size(fields), (count, total_width(fields)))
    return np.where(random.random(tokens.shape) < 0.25, 0, tokens)


def unit_rows(random: np.random.Generator, count: int, dim: int) -> NDArray[np.float32]:
    """Random rows of an item table: a unit vector and a bias."""
    rows = random.normal(size=(count, dim + 1)).astype(np.float32)
    rows[:, :-1] /= np.linalg.norm(rows[:, :-1], axis=1, keepdims=True)
    return rows


def _export(
    name: str,
    module: nn.Module,
    recorded: dict[str, NDArray[Any]],
    shapes: dict[str, Any],
    outputs: tuple[str, ...],
) -> Exported:
    module.eval()
    wanted = list(module.forward.__annotations__)
    inputs = {key: value for key, value in recorded.items() if key in wanted}
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in inputs.items()}
    with torch.no_grad():
        answers = module(**tensors)
    answers = answers if isinstance(answers, tuple) else (answers,)
    with warnings.catch_warnings():
        # The exporter warns of its own internals; what it writes is proven by parity.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            kwargs=tensors,
            dynamic_shapes={key: shapes[key] for key in tensors},
            input_names=list(tensors),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    stream = io.BytesIO()
    onnx.save(program.model_proto, stream)
    return Exported(
        name,
        stream.getvalue(),
        inputs,
        dict(zip(outputs, (answer.numpy() for answer in answers), strict=True)),
    )
