"""The feature schema that a data set gives: vocabularies by frequency, number buckets by quantiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.schema import Field, FieldKind, Schema

Record = Mapping[str, Any]

VALUES = 5000
"""Known values of a category or a set at most; the rarer ones are unknown to the models."""
BUCKETS = 16
SET_WIDTH = 12
TEXT_WIDTH = 32
HASH_SIZE = 4096


def build_schema(
    dataset: Dataset,
    train_events: NDArray[np.integer[Any]],
    history_length: int = 50,
    max_values: int = VALUES,
    min_count: int = 1,
) -> Schema:
    """The schema learned from the items and users that `train_events` (rows of the events) touch.

    A value that only other items have is unknown to the models, as it will be online.
    """
    item_rows = np.unique(dataset.event_item[train_events]).tolist()
    user_rows = np.unique(dataset.event_user[train_events]).tolist()
    items = [dataset.item_records[row] for row in item_rows]
    users = [dataset.user_records[row] for row in user_rows]
    return Schema(
        item_fields=tuple(
            _field(name, kind, items, max_values, min_count) for name, kind in dataset.item_fields.items()
        ),
        user_fields=tuple(
            _field(name, kind, users, max_values, min_count) for name, kind in dataset.user_fields.items()
        ),
        event_kinds=dataset.event_kinds,
        placements=dataset.placements,
        history_length=history_length,
    )


def _field(name: str, kind: FieldKind, records: Sequence[Record], max_values: int, min_count: int) -> Field:
    values = [record[name] for record in records if name in record]
    if kind is FieldKind.TEXT:
        return Field(name, kind, width=TEXT_WIDTH, hash_size=HASH_SIZE)
    if kind is FieldKind.NUMBER:
        return Field(name, kind, edges=_edges(values))
    if kind is FieldKind.SET:
        vocabulary = _frequent((str(value) for members in values for value in members), max_values, min_count)
        return Field(name, kind, vocabulary, width=_set_width([len(members) for members in values]))
    return Field(name, kind, _frequent(map(str, values), max_values, min_count))


def _frequent(values: Iterable[str], max_values: int, min_count: int) -> tuple[str, ...]:
    counts = Counter(values)
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    return tuple(value for value in ranked if counts[value] >= min_count)[:max_values]


def _edges(values: Sequence[float]) -> tuple[float, ...]:
    """Inner quantiles of the values: at most `BUCKETS` buckets, none of them empty."""
    if not values:
        return ()
    inner = np.quantile(np.asarray(values, np.float64), np.linspace(0, 1, BUCKETS + 1)[1:-1])
    return tuple(edge for edge in np.unique(inner).tolist() if edge > min(values))


def _set_width(sizes: Sequence[int]) -> int:
    if not sizes:
        return 1
    return int(np.clip(np.ceil(np.quantile(sizes, 0.95)), 1, SET_WIDTH))
