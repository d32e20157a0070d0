"""Item attributes as columns that answer "which items match?" with a mask, without a loop over items."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.schema import Field, FieldKind

Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]

_COMPARE: Mapping[str, Callable[[Doubles, float], Mask]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class Labels:
    """A category or set column of n items as posting lists: for each value the rows that hold it."""

    def __init__(
        self, count: int, code: Mapping[str, int], codes: NDArray[np.int32], rows: NDArray[np.int32]
    ) -> None:
        self._count = count
        self._code = code
        order = np.argsort(codes, kind="stable")
        self._rows = rows[order]
        self._starts = np.searchsorted(codes[order], np.arange(len(code) + 1))

    def any_of(self, wanted: Iterable[str]) -> Mask:
        """Items [n] that hold at least one of the values."""
        mask = np.zeros(self._count, bool)
        for value in wanted:
            if (code := self._code.get(value)) is not None:
                mask[self._rows[self._starts[code] : self._starts[code + 1]]] = True
        return mask

    @property
    def count(self) -> int:
        """How many values there are, numbered from 0."""
        return len(self._code)

    def code(self, value: str) -> int | None:
        """The number of a value; None where no item holds it."""
        return self._code.get(value)

    def counts(self, rows: NDArray[np.int32]) -> dict[str, int]:
        """How many of N distinct rows hold each value that any of them holds."""
        codes = self.codes_of(rows)
        counts = np.bincount(codes[codes >= 0], minlength=len(self._code))
        return {self._values[code]: int(counts[code]) for code in np.flatnonzero(counts).tolist()}

    @cached_property
    def _values(self) -> list[str]:
        return sorted(self._code, key=self._code.__getitem__)

    def codes_of(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """The numbers of the distinct values that each of N rows holds, [N, V] padded with -1."""
        codes, starts = self._by_row
        first, last = starts[rows], starts[rows + 1]
        width = int((last - first).max(initial=0))
        if width == 0:
            return np.full((len(rows), 0), -1, np.int32)
        places = first[:, None] + np.arange(width)
        held = codes[np.minimum(places, len(codes) - 1)]
        return np.where(places < last[:, None], held, np.int32(-1))

    @cached_property
    def _by_row(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The same postings by row; made when a cap first asks, for most columns are never capped."""
        codes = np.repeat(np.arange(len(self._starts) - 1, dtype=np.int32), np.diff(self._starts))
        order = np.argsort(self._rows, kind="stable")
        rows, codes = self._rows[order], codes[order]
        again = np.zeros(len(rows), bool)
        again[1:] = (rows[1:] == rows[:-1]) & (codes[1:] == codes[:-1])
        rows, codes = rows[~again], codes[~again]
        return codes, np.searchsorted(rows, np.arange(self._count + 1))

    def present(self) -> Mask:
        """Items [n] that hold any value."""
        mask = np.zeros(self._count, bool)
        mask[self._rows] = True
        return mask


class Numbers:
    """A number column of n items; NaN = absent, which matches no comparison."""

    def __init__(self, values: Doubles) -> None:
        self._values = values

    def any_of(self, wanted: Iterable[float]) -> Mask:
        """Items [n] whose number is one of these."""
        return np.isin(self._values, list(wanted))

    def compare(self, sign: str, bound: float) -> Mask:
        """Items [n] whose number is `sign` (>=, <=, > or <) than the bound."""
        return _COMPARE[sign](self._values, bound)

    def present(self) -> Mask:
        """Items [n] that have a number."""
        return ~np.isnan(self._values)


class Attributes:
    """The filterable columns of n items: `labels` by name of category or set, `numbers` by name."""

    def __init__(self, fields: Sequence[Field], records: Iterable[Mapping[str, Any]]) -> None:
        labels = {f.name: _Postings() for f in fields if f.kind in (FieldKind.CATEGORY, FieldKind.SET)}
        numbers = {f.name: array("d") for f in fields if f.kind is FieldKind.NUMBER}
        count = 0
        for row, record in enumerate(records):
            count = row + 1
            for name, postings in labels.items():
                postings.add(row, as_labels(record.get(name)))
            for name, values in numbers.items():
                values.append(as_number(record.get(name)))
        self.labels = {name: postings.freeze(count) for name, postings in labels.items()}
        self.numbers = {name: Numbers(np.array(values, np.float64)) for name, values in numbers.items()}


class _Postings:
    """Labels while they are read."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}
        self._codes = array("i")
        self._rows = array("i")

    def add(self, row: int, labels: Iterable[str]) -> None:
        for label in labels:
            self._codes.append(self._code.setdefault(label, len(self._code)))
            self._rows.append(row)

    def freeze(self, count: int) -> Labels:
        return Labels(count, self._code, np.array(self._codes, np.int32), np.array(self._rows, np.int32))


def as_labels(value: Any) -> list[str]:
    """The labels that an attribute holds: none for null, one for a scalar, several for a list."""
    if value is None:
        return []
    if isinstance(value, (list, tuple, set, frozenset)):
        return [str(one) for one in value]
    return [str(value)]


def as_number(value: Any) -> float:
    """The number that an attribute holds; NaN if it holds none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
