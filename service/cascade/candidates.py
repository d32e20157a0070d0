"""The one batch of candidates that travels through the cascade: equally long, immutable columns."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Candidates:
    """`rows` [N] are distinct item rows; every column has N values along its first axis.

    Each column has one owner, the stage that added it.
    """

    rows: Rows
    columns: MappingProxyType[str, Column]

    @classmethod
    def of(cls, rows: Rows, **columns: Column) -> Candidates:
        """Freeze arrays into a batch.

        Raises:
            ValueError: a column has another length than `rows`.
        """
        for name, column in columns.items():
            if len(column) != len(rows):
                raise ValueError(f"column {name!r} has {len(column)} values for {len(rows)} rows")
        return cls(_frozen(rows), MappingProxyType({name: _frozen(c) for name, c in columns.items()}))

    @classmethod
    def empty(cls) -> Candidates:
        """No candidate, no column."""
        return cls.of(np.zeros(0, np.int32))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Column:
        """The column `name`; KeyError says which columns there are."""
        try:
            return self.columns[name]
        except KeyError:
            raise KeyError(f"no column {name!r}; there are {sorted(self.columns)}") from None

    def take(self, index: NDArray[Any]) -> Candidates:
        """The only way to drop or reorder: the candidates at positions `index` (or under a boolean mask)."""
        taken = {name: column[index] for name, column in self.columns.items()}
        for column in taken.values():
            column.flags.writeable = False
        rows = self.rows[index]
        rows.flags.writeable = False
        return Candidates(rows, MappingProxyType(taken))

    def with_column(self, name: str, column: Column) -> Candidates:
        """The only way to add: a new column of N values.

        Raises:
            ValueError: the name is taken, or the length differs.
        """
        if name in self.columns:
            raise ValueError(f"column {name!r} has an owner already")
        if len(column) != len(self.rows):
            raise ValueError(f"column {name!r} has {len(column)} values for {len(self.rows)} rows")
        return Candidates(self.rows, MappingProxyType(self.columns | {name: _frozen(column)}))


def _frozen(array: Column) -> Column:
    """A view that nobody can write through; the array itself stays its owner's."""
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array
