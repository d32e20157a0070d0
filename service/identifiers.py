"""External item ids and rows, without a dictionary of every id in every process."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.artifacts import StringColumn

Rows = NDArray[np.int32]
Hashes = NDArray[np.uint32]


def hash_ids(item_ids: Sequence[str]) -> Hashes:
    """A 32-bit hash per item id [n], the same in every process and version."""
    return _hashes(_encoded(item_ids))


class Identifiers:
    """Looks ids up by their sorted hashes, which it finds by their first bits: at most 12 bytes per item,
    whatever the ids' length.

    All ids of a call go through each step together. What they read is in no cache, for other ids were asked
    last, and so the processor waits for many of them at once instead of for each in turn.
    """

    def __init__(self, ids: StringColumn) -> None:
        self._ids = ids
        hashes = np.fromiter(map(zlib.crc32, ids.raw()), np.uint32, len(ids))
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._sorted = hashes[self._order]
        bits = max(len(ids).bit_length() - 1, 1)
        self._shift = np.uint32(32 - bits)
        edges = np.searchsorted(self._sorted, np.arange(1 << bits, dtype=np.uint32) << self._shift)
        widest = int(np.diff(edges, append=len(ids)).max())
        self._window = np.arange(widest)
        # So that every window ends within the table.
        self._bucket = np.minimum(edges, len(ids) - widest).astype(np.int32)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, row: int) -> str:
        return self._ids[row]

    def take(self, rows: Rows) -> list[str]:
        """The ids of `rows` [n]."""
        return self._ids.take(rows)

    def rows_of(self, item_ids: Sequence[str]) -> Rows:
        """The row of each id [n]; -1 where it is unknown."""
        encoded = _encoded(item_ids)
        asked, found = self._of_same_hash(_hashes(encoded))
        known = self._ids.equal(found, [encoded[i] for i in asked.tolist()])
        rows = np.full(len(encoded), -1, np.int32)
        rows[asked[known]] = found[known]
        return rows

    def rows_of_hashes(self, hashes: Hashes) -> Rows:
        """Every row whose id has one of the hashes, in no order."""
        return self._of_same_hash(hashes)[1]

    def _of_same_hash(self, hashes: Hashes) -> tuple[NDArray[np.intp], Rows]:
        """Pairs of a place in `hashes` and a row whose id has that hash."""
        places = self._bucket[hashes >> self._shift, None] + self._window
        asked, at = np.nonzero(self._sorted[places] == hashes[:, None])
        return asked, self._order[places[asked, at]]


def _encoded(item_ids: Sequence[str]) -> list[bytes]:
    """The bytes of each id, those with lone surrogates, which are nobody's, too."""
    try:
        return list(map(str.encode, item_ids))
    except UnicodeEncodeError:
        return [item_id.encode("utf-8", "surrogatepass") for item_id in item_ids]


def _hashes(encoded: Sequence[bytes]) -> Hashes:
    return np.fromiter(map(zlib.crc32, encoded), np.uint32, len(encoded))
