"""External item ids and rows, without a dictionary of every id in every process."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.artifacts import StringColumn

Rows = NDArray[np.int32]
Hashes = NDArray[np.uint32]


def hash_ids(item_ids: Iterable[str]) -> Hashes:
    """A 32-bit hash per item id [n], the same in every process and version."""
    return np.fromiter(
        (zlib.crc32(item_id.encode("utf-8", "surrogatepass")) for item_id in item_ids), np.uint32
    )


class Identifiers:
    """Looks ids up by binary search over sorted hashes: 8 bytes per item, whatever the ids' length."""

    def __init__(self, ids: StringColumn) -> None:
        self._ids = ids
        hashes = hash_ids(ids.tolist())
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._sorted = hashes[self._order]

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, row: int) -> str:
        return self._ids[row]

    def rows_of(self, item_ids: Sequence[str]) -> Rows:
        """The row of each id [n]; -1 where it is unknown."""
        first, last = self._runs(hash_ids(item_ids))
        rows = np.full(len(item_ids), -1, np.int32)
        for i, item_id in enumerate(item_ids):
            for row in self._order[first[i] : last[i]]:
                if self._ids[row] == item_id:
                    rows[i] = row
        return rows

    def rows_of_hashes(self, hashes: Hashes) -> Rows:
        """Every row whose id has one of the hashes, in no order."""
        first, last = self._runs(hashes)
        length = last - first
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        rows: Rows = self._order[np.repeat(first, length) + within]
        return rows

    def _runs(self, hashes: Hashes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return np.searchsorted(self._sorted, hashes, "left"), np.searchsorted(self._sorted, hashes, "right")
