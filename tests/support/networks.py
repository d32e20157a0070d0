"""Small untrained networks of every stage, in evaluation mode, and inputs for them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.export.samples import sample_history
from models.schema import Field, FieldKind, Schema
from models.training.config import TrainConfig
from models.training.networks import Networks

ITEMS = 30
SCHEMA = Schema(
    item_fields=(
        Field("title", FieldKind.TEXT, width=4, hash_size=40),
        Field("genres", FieldKind.SET, vocabulary=("a", "b", "c"), width=2),
        Field("year", FieldKind.NUMBER, edges=(1990.0, 2000.0)),
    ),
    user_fields=(Field("town", FieldKind.CATEGORY, vocabulary=("x", "y")), Field("age", FieldKind.NUMBER)),
    event_kinds=("view", "buy"),
    history_length=12,
)
CONFIG = TrainConfig.model_validate(
    {
        "history_length": SCHEMA.history_length,
        "tower": {"dim": 8, "layers": 1},
        "preranker": {"dim": 8, "interests": 3},
        "ranker": {"dim": 6, "experts": 3, "hidden": [12, 8], "activation": 5},
    }
)


def item_tokens(seed: int = 0) -> NDArray[np.int64]:
    """Content tokens of `ITEMS` items, each within its field; item 0 has none at all."""
    random = np.random.default_rng(seed)
    columns, offset = [], 0
    for field in SCHEMA.item_fields:
        tokens = random.integers(0, field.size, (ITEMS, field.width))
        columns.append(np.where(tokens > 0, tokens + offset, 0))
        offset += field.size
    tokens = np.concatenate(columns, axis=1)
    tokens[0] = 0
    return tokens


def small_networks(seed: int = 0) -> Networks:
    """Every weight is moved from its start, so that what starts at zero matters, too."""
    torch.manual_seed(seed)
    networks = Networks.build(CONFIG, SCHEMA, item_tokens())
    for name in ("items", "users", "prerank_items", "preranker", "rank_items", "ranker"):
        network = getattr(networks, name).eval()
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        for module in network.modules():
            if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
                module.weight.data[module.padding_idx] = 0.0
        network.requires_grad_(False)
    return networks


def history(dim: int, users: int, steps: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Histories of `users`, the first of several empty; see `sample_history`."""
    random = np.random.default_rng(seed)
    return {
        key: torch.from_numpy(value)
        for key, value in sample_history(random, SCHEMA, dim, users, steps).items()
    }


def empty(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same users without any event."""
    return {key: value if key == "profile" else torch.zeros_like(value) for key, value in inputs.items()}


def padded(inputs: dict[str, torch.Tensor], by: int) -> dict[str, torch.Tensor]:
    """The same histories behind `by` more masked places."""
    grown = {}
    for key, value in inputs.items():
        if key == "profile":
            grown[key] = value
        else:
            pad = torch.zeros(value.shape[0], by, *value.shape[2:], dtype=value.dtype)
            grown[key] = torch.cat([pad, value], dim=1)
    return grown


def one(inputs: dict[str, torch.Tensor], b: int) -> dict[str, torch.Tensor]:
    """User `b` alone."""
    return {key: value[b : b + 1] for key, value in inputs.items()}
