"""Data sets that are hardly more than pairs of users and items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import ABSENT, Dataset, Relations, time_order
from models.schema import FieldKind

Ids = NDArray[np.int64]

START_MS = 946_684_800_000
"""Where made-up times begin: 2000-01-01, long ago, so that none of them is in the future of a service."""
STEP_MS = 1000


def row_times(events: int) -> Ids:
    """Made-up times [E]: row k is k seconds after `START_MS`.

    Rows are user by user. So all times differ, those of a user ascend by the second, and no model learns
    anything from the spans between them, which are all alike.
    """
    return START_MS + STEP_MS * np.arange(events, dtype=np.int64)


def shuffled(users: Ids, parts: NDArray[np.integer[Any]], seed: int) -> Ids:
    """The permutation [E] that sorts by user, then part, and shuffles what is equal in both.

    For events without an order: in many such files a user's items are sorted by number, and a model of
    sequences would learn to count instead of what the user likes.
    """
    chance = np.random.default_rng(seed).random(len(users))
    order: Ids = np.lexsort((chance, parts, users))
    return order


def plain_dataset(
    name: str,
    kind: str,
    users: Ids,
    items: Ids,
    time_ms: Ids,
    *,
    parts: NDArray[np.int8] | None = None,
    order: str = "time",
    item_fields: Mapping[str, FieldKind] | None = None,
    item_records: Mapping[int, dict[str, Any]] | None = None,
    relations: tuple[Ids, Ids, Ids] | None = None,
) -> Dataset:
    """The data set of events of one kind: `users`, `items` (their numbers), `time_ms`, `parts`, all [E].

    Users and items stand in the order of their numbers; items are those of `item_records` and of the events.
    `relations` are pairs of these items by number, and the index of their relation, each [R].
    """
    records = item_records or {}
    user_ids, user_rows = np.unique(users, return_inverse=True)
    item_ids = np.union1d(np.array(list(records), np.int64), items)
    by_time = time_order(time_ms)
    return Dataset(
        name=name,
        item_fields=item_fields or {},
        user_fields={},
        item_ids=[str(item) for item in item_ids.tolist()],
        item_records=[records.get(item, {}) for item in item_ids.tolist()],
        item_created_ms=np.zeros(len(item_ids), np.int64),
        item_available=np.ones(len(item_ids), bool),
        item_bid_micros=np.full(len(item_ids), ABSENT, np.int64),
        user_ids=[str(user) for user in user_ids.tolist()],
        user_records=[{} for _ in range(len(user_ids))],
        event_kinds=(kind,),
        event_user=user_rows[by_time].astype(np.int32),
        event_item=np.searchsorted(item_ids, items)[by_time].astype(np.int32),
        event_kind=np.zeros(len(items), np.int16),
        event_time_ms=time_ms[by_time],
        event_value=np.full(len(items), np.nan, np.float32),
        event_part=None if parts is None else parts[by_time].astype(np.int8),
        order=order,
        relations=None
        if relations is None
        else Relations(
            np.searchsorted(item_ids, relations[0]).astype(np.int32),
            np.searchsorted(item_ids, relations[1]).astype(np.int32),
            relations[2].astype(np.int8),
        ),
    )
