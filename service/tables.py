"""Item vectors: a memory-mapped table of the bundle, and the rows of items that came after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts import taken

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Table:
    """`base` [m, d] of single or half precision and `extra` [k, d], read as one float32 table [m + k, d]."""

    base: NDArray[np.floating[Any]]
    extra: Floats

    @classmethod
    def of(cls, base: NDArray[np.floating[Any]]) -> Table:
        """A table without new rows."""
        return cls(base, np.zeros((0, base.shape[1]), np.float32))

    def __len__(self) -> int:
        return len(self.base) + len(self.extra)

    def take(self, rows: NDArray[Any]) -> Floats:
        """The vectors of `rows` (any shape): [*rows.shape, d]."""
        if len(self.extra) == 0:
            return taken(self.base, rows)
        size = len(self.base)
        vectors = taken(self.base, np.minimum(rows, size - 1))
        late = rows >= size
        vectors[late] = self.extra[rows[late] - size]
        return vectors


class Gathered:
    """A table that remembers the last rows it was asked for: scorers in turn ask for the same candidates.

    Columns of a batch are immutable, so the same array means the same rows. Safe for several threads, which
    may forget each other's; calls that are computed together each find their own.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._last: tuple[tuple[NDArray[Any], Floats], ...] = ()

    def take(self, rows: NDArray[Any]) -> Floats:
        """See `Table.take`; nobody may write into the answer."""
        for asked, vectors in self._last:
            if asked is rows:
                return vectors
        vectors = self._table.take(rows)
        vectors.flags.writeable = False
        self._last = ((rows, vectors), *self._last[: CALLS - 1])
        return vectors


CALLS = 16
"""At least as many as are computed together (`service.overload.cohorts.MOST`)."""
