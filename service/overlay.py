"""What changed in the catalogue since the bundle was exported: a bounded, immutable layer over its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.growing import Growing
from service.identifiers import hash_ids

Record = Mapping[str, Any]
Floats = NDArray[np.float32]
Hashes = NDArray[np.uint32]

CAPACITY = 50_000
"""Changed and new items together, unless a setting says otherwise; beyond it a fresh export is due."""
_GONE = 1000
"""Rows of deleted new items, and a quarter of all new ones, that are left lying before they are given up."""


@dataclass(frozen=True, slots=True)
class NewVectors:
    """Rows of the vector tables for n items: `item` [n, d + 1], `prerank` [n, dp], `rank` [n, dr], and the
    dual vectors `inward` and `outward` [n, dc], where dc is 0 without any."""

    item: Floats
    prerank: Floats
    rank: Floats
    inward: Floats
    outward: Floats


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of all new items, by the order in which they came."""

    item: Growing
    prerank: Growing
    rank: Growing
    inward: Growing
    outward: Growing

    @classmethod
    def of(cls, new: NewVectors) -> Vectors:
        """The rows of `new`."""
        return cls(*(Growing.of(getattr(new, table)) for table in _TABLES))

    def put(self, index: Sequence[int], new: NewVectors) -> Vectors:
        """These rows with `new` at the positions `index`, which may lie just past the end."""
        return Vectors(*(getattr(self, table).put(index, getattr(new, table)) for table in _TABLES))

    def take(self, index: Sequence[int]) -> Vectors:
        """The rows at these positions alone."""
        return Vectors(*(getattr(self, table).take(index) for table in _TABLES))


_TABLES = tuple(each.name for each in fields(Vectors))


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of changes: the `overlay` after them, and `rows`, the row of each item that has one.

    It now holds the records of the `stored` ids; for the `refused` ones there was no room.
    """

    overlay: Overlay
    rows: Mapping[str, int]
    stored: Sequence[str]
    refused: Sequence[str]


@dataclass(frozen=True, slots=True)
class Overlay:
    """`records` by row (None = deleted); new items have rows from `base_size` on, `new_ids` and `vectors`.

    At most `capacity` rows have a record; `live` counts them, `gone` the rows of new items that were deleted.
    """

    base_size: int
    vectors: Vectors
    capacity: int = CAPACITY
    records: Mapping[int, Record | None] = field(default_factory=dict)
    live: int = 0
    gone: int = 0
    new_ids: tuple[str, ...] = ()
    new_rows: Mapping[str, int] = field(default_factory=dict)
    new_hashes: Hashes = field(default_factory=lambda: hash_ids(()))

    @property
    def size(self) -> int:
        """Number of item rows, deleted ones included."""
        return self.base_size + len(self.new_ids)

    @property
    def room(self) -> int:
        """How many more items may differ from the bundle."""
        return self.capacity - self.live

    def merge(
        self,
        changes: Mapping[str, Record | None],
        row_of: Callable[[str], int],
        encode: Callable[[Sequence[Record]], NewVectors],
        exported: Callable[[int, Record], bool],
    ) -> Merged:
        """The overlay after one change per item id; `row_of` gives -1 for an id without a row.

        A record that is as the bundle has it (`exported`) takes no room. Deleting is always possible, and
        deleting an item that was never here changes nothing. A new item's vectors follow its record.
        """
        records, new_ids, new_rows = dict(self.records), list(self.new_ids), dict(self.new_rows)
        live, gone = self.live, self.gone
        rows = {item_id: row_of(item_id) for item_id in changes}
        encoded: list[int] = []
        stored, refused = [], []
        for item_id, record in changes.items():
            row = rows[item_id]
            if row < 0 and record is None:
                continue
            held = records.get(row) is not None
            if row >= 0 and record is not None and not held and row not in records and exported(row, record):
                continue
            if record is not None and not held and live >= self.capacity:
                refused.append(item_id)
                continue
            if row < 0:
                row = rows[item_id] = new_rows[item_id] = self.base_size + len(new_ids)
                new_ids.append(item_id)
            live += (record is not None) - held
            if row >= self.base_size and row in records:
                gone += held - (record is not None)
            if record is not None and row >= self.base_size and record != records.get(row):
                encoded.append(row)
            records[row] = record
            stored.append(item_id)
        vectors = self.vectors
        if encoded:
            fresh = encode([records[row] or {} for row in encoded])
            vectors = vectors.put([row - self.base_size for row in encoded], fresh)
        added = hash_ids(new_ids[len(self.new_ids) :])
        overlay = Overlay(
            self.base_size,
            vectors,
            self.capacity,
            records,
            live,
            gone,
            tuple(new_ids),
            new_rows,
            np.concatenate([self.new_hashes, added]),
        )
        return Merged(overlay, {item: row for item, row in rows.items() if row >= 0}, stored, refused)

    @property
    def due(self) -> bool:
        """Whether many rows belong to items that came after the bundle and were deleted since."""
        return self.gone > max(_GONE, len(self.new_ids) // 4)

    def compacted(self) -> tuple[Overlay, Mapping[int, int], frozenset[int]]:
        """Without deleted new items: the overlay, the number of each new row that stays, the rows gone."""
        kept = [i for i in range(len(self.new_ids)) if self.records[self.base_size + i] is not None]
        number = {self.base_size + old: self.base_size + new for new, old in enumerate(kept)}
        gone = frozenset(range(self.base_size, self.size)) - number.keys()
        records = {number.get(row, row): one for row, one in self.records.items() if row not in gone}
        new_ids = tuple(self.new_ids[i] for i in kept)
        overlay = replace(
            self,
            vectors=self.vectors.take(kept),
            records=records,
            gone=0,
            new_ids=new_ids,
            new_rows={item_id: self.base_size + i for i, item_id in enumerate(new_ids)},
            new_hashes=self.new_hashes[kept],
        )
        return overlay, number, gone
