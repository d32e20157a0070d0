"""The items of a bundle and what changed since: rows and ids, records, availability, vectors.

A live record (`ItemChange.record`) is one flat mapping: the attributes by name (`title` included), and
optionally the reserved keys `available` (bool, default true) and, in ms since the epoch, `created_at`,
`available_from` and `available_until`, and an offer (`service.offers`). It replaces the whole record of the
item; None deletes the item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from models.masks import every
from retrieval.scan import Scan
from service.attributes import Attributes, as_labels, as_number
from service.bundle import Bundle
from service.cascade.membership import is_among
from service.cascade.query import Hashes, ItemId, Rows
from service.delta import Delta
from service.errors import CallerError
from service.exported import NEWEST, Exported
from service.features.store import ItemChange
from service.identifiers import hash_ids
from service.layers import Layer, Layers
from service.offers import OFFER, Ads, Offers, offer_of
from service.overlay import CAPACITY, NewVectors, Overlay, Vectors
from service.rules import CREATED_AT, Rules
from service.schedule import ALWAYS, FROM, UNTIL, Schedule, window_of
from service.tables import Table

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]

RESERVED = ("available", CREATED_AT.name, FROM, UNTIL, *OFFER)
"""Keys of a live record that are no attributes."""
_TABLES = {"items": "item", "prerank": "prerank", "rank": "rank"}
"""Tables of a catalogue, and the vectors of new items that belong to each."""


@dataclass(frozen=True)
class Catalogue:
    """One immutable snapshot of M items: those of the bundle, then those that came since.

    `available` [M] and `created` [M] (ms, 0 = unknown) are by row, and the tables `items`, `prerank`,
    `rank` too. What is `available` now is listed, and its window in `schedule` is open. `refused` counts the
    changes for which there was no room.
    """

    exported: Exported
    overlay: Overlay
    layers: Layers
    schedule: Schedule
    offers: Offers
    refused: int
    available: Mask
    created: Longs
    items: Table
    prerank: Table
    rank: Table
    encode: Callable[[Sequence[Mapping[str, Any]]], NewVectors]

    @classmethod
    def of(cls, bundle: Bundle, capacity: int = CAPACITY, exported: Exported | None = None) -> Catalogue:
        """The catalogue as it was exported; at most `capacity` items may come to differ from it.

        `exported` is what an earlier catalogue of the bundle derived from it.
        """
        exported = exported or Exported.of(bundle)
        items, prerank, rank = map(
            Table.of, (bundle.item_vectors, bundle.prerank_vectors, bundle.rank_vectors)
        )
        dual = np.zeros((0, bundle.complements.inward.shape[1] if bundle.complements else 0), np.float32)
        none = NewVectors(items.extra, prerank.extra, rank.extra, dual, dual)
        return cls(
            exported=exported,
            overlay=Overlay(len(items), Vectors.of(none), capacity),
            layers=Layers.none((*exported.fields, CREATED_AT)),
            schedule=Schedule(),
            offers=exported.offers,
            refused=0,
            available=exported.available,
            created=exported.created,
            items=items,
            prerank=prerank,
            rank=rank,
            encode=bundle.encode_items,
        )

    def __len__(self) -> int:
        return self.overlay.size

    def apply(self, changes: Sequence[ItemChange], now_ms: int) -> Catalogue:
        """The snapshot after the changes, oldest first; of several changes of one item the last counts.

        A new item without `created_at` counts as created at `now_ms`. Where there is no room for a change its
        item is left as it was, but whether it can be had is obeyed all the same.
        """
        last: dict[str, Mapping[str, Any] | None] = {change.item_id: change.record for change in changes}
        known = dict(zip(last, self.rows_of([ItemId(item_id) for item_id in last]).tolist(), strict=True))
        merged = self.overlay.merge(last, known.__getitem__, self.encode, self._is_exported)
        overlay, windows = merged.overlay, {}
        grown = overlay.size - len(self)
        available = np.concatenate([self.available, np.zeros(grown, bool)])
        created = np.concatenate([self.created, np.full(grown, now_ms, np.int64)])
        for item_id, row in merged.rows.items():
            record = last[item_id]
            listed = record is not None and bool(record.get("available", True))
            window = window_of(record or {})
            windows[row] = window if listed else None
            available[row] = listed and window.is_open(now_ms)
            created[row] = _created(record or {}, int(created[row]))
        searched = {
            row: _searched(last[item_id], int(created[row]))
            for item_id in merged.stored
            for row in (merged.rows[item_id],)
        }
        return replace(
            self,
            overlay=overlay,
            layers=self.layers.put(searched),
            schedule=self.schedule.put(windows),
            offers=self.offers.put({merged.rows[item_id]: last[item_id] for item_id in merged.stored}),
            refused=self.refused + len(merged.refused),
            available=available,
            created=created,
            **self._tables(overlay),
        )

    def at(self, now_ms: int) -> Catalogue:
        """The snapshot as the schedule wants it at a moment; this one, where that is no other."""
        rows, is_open = self.schedule.rows, self.schedule.open_at(now_ms)
        if np.array_equal(self.available[rows], is_open):
            return self
        available = self.available.copy()
        available[rows] = is_open
        return replace(self, available=available)

    def compacted(self) -> Catalogue:
        """The snapshot without the rows of new items that were deleted; others behind them move up."""
        overlay, number, gone = self.overlay.compacted()
        base = self.overlay.base_size
        kept = np.array([*range(base), *number], np.int64)
        return replace(
            self,
            overlay=overlay,
            layers=self.layers.renumbered(number, gone),
            schedule=self.schedule.renumbered(number),
            offers=self.offers.renumbered(number, gone),
            available=self.available[kept],
            created=self.created[kept],
            **self._tables(overlay),
        )

    def settled_as(self, whole: Layer, earlier: Layers) -> Catalogue:
        """The snapshot with its changes in one layer; see `service.layers.Layers.settled_as`."""
        return replace(self, layers=self.layers.settled_as(whole, earlier))

    def warm(self) -> None:
        """Make what the first request of this snapshot would have to make otherwise."""
        self.layers.warm()
        _ = self.newest, self.changed, self.delta, self.ad_vectors

    def needs_room(self, item_id: ItemId, record: Mapping[str, Any]) -> bool:
        """Whether one more item would differ from the bundle, were this its record.

        What hides a known item is obeyed in any case, so it needs none.
        """
        row = int(self.rows_of([item_id])[0])
        if self.overlay.records.get(row) is not None:
            return False
        return row < 0 or not (self._is_exported(row, record) or not record.get("available", True))

    def rows_of(self, item_ids: Sequence[ItemId]) -> Rows:
        """The row of each id [n]; -1 where it is unknown. Deleted items keep their row."""
        rows = self.exported.identifiers.rows_of(item_ids)
        if self.overlay.new_rows:
            for i in np.flatnonzero(rows < 0).tolist():
                rows[i] = self.overlay.new_rows.get(item_ids[i], -1)
        return rows

    def ids_of(self, rows: Rows) -> list[ItemId]:
        """The ids of a few rows."""
        if every(rows < self.overlay.base_size):
            return cast(list[ItemId], self.exported.identifiers.take(rows))
        return [ItemId(self._id(row)) for row in rows.tolist()]

    def rows_of_hashes(self, hashes: Hashes) -> Rows:
        """Every row whose id has one of the hashes."""
        late = np.flatnonzero(np.isin(self.overlay.new_hashes, hashes)) + self.overlay.base_size
        return np.concatenate([self.exported.identifiers.rows_of_hashes(hashes), late.astype(np.int32)])

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
        if len(self) == len(table):
            known: Floats = table[rows]
            return known
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

    def check_label(self, name: str, path: str) -> None:
        """Refuse what is neither a category nor a set.

        Raises:
            CallerError: at `path`.
        """
        known = self.exported.attributes.labels
        if name not in known:
            raise CallerError(path, f"{name!r} is no category or set of items; known are {sorted(known)}")

    def holding(self, name: str, values: Sequence[str]) -> Rows:
        """Rows whose category or set `name` has one of the values, ascending."""
        mask = self._match(lambda table: table.labels[name].any_of(values))
        return np.flatnonzero(mask).astype(np.int32)

    def counts(self, name: str, rows: Rows) -> Counter[str]:
        """How many of N distinct rows have each value of a category or set."""
        changed = is_among(rows, self.changed)
        found = Counter(self.exported.attributes.labels[name].counts(rows[~changed]))
        for row in rows[changed].tolist():
            found.update(set(as_labels((self.record_of(row) or {}).get(name))))
        return found

    def codes_of(self, name: str, rows: Rows) -> Rows:
        """Numbers of the values that N rows have of a category or set, [N, V] padded with -1.

        They mean something within one call only: a value that no exported item has gets the next number.
        """
        labels = self.exported.attributes.labels[name]
        changed = is_among(rows, self.changed)
        if not changed.any():
            return labels.codes_of(rows)
        late: dict[str, int] = {}
        held = labels.codes_of(np.where(changed, 0, rows).astype(np.int32))
        lists = {}
        for i in np.flatnonzero(changed).tolist():
            values = dict.fromkeys(as_labels((self.record_of(int(rows[i])) or {}).get(name)))
            known = ((value, labels.code(value)) for value in values)
            lists[i] = [
                late.setdefault(value, labels.count + len(late)) if code is None else code
                for value, code in known
            ]
        width = max(held.shape[1], max(map(len, lists.values())))
        codes = np.full((len(rows), width), -1, np.int32)
        codes[:, : held.shape[1]] = np.where(changed[:, None], np.int32(-1), held)
        for i, own in lists.items():
            codes[i, : len(own)] = own
        return codes

    def in_order(self, hashes: Hashes) -> Rows:
        """The rows whose ids have these hashes, in their order; what is gone is left out."""
        rows = self.rows_of_hashes(hashes)
        place = {one: i for i, one in enumerate(hashes.tolist())}
        places = [place[one] for one in hash_ids(self.ids_of(rows)).tolist()]
        return rows[np.argsort(places, kind="stable")].astype(np.int32)

    def count_in(self, clusters: Rows) -> int:
        """How many items of the bundle are in these clusters."""
        return int(self.exported.cluster_sizes[clusters].sum())

    @cached_property
    def rules(self) -> Rules:
        """The filter language over this snapshot."""
        # Not our method: whoever holds itself is not let go when the last one who uses it is.
        leaves = partial(_matched, len(self), self.overlay.base_size, self.exported.attributes, self.layers)
        return Rules(self.exported.fields, leaves)

    @cached_property
    def newest(self) -> Rows:
        """Available rows of known age, newest first, at most `NEWEST`."""
        exported = self.exported.newest
        rows = np.concatenate([exported[~is_among(exported, self.changed)], self.changed])
        created = self.created[rows]
        known = self.available[rows] & (created > 0)
        rows, created = rows[known], created[known]
        if len(rows) > NEWEST:
            # As old as the oldest that is wanted, and not only the wanted ones: ties are broken by row.
            near = created >= np.partition(created, len(created) - NEWEST)[len(created) - NEWEST]
            rows, created = rows[near], created[near]
        newest: Rows = rows[np.lexsort((rows, -created))][:NEWEST].astype(np.int32)
        return newest

    @cached_property
    def changed(self) -> Rows:
        """Rows that differ from the bundle, ascending: patched, deleted and new ones."""
        return np.sort(np.fromiter(self.overlay.records, np.int32))

    @property
    def ads(self) -> Ads:
        """The items that have a bid."""
        return self.offers.ads

    @cached_property
    def ad_vectors(self) -> Floats:
        """Item vectors [A, d + 1] of the items that have a bid, in their order."""
        return self.items.take(self.ads.rows)

    @property
    def words(self) -> Layers:
        """Word search over the changed items, by `search`."""
        return self.layers

    @cached_property
    def delta(self) -> Delta:
        """Vector search over the new items, beside the bundle's index."""
        base = self.overlay.base_size
        rows = (np.flatnonzero(self.available[base:]) + base).astype(np.int32)
        extra = self.items.extra
        return Delta(rows, Scan(extra if len(rows) == len(extra) else extra[rows - base]))

    def _id(self, row: int) -> str:
        size = self.overlay.base_size
        return self.exported.identifiers[row] if row < size else self.overlay.new_ids[row - size]

    def _tables(self, overlay: Overlay) -> dict[str, Any]:
        return {
            table: replace(getattr(self, table), extra=getattr(overlay.vectors, name).values)
            for table, name in _TABLES.items()
        }

    def _is_exported(self, row: int, record: Mapping[str, Any]) -> bool:
        """Whether the bundle has the item just like this."""
        if row >= self.overlay.base_size or window_of(record) != ALWAYS:
            return False
        exported = orjson.loads(self.exported.records[row])
        return (
            _attributes(record) == _attributes(exported)
            and offer_of(record) == offer_of(exported)
            and bool(record.get("available", True)) == bool(self.exported.available[row])
            and _created(record, int(self.exported.created[row])) == int(self.exported.created[row])
        )

    def _match(self, matcher: Callable[[Attributes], Mask]) -> Mask:
        return _matched(len(self), self.overlay.base_size, self.exported.attributes, self.layers, matcher)


def _matched(
    size: int,
    exported: int,
    attributes: Attributes,
    layers: Layers,
    matcher: Callable[[Attributes], Mask],
) -> Mask:
    """What a matcher says of `size` rows, the first `exported` of them of the bundle."""
    mask = np.zeros(size, bool)
    mask[:exported] = matcher(attributes)
    layers.fill(mask, matcher)
    return mask


def _attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in RESERVED and value is not None}


def _searched(record: Mapping[str, Any] | None, created: int) -> dict[str, Any] | None:
    """What filters and word search see of a record."""
    return None if record is None else {**_attributes(record), CREATED_AT.name: created or None}


def _created(record: Mapping[str, Any], otherwise: int) -> int:
    number = as_number(record.get(CREATED_AT.name))
    return int(number) if np.isfinite(number) else otherwise
