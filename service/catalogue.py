"""The items of a bundle and what changed since: rows and ids, records, availability, vectors.

A live record (`ItemChange.record`) is one flat mapping: the attributes by name (`title` included), and
optionally the reserved keys `available` (bool, default true) and `created_at` (ms since the epoch). It
replaces the whole record of the item; None deletes the item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.artifacts import StringColumn
from models.schema import Field
from service.attributes import Attributes, as_number
from service.bundle import Bundle
from service.cascade.query import Hashes, ItemId, Rows
from service.features.store import ItemChange
from service.identifiers import Identifiers, hash_ids
from service.overlay import NewVectors, Overlay
from service.rules import CREATED_AT, Rules
from service.tables import Table
from service.words import Words

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]

RESERVED = ("available", CREATED_AT.name)
"""Keys of a live record that are no attributes."""
NEWEST = 1000
"""How many of the newest items are at hand."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What is derived once from a bundle's items and shared by all snapshots of its catalogue.

    `assignment` [m] is the cluster of each item, `centroids` [C, d] are the clusters' centres; `popular`
    [P, m] are the rows of each placement by falling popularity; `newest` the rows created last.
    """

    identifiers: Identifiers
    records: StringColumn
    attributes: Attributes
    fields: tuple[Field, ...]
    available: Mask
    created: Longs
    centroids: Floats
    assignment: Rows
    cluster_sizes: Longs
    popularity: Floats
    popular: Rows
    newest: Rows


@dataclass(frozen=True)
class Catalogue:
    """One immutable snapshot of M items: those of the bundle, then those that came since.

    `available` [M] and `created` [M] (ms, 0 = unknown) are by row, and the tables `items`, `prerank`,
    `rank` too.
    """

    exported: Exported
    overlay: Overlay
    available: Mask
    created: Longs
    items: Table
    prerank: Table
    rank: Table
    encode: Callable[[Sequence[Mapping[str, Any]]], NewVectors]

    @classmethod
    def of(cls, bundle: Bundle) -> Catalogue:
        """The catalogue as it was exported."""
        exported = _derive(bundle)
        items, prerank, rank = map(
            Table.of, (bundle.item_vectors, bundle.prerank_vectors, bundle.rank_vectors)
        )
        overlay = Overlay(len(items), NewVectors(items.extra, prerank.extra, rank.extra))
        return cls(
            exported, overlay, exported.available, exported.created, items, prerank, rank, bundle.encode_items
        )

    def __len__(self) -> int:
        return self.overlay.size

    def apply(self, changes: Sequence[ItemChange], now_ms: int) -> Catalogue:
        """The snapshot after the changes, oldest first; of several changes of one item the last counts.

        A new item without `created_at` counts as created at `now_ms`.

        Raises:
            OperatorError: the overlay is full.
        """
        last: dict[str, Mapping[str, Any] | None] = {change.item_id: change.record for change in changes}
        known = dict(zip(last, self.rows_of([ItemId(item_id) for item_id in last]).tolist(), strict=True))
        overlay = self.overlay.merge(last, known.__getitem__, self.encode)
        grown = overlay.size - len(self)
        available = np.concatenate([self.available, np.zeros(grown, bool)])
        created = np.concatenate([self.created, np.full(grown, now_ms, np.int64)])
        for item_id, record in last.items():
            row = known[item_id] if known[item_id] >= 0 else overlay.new_rows.get(item_id, -1)
            if row >= 0:
                available[row] = record is not None and bool(record.get("available", True))
                created[row] = _created(record or {}, int(created[row]))
        return replace(
            self,
            overlay=overlay,
            available=available,
            created=created,
            items=replace(self.items, extra=overlay.vectors.item),
            prerank=replace(self.prerank, extra=overlay.vectors.prerank),
            rank=replace(self.rank, extra=overlay.vectors.rank),
        )

    def rows_of(self, item_ids: Sequence[ItemId]) -> Rows:
        """The row of each id [n]; -1 where it is unknown. Deleted items keep their row."""
        rows = self.exported.identifiers.rows_of(item_ids)
        if self.overlay.new_rows:
            for i in np.flatnonzero(rows < 0).tolist():
                rows[i] = self.overlay.new_rows.get(item_ids[i], -1)
        return rows

    def ids_of(self, rows: Rows) -> list[ItemId]:
        """The ids of a few rows."""
        return [ItemId(self._id(row)) for row in rows.tolist()]

    def rows_of_hashes(self, hashes: Hashes) -> Rows:
        """Every row whose id has one of the hashes."""
        late = np.flatnonzero(np.isin(self._new_hashes, hashes)) + self.overlay.base_size
        return np.concatenate([self.exported.identifiers.rows_of_hashes(hashes), late.astype(np.int32)])

    def extend_trail(self, trail: Hashes, rows: Rows) -> Hashes:
        """The hashes of earlier pages and of these rows."""
        return np.concatenate([trail, hash_ids(self.ids_of(rows))])

    def record_of(self, row: int) -> Mapping[str, Any] | None:
        """The attributes of an item as they are now; None = deleted."""
        if row in self.overlay.records:
            return self.overlay.records[row]
        loaded: dict[str, Any] = orjson.loads(self.exported.records[row])
        return loaded

    def is_deleted(self, row: int) -> bool:
        """Whether the item was deleted."""
        return self.overlay.records.get(row, ()) is None

    def popularity(self, placement: int, rows: Rows) -> Floats:
        """Decayed event counts [N] of rows at a placement; 0 for items that came after the export."""
        table = self.exported.popularity[placement]
        counts = table[np.minimum(rows, len(table) - 1)]
        return np.where(rows < len(table), counts, np.float32(0.0))

    def clusters_of(self, rows: Rows) -> Rows:
        """The cluster [N] of each row, for an item that came after the export the nearest one; -1 for -1."""
        table = self.exported.assignment
        clusters = np.where(rows < len(table), table[np.minimum(rows, len(table) - 1)], np.int32(-1))
        late = np.flatnonzero(rows >= len(table))
        if len(late):
            directions = self.items.take(rows[late])[:, :-1]
            clusters[late] = (directions @ self.exported.centroids.T).argmax(axis=1)
        return np.where(rows >= 0, clusters, np.int32(-1)).astype(np.int32)

    def count_in(self, clusters: Rows) -> int:
        """How many items of the bundle are in these clusters."""
        return int(self.exported.cluster_sizes[clusters].sum())

    @cached_property
    def rules(self) -> Rules:
        """The filter language over this snapshot."""
        return Rules(self.exported.fields, self._match)

    @cached_property
    def newest(self) -> Rows:
        """Available rows of known age, newest first, at most `NEWEST`."""
        rows = np.union1d(self.exported.newest, self.changed)
        rows = rows[self.available[rows] & (self.created[rows] > 0)]
        return rows[np.argsort(-self.created[rows], kind="stable")][:NEWEST].astype(np.int32)

    def _id(self, row: int) -> str:
        size = self.overlay.base_size
        return self.exported.identifiers[row] if row < size else self.overlay.new_ids[row - size]

    @cached_property
    def _new_hashes(self) -> Hashes:
        return hash_ids(self.overlay.new_ids)

    @cached_property
    def changed(self) -> Rows:
        """Rows that differ from the bundle: patched, deleted and new ones."""
        return np.fromiter(self.overlay.records, np.int32)

    @cached_property
    def words(self) -> Words:
        """Word search over the changed items."""
        records = ((row, record) for row, record in self.overlay.records.items() if record is not None)
        return Words((row, _attributes(record)) for row, record in records)

    @cached_property
    def _changed_attributes(self) -> Attributes:
        created = self.created[self.changed].tolist()
        records = [
            {**(record or {}), CREATED_AT.name: at or None}
            for record, at in zip(self.overlay.records.values(), created, strict=True)
        ]
        return Attributes((*self.exported.fields, CREATED_AT), records)

    def _match(self, matcher: Callable[[Attributes], Mask]) -> Mask:
        mask = np.zeros(len(self), bool)
        mask[: self.overlay.base_size] = matcher(self.exported.attributes)
        if self.overlay.records:
            mask[self.changed] = matcher(self._changed_attributes)
        return mask


def _attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in RESERVED}


def _created(record: Mapping[str, Any], otherwise: int) -> int:
    number = as_number(record.get(CREATED_AT.name))
    return int(number) if np.isfinite(number) else otherwise


def _derive(bundle: Bundle) -> Exported:
    created = np.asarray(bundle.created, np.int64)
    records = (
        {**orjson.loads(bundle.item_records[row]), CREATED_AT.name: at or None}
        for row, at in enumerate(created.tolist())
    )
    return Exported(
        identifiers=Identifiers(bundle.item_ids),
        records=bundle.item_records,
        attributes=Attributes((*bundle.schema.item_fields, CREATED_AT), records),
        fields=bundle.schema.item_fields,
        available=np.asarray(bundle.available, bool),
        created=created,
        centroids=bundle.centroids,
        assignment=bundle.assignment,
        cluster_sizes=np.bincount(bundle.assignment, minlength=len(bundle.centroids)),
        popularity=bundle.popularity,
        popular=np.argsort(-bundle.popularity, axis=1, kind="stable").astype(np.int32),
        newest=np.argsort(-created, kind="stable")[:NEWEST].astype(np.int32),
    )
