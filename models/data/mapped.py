"""One table under its canonical names, whatever the file calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.data.checked import CheckedTable, Mask
from models.data.columns import ABSENT
from models.data.mapping import TableMapping
from models.data.problems import DataError, Problems
from models.data.tables import read_table
from models.schema import FieldKind

MAX_NAMES = 1000
"""Most distinct event kinds or placements; more of them means that the wrong column was mapped."""

Names = tuple[str, ...]


class MappedTable:
    """One file read through its mapping: canonical names in, checked columns of n values out.

    An optional column that the mapping does not name gives its default. Values of bad rows are junk, and
    `finish` tells which rows are good.
    """

    def __init__(self, path: Path, mapping: TableMapping, problems: Problems) -> None:
        self._table = CheckedTable(read_table(path, problems), problems)
        self._mapping = mapping
        self._path = path

    def __len__(self) -> int:
        return len(self._table.good)

    def has(self, name: str) -> bool:
        """Whether the mapping names a column for it."""
        return name in self._mapping.columns

    def ids(self, name: str, required: bool = True) -> Any:
        """Arrow strings; null where an id may be missing and is."""
        return self._table.ids(self._column(name), required)

    def unique_ids(self, name: str) -> Any:
        """Arrow strings without repeats among the good rows."""
        return self._table.unique_ids(self._column(name))

    def times(self, name: str) -> NDArray[np.int64]:
        """Milliseconds since 1970."""
        return self._table.times(self._column(name), self._mapping.time_unit)

    def optional_times(self, name: str) -> NDArray[np.int64]:
        """As `times`, 0 where absent."""
        if not self.has(name):
            return np.zeros(len(self), np.int64)
        return self._table.times(self._column(name), self._mapping.time_unit, required=False)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Finite numbers, NaN where absent."""
        return self._table.numbers(self._column(name)) if self.has(name) else np.full(len(self), np.nan)

    def shares(self, name: str) -> NDArray[np.float64]:
        """Numbers in (0, 1], NaN where absent."""
        values = self.numbers(name)
        if self.has(name):
            outside = ~np.isnan(values) & ((values <= 0) | (values > 1))
            self._table.reject(self._column(name), outside, "not in (0, 1]")
        return values

    def counts(self, name: str, required: bool = False) -> NDArray[np.int64]:
        """Whole numbers from 0, `ABSENT` where absent."""
        if not required and not self.has(name):
            return np.full(len(self), ABSENT, np.int64)
        return self._table.integers(self._column(name), ABSENT, required)

    def flags(self, name: str, default: bool) -> Mask:
        """Booleans; the default where absent."""
        return (
            self._table.flags(self._column(name), default)
            if self.has(name)
            else np.full(len(self), default, bool)
        )

    def required_flags(self, name: str) -> Mask:
        """Booleans of a column that must be there; an empty cell is false."""
        return self._table.flags(self._column(name), False)

    def names(self, name: str, first: Names, optional: bool = True) -> tuple[Names, NDArray[np.int16]]:
        """A column of few distinct names: the names, `first` of them given, and each row's index into them.

        An absent one counts as the first name.
        """
        if optional and not self.has(name):
            return first, np.zeros(len(self), np.int16)
        values = pc.fill_null(self.ids(name, required=False), first[0])
        found = set(pc.unique(values.filter(pa.array(self._table.good))).to_pylist()) - set(first)
        if len(found) > MAX_NAMES:
            raise DataError(
                f"{self._path}: column {self._column(name)!r} has {len(found)} distinct values; "
                f"is this the {name}?"
            )
        names = (*first, *sorted(found))
        index = pc.fill_null(pc.index_in(values, pa.array(names)), 0)
        return names, index.to_numpy().astype(np.int16)

    def groups(self, name: str) -> tuple[list[str], NDArray[np.int32]]:
        """A column of many names (sessions): those of the good rows, and each row's index or `ABSENT`."""
        if not self.has(name):
            return [], np.full(len(self), ABSENT, np.int32)
        values = self.ids(name, required=False)
        known = pc.unique(values.filter(pa.array(self._table.good))).drop_null()
        return known.to_pylist(), rows_of(values, known)

    def texts(self, name: str, longest: int) -> Any:
        """Arrow strings of a column that must be there, of at most so many characters; none may be empty."""
        values = self._table.texts(self._column(name))
        self.reject(name, np.array([value is None for value in values], bool), "missing")
        long = np.array([value is not None and len(value) > longest for value in values], bool)
        self.reject(name, long, f"longer than {longest} characters")
        return pa.array(values, pa.string())

    def attributes(self) -> dict[str, list[Any]]:
        """The values of each attribute, None where absent."""
        return {name: self._attribute(name) for name in self._mapping.attributes}

    def reject(self, name: str, wrong: Mask, reason: str) -> None:
        """Note that the rows where `wrong` is true are bad because of that column."""
        self._table.reject(self._column(name), wrong, reason)

    def finish(self) -> Mask:
        """Count the bad rows; tells the good ones."""
        return self._table.finish()

    def _column(self, name: str) -> str:
        if name not in self._mapping.columns:
            raise DataError(f"{self._path}: no column for {name!r}")
        return self._mapping.columns[name]

    def _attribute(self, name: str) -> list[Any]:
        entry = self._mapping.attributes[name]
        if entry.kind is FieldKind.SET:
            return self._table.sets(entry.column, entry.separator)
        if entry.kind is FieldKind.NUMBER:
            return _plain(self._table.numbers(entry.column))
        return self._table.texts(entry.column)


def rows_of(values: Any, ids: Any) -> NDArray[np.int32]:
    """Where each Arrow string stands in `ids`; `ABSENT` for null and for strangers."""
    rows: NDArray[np.int32] = pc.fill_null(pc.index_in(values, ids), ABSENT).to_numpy().astype(np.int32)
    return rows


def _plain(values: NDArray[np.float64]) -> list[float | int | None]:
    """A column of whole numbers is shown as such."""
    given = values[~np.isnan(values)]
    whole = bool(np.all((given == np.floor(given)) & (np.abs(given) < 2**53)))
    return [None if np.isnan(value) else int(value) if whole else value for value in values.tolist()]
