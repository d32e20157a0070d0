"""What each interest is about: the attribute values and the items that are typical of its cluster.

All of this is our choice. A value is typical where it is frequent in the cluster and rarer elsewhere; an item
where it is popular and close to the cluster's centre.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import write_json
from models.schema import Field, FieldKind, Schema

Rows = NDArray[np.int32]
Value = tuple[str, str]
"""A field's name, and how one of its values reads."""

SAMPLE = 1000
"""At most so many items of a cluster are read, evenly spread."""
VALUES = 3
ITEMS = 10
LEAST_SHARE = 0.2
"""A typical value is one of at least so many of the cluster's items."""
LEAST_GAIN = 0.02
"""What a value must tell at least: its share in the cluster x log(that / its share in the catalogue)."""
_YEARS = range(1500, 2200)


def write_interest_labels(folder: Path, records: Sequence[Mapping[str, Any]], schema: Schema) -> None:
    """Write `INTEREST_LABELS` into a folder that has the item tables: per cluster `attributes` and `items`.

    `attributes` are at most `VALUES` readable values, the most telling first; `items` at most `ITEMS` rows
    of available items, the most typical first.
    """
    assignment = np.load(folder / artifacts.ASSIGNMENT)
    centroids = np.load(folder / artifacts.CENTROIDS)
    vectors = np.load(folder / artifacts.ITEM_VECTORS, mmap_mode="r")
    popularity = np.load(folder / artifacts.POPULARITY, mmap_mode="r").sum(axis=0)
    available = np.load(folder / artifacts.ITEM_AVAILABLE)
    clusters = members(assignment, len(centroids))
    attributes = typical_values(records, schema.item_fields, clusters)
    items = [
        typical_items(
            rows[available[rows]],
            artifacts.taken(vectors, rows[available[rows]])[:, :-1],
            centroid,
            popularity,
        )
        for rows, centroid in zip(clusters, centroids, strict=True)
    ]
    labels = [
        {"attributes": values, "items": rows.tolist()} for values, rows in zip(attributes, items, strict=True)
    ]
    write_json(folder / artifacts.INTEREST_LABELS, {"interests": labels})


def members(assignment: Rows, count: int) -> list[Rows]:
    """The rows of each of `count` clusters, ascending."""
    order = np.argsort(assignment, kind="stable").astype(np.int32)
    bounds = np.searchsorted(assignment[order], np.arange(1, count))
    return np.split(order, bounds)


def typical_values(
    records: Sequence[Mapping[str, Any]], fields: Sequence[Field], clusters: Sequence[Rows]
) -> list[list[str]]:
    """The most telling values of each cluster, at most one of a number; texts tell nothing here.

    The catalogue's shares are those of the samples, each weighted by the size of its cluster.
    """
    samples = [rows[:: -(-len(rows) // SAMPLE)] if len(rows) else rows for rows in clusters]
    shares = [_shares(records, fields, sample) for sample in samples]
    total = max(sum(map(len, clusters)), 1)
    everywhere: Counter[Value] = Counter()
    for rows, found in zip(clusters, shares, strict=True):
        for value, share in found.items():
            everywhere[value] += share * len(rows) / total  # type: ignore[assignment]
    numbers = {field.name for field in fields if field.kind is FieldKind.NUMBER}
    return [_most_telling(found, everywhere, numbers) for found in shares]


def typical_items(
    rows: Rows, directions: NDArray[np.float32], centroid: NDArray[np.float32], popularity: NDArray[Any]
) -> Rows:
    """Of a cluster's items [n], the most popular among the nearer half; ties by row."""
    if len(rows) == 0:
        return rows
    closeness = directions @ centroid
    near = rows[closeness >= np.median(closeness)]
    best: Rows = near[np.lexsort((near, -popularity[near]))][:ITEMS]
    return best


def _shares(records: Sequence[Mapping[str, Any]], fields: Sequence[Field], rows: Rows) -> dict[Value, float]:
    counts: Counter[Value] = Counter()
    for row in rows.tolist():
        counts.update(set(_values(records[row], fields)))
    return {value: count / len(rows) for value, count in counts.items()}


def _values(record: Mapping[str, Any], fields: Sequence[Field]) -> Iterator[Value]:
    for field in fields:
        value = record.get(field.name)
        if value is None or field.kind is FieldKind.TEXT:
            continue
        if field.kind is FieldKind.NUMBER:
            if np.isfinite(number := float(value)):
                yield field.name, _interval(field, number)
        else:
            for one in value if isinstance(value, list) else [value]:
                yield field.name, str(one)


def _interval(field: Field, number: float) -> str:
    """A decade, where the number can only be a year, else the bucket that the models read."""
    if "year" in field.name.lower() and number in _YEARS:
        return f"{int(number) // 10 * 10}s"
    place = int(np.searchsorted(field.edges, number, side="right"))
    if not field.edges:
        return field.name
    if place == 0:
        return f"{field.name} below {field.edges[0]:g}"
    if place == len(field.edges):
        return f"{field.name} from {field.edges[-1]:g}"
    return f"{field.name} {field.edges[place - 1]:g} to {field.edges[place]:g}"


def _most_telling(
    found: Mapping[Value, float], everywhere: Mapping[Value, float], numbers: set[str]
) -> list[str]:
    gain = {
        value: share * log(share / everywhere[value])
        for value, share in found.items()
        if share >= LEAST_SHARE
    }
    telling: list[Value] = []
    for value in sorted(gain, key=lambda value: (-gain[value], value)):
        taken = value[0] in numbers and any(name == value[0] for name, _ in telling)
        if gain[value] >= LEAST_GAIN and not taken:
            telling.append(value)
    # Words first: "Drama, 1990s" reads better than "1990s, Drama", whatever tells more.
    return [text for name, text in sorted(telling[:VALUES], key=lambda value: value[0] in numbers)]
