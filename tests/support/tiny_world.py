"""A small world with planted tastes: items, vectors and events whose right answers are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.schema import Field, FieldKind, Schema

TASTES = ("comedy", "drama", "horror", "western")
PER_TASTE = 30
ITEMS = PER_TASTE * len(TASTES)
USERS = 40
DIM = 8
NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000

SCHEMA = Schema(
    item_fields=(
        Field("title", FieldKind.TEXT, width=8, hash_size=64),
        Field("genres", FieldKind.SET, vocabulary=TASTES, width=3),
        Field("studio", FieldKind.CATEGORY, vocabulary=("north", "south")),
        Field("year", FieldKind.NUMBER, edges=(1980.0, 2000.0)),
    ),
    user_fields=(Field("segment", FieldKind.CATEGORY, vocabulary=("new", "old")),),
    event_kinds=("view", "like"),
    placements=("default", "home"),
    history_length=20,
)


@dataclass(frozen=True)
class World:
    """Items by row: taste `row % 4`, id `item-<row>`, created a day apart (row 0 last), row 7 hidden.

    `users`, `items` [E] are events, oldest first; user u likes taste `u % 4`.
    """

    ids: list[str]
    records: list[dict[str, Any]]
    taste: NDArray[np.int64]
    created: NDArray[np.int64]
    available: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    popularity: NDArray[np.float32]
    directions: NDArray[np.float32]
    users: NDArray[np.int32]
    items: NDArray[np.int32]


def tiny_world(seed: int = 5) -> World:
    """The world of a seed."""
    rng = np.random.default_rng(seed)
    rows = np.arange(ITEMS)
    taste = rows % len(TASTES)
    directions = np.eye(len(TASTES), DIM, dtype=np.float32)
    raw = directions[taste] + rng.normal(0.0, 0.25, (ITEMS, DIM)).astype(np.float32)
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    users, items = _events(rng, taste)
    counts = np.bincount(items, minlength=ITEMS).astype(np.float32)
    bias = 0.1 * np.log1p(counts)
    return World(
        ids=[f"item-{row}" for row in rows],
        records=[_record(row) for row in rows.tolist()],
        taste=taste,
        created=(NOW_MS - DAY_MS * (rows + 1)).astype(np.int64),
        available=rows != 7,
        vectors=np.column_stack([unit, bias]).astype(np.float32),
        popularity=np.stack([counts, counts * (taste == 2)]).astype(np.float32),
        directions=directions,
        users=users,
        items=items,
    )


def _record(row: int) -> dict[str, Any]:
    taste = TASTES[row % len(TASTES)]
    return {
        "title": f"The {taste} number {row}",
        "genres": [taste, "classic"] if row % 10 == 0 else [taste],
        "studio": "north" if row % 3 else None,
        "year": 1970 + row // 3,
    }


def _events(
    rng: np.random.Generator, taste: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    users = np.repeat(np.arange(USERS, dtype=np.int32), 10)
    liked = users % len(TASTES)
    stray = rng.random(len(users)) < 0.1
    wanted = np.where(stray, rng.integers(0, len(TASTES), len(users)), liked)
    items = np.array([rng.choice(np.flatnonzero(taste == t)) for t in wanted], np.int32)
    return users, items
