"""Random inputs of the graphs' shapes, as the encoding makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.encode import CROSS, GAP_BUCKETS, total_size, total_width
from models.schema import Field, Schema

Inputs = dict[str, NDArray[Any]]


def sample_history(random: np.random.Generator, schema: Schema, dim: int, users: int, steps: int) -> Inputs:
    """Right-aligned histories of 0..`steps` events; the first of several is empty, the last one full."""
    length = random.integers(0, steps + 1, users)
    length[0] = 0
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


def sample_candidates(random: np.random.Generator, dim: int, count: int) -> Inputs:
    """`count` candidates of a request, with cross features."""
    return {
        "candidates": unit_rows(random, count, dim),
        "cross": random.normal(size=(count, len(CROSS))).astype(np.float32),
    }


def sample_query(random: np.random.Generator, width: int) -> NDArray[np.float32]:
    """The query of a search, as the query tower gives it: [1, width]."""
    return unit_rows(random, 1, width - 1)


def sample_tokens(random: np.random.Generator, fields: tuple[Field, ...], count: int) -> NDArray[np.int64]:
    """Tokens of the fields [count, W], of any field in any column; about a quarter are absent."""
    tokens = random.integers(0, total_size(fields), (count, total_width(fields)))
    return np.where(random.random(tokens.shape) < 0.25, 0, tokens)


def unit_rows(random: np.random.Generator, count: int, dim: int) -> NDArray[np.float32]:
    """Rows of an item table [count, dim + 1]: a unit vector and a bias."""
    rows = random.normal(size=(count, dim + 1)).astype(np.float32)
    rows[:, :-1] /= np.linalg.norm(rows[:, :-1], axis=1, keepdims=True)
    return rows
