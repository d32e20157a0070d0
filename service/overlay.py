"""What changed in the catalogue since the bundle was exported: a bounded, immutable layer over its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import OperatorError

Record = Mapping[str, Any]
Floats = NDArray[np.float32]

CAPACITY = 50_000
"""Changed and new items together; beyond it a fresh export is due."""


@dataclass(frozen=True, slots=True)
class NewVectors:
    """Rows of the three vector tables for n items: `item` [n, d + 1], `prerank` [n, dp], `rank` [n, dr]."""

    item: Floats
    prerank: Floats
    rank: Floats

    def put(self, index: Sequence[int], others: NewVectors) -> NewVectors:
        """These rows with `others` written at the positions `index`, which may lie just past the end."""
        size = max([len(self.item), *(i + 1 for i in index)])
        return NewVectors(
            _put(self.item, index, others.item, size),
            _put(self.prerank, index, others.prerank, size),
            _put(self.rank, index, others.rank, size),
        )


@dataclass(frozen=True, slots=True)
class Overlay:
    """`records` by row (None = deleted); new items have rows from `base_size` on, `new_ids` and `vectors`."""

    base_size: int
    vectors: NewVectors
    records: Mapping[int, Record | None] = field(default_factory=dict)
    new_ids: tuple[str, ...] = ()
    new_rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of item rows, deleted ones included."""
        return self.base_size + len(self.new_ids)

    def merge(
        self,
        changes: Mapping[str, Record | None],
        row_of: Callable[[str], int],
        encode: Callable[[Sequence[Record]], NewVectors],
    ) -> Overlay:
        """The overlay after one change per item id; `row_of` gives -1 for an id without a row.

        Deleting an item that was never here changes nothing. A new item's vectors follow its record.

        Raises:
            OperatorError: more than `CAPACITY` items would differ from the bundle.
        """
        records, new_ids, new_rows = dict(self.records), list(self.new_ids), dict(self.new_rows)
        encoded: list[int] = []
        for item_id, record in changes.items():
            row = row_of(item_id)
            if row < 0:
                if record is None:
                    continue
                row = self.base_size + len(new_ids)
                new_ids.append(item_id)
                new_rows[item_id] = row
            records[row] = record
            if record is not None and row >= self.base_size:
                encoded.append(row)
        if len(records) > CAPACITY:
            raise OperatorError(
                f"{len(records)} items differ from the bundle, at most {CAPACITY} may: "
                "train and export a bundle with today's catalogue, and activate it"
            )
        vectors = self.vectors
        if encoded:
            fresh = encode([records[row] or {} for row in encoded])
            vectors = vectors.put([row - self.base_size for row in encoded], fresh)
        return Overlay(self.base_size, vectors, records, tuple(new_ids), new_rows)


def _put(table: Floats, index: Sequence[int], values: Floats, size: int) -> Floats:
    grown = np.zeros((size, table.shape[1]), np.float32)
    grown[: len(table)] = table
    grown[list(index)] = values
    return grown
