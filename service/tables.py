"""Item vectors: a memory-mapped table of the bundle, and the rows of items that came after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Table:
    """`base` [m, d] and `extra` [k, d] float32, read as one table [m + k, d]."""

    base: Floats
    extra: Floats

    @classmethod
    def of(cls, base: Floats) -> Table:
        """A table without new rows."""
        return cls(base, np.zeros((0, base.shape[1]), np.float32))

    def __len__(self) -> int:
        return len(self.base) + len(self.extra)

    def take(self, rows: NDArray[Any]) -> Floats:
        """The vectors of `rows` (any shape): [*rows.shape, d]."""
        if len(self.extra) == 0:
            only: Floats = self.base[rows]
            return only
        size = len(self.base)
        vectors: Floats = self.base[np.minimum(rows, size - 1)]
        late = rows >= size
        vectors[late] = self.extra[rows[late] - size]
        return vectors
