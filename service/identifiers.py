"""External item ids and rows, without a dictionary of every id in every process."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import repeat

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


REMEMBERED = 1 << 16
"""Ids whose rows are at hand; when there are more, remembering starts again (some 10 MB at most)."""


class Identifiers:
    """Looks ids up by binary search over sorted hashes: 8 bytes per item, whatever the ids' length.

    Events are of popular items again and again, so the rows of ids that were found lately are remembered;
    unknown ids are not, for a caller can make up any number of them.
    """

    def __init__(self, ids: StringColumn) -> None:
        self._ids = ids
        hashes = np.fromiter(map(zlib.crc32, ids.raw()), np.uint32, len(ids))
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._sorted = hashes[self._order]
        self._lately: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, row: int) -> str:
        return self._ids[row]

    def take(self, rows: Rows) -> list[str]:
        """The ids of `rows` [n]."""
        return self._ids.take(rows)

    def rows_of(self, item_ids: Sequence[str]) -> Rows:
        """The row of each id [n]; -1 where it is unknown."""
        lately = self._lately
        rows = np.fromiter(map(lately.get, item_ids, repeat(-1)), np.int32, len(item_ids))
        other = np.flatnonzero(rows < 0).tolist()
        if other:
            rows[other] = self._searched([item_ids[i] for i in other])
        return rows

    def rows_of_hashes(self, hashes: Hashes) -> Rows:
        """Every row whose id has one of the hashes, in no order."""
        first, last = self._runs(hashes)
        length = last - first
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        rows: Rows = self._order[np.repeat(first, length) + within]
        return rows

    def _searched(self, item_ids: Sequence[str]) -> list[int]:
        if len(self._lately) + len(item_ids) > REMEMBERED:
            self._lately = {}
        first, last = self._runs(hash_ids(item_ids))
        rows = [-1] * len(item_ids)
        # Of ids that nobody knows hardly any has the hash of one that is known.
        for i in np.flatnonzero(last > first).tolist():
            item_id = item_ids[i]
            for row in self._order[first[i] : last[i]].tolist():
                if self._ids[row] == item_id:
                    rows[i] = self._lately[item_id] = row
                    break
        return rows

    def _runs(self, hashes: Hashes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return np.searchsorted(self._sorted, hashes, "left"), np.searchsorted(self._sorted, hashes, "right")
