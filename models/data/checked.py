"""Cells to values, with a verdict on every row: what cannot be read is noted, not guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.data.problems import LISTED, BadCell, DataError, Problems
from models.data.tables import Table

MAX_ID = 256
"""Longest id in characters."""
MAX_TIME_MS = 253_402_300_799_999
"""End of the year 9999."""
LARGEST = float(np.finfo(np.float32).max)
TIME_UNITS = ("ms", "s", "iso")

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_CONTROL = "[\u0000-\u001f\u007f-\u009f]"
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

Mask = NDArray[np.bool_]


class CheckedTable:
    """Typed columns of a table; `good` [n] tells which rows have had nothing wrong so far.

    Each method reads one column by its name in the file; the value that it returns for a bad row is junk.
    """

    def __init__(self, table: Table, problems: Problems) -> None:
        self._table = table
        self._problems = problems
        self.good: Mask = np.ones(len(table), bool)

    def ids(self, column: str, required: bool = True) -> Any:
        """Arrow strings [n]; an id is 1 to `MAX_ID` characters, none of them a control character."""
        values = self._strings(column)
        if required:
            self.reject(column, _mask(pc.is_null(values)), "missing")
        control = _mask(pc.match_substring_regex(values, _CONTROL))
        self.reject(column, control, "control character in an id")
        too_long = _mask(pc.greater(pc.utf8_length(values), MAX_ID))
        self.reject(column, too_long, f"id longer than {MAX_ID} characters")
        return values

    def unique_ids(self, column: str) -> Any:
        """As `ids`; a row that repeats the id of an earlier good row is bad."""
        values = self.ids(column)
        codes = pc.dictionary_encode(values, null_encoding="encode").indices.to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(self.good)
        first = np.unique(codes[rows], return_index=True)[1]
        repeated = self.good.copy()
        repeated[rows[first]] = False
        self.reject(column, repeated, "duplicate id")
        return values

    def texts(self, column: str) -> list[str | None]:
        """Strings; empty is None."""
        return [text or None for text in self._strings(column).to_pylist()]

    def sets(self, column: str, separator: str) -> list[list[str] | None]:
        """Distinct members in their order; a string is split at the separator; empty is None."""
        cells = self._column(column)
        if pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type):
            lists = cells.cast(pa.list_(pa.string())).to_pylist()
            return [
                list(dict.fromkeys(m for m in members if m)) or None if members else None for members in lists
            ]
        split = [text.split(separator) if text else [] for text in self._strings(column).to_pylist()]
        return [list(dict.fromkeys(m.strip() for m in members if m.strip())) or None for members in split]

    def numbers(self, column: str, required: bool = False) -> NDArray[np.float64]:
        """Finite numbers [n] within float32's range; NaN where the cell is empty or bad."""
        cells = self._column(column)
        numbers = self._parsed(column)
        # In Parquet, NaN is how many a writer says null.
        missing = np.isnan(numbers) if pa.types.is_floating(cells.type) else _mask(pc.is_null(cells))
        self.reject(column, missing & required, "missing")
        wrong = ~(np.abs(numbers) <= LARGEST) & ~missing
        self.reject(column, wrong, "not a finite number")
        return np.where(wrong, np.nan, numbers)

    def integers(self, column: str, absent: int, required: bool = False) -> NDArray[np.int64]:
        """Whole numbers [n] from 0, `absent` where the cell is empty."""
        numbers = self.numbers(column, required)
        given = ~np.isnan(numbers)
        wrong = given & ((numbers != np.floor(numbers)) | (numbers < 0) | (numbers > 2**53))
        self.reject(column, wrong, "not a whole number from 0")
        return np.where(given & ~wrong, np.nan_to_num(numbers), absent).astype(np.int64)

    def times(self, column: str, unit: str, required: bool = True) -> NDArray[np.int64]:
        """Milliseconds since 1970 [n]; 0 where the cell is empty. A date without a zone is UTC."""
        cells = self._column(column)
        if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
            cells = cells.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
            missing = _mask(pc.is_null(cells))
            self.reject(column, missing & required, "missing")
            return self._in_range(column, pc.fill_null(cells, 0).to_numpy(), missing)
        if unit == "iso":
            return self._iso_times(column, required)
        numbers = self.numbers(column, required)
        missing = np.isnan(numbers)
        scaled = np.nan_to_num(numbers) * (1000 if unit == "s" else 1)
        return self._in_range(column, np.clip(scaled, -1, MAX_TIME_MS + 1).round().astype(np.int64), missing)

    def flags(self, column: str, default: bool) -> Mask:
        """Booleans [n] from true/false, yes/no, 1/0; an empty cell is the default."""
        cells = self._column(column)
        if pa.types.is_boolean(cells.type):
            return _mask(cells, default)
        text = self._strings(column)
        read = [_FLAGS.get(value.strip().lower()) if value else default for value in text.to_pylist()]
        self.reject(column, np.array([value is None for value in read], bool), "neither true nor false")
        return np.array([bool(value) for value in read], bool)

    def reject(self, column: str, wrong: Mask, reason: str) -> None:
        """Note that the rows where `wrong` [n] is true are bad because of what that column holds."""
        rows = np.flatnonzero(wrong)
        self.good[rows] = False
        if not len(rows):
            return
        shown = self._strings(column).take(pa.array(rows[:LISTED])).to_pylist()
        for row, value in zip(rows[:LISTED].tolist(), shown, strict=True):
            found = "" if value is None else f": {_shorten(value)}"
            cell = BadCell(self._table.path, int(self._table.lines[row]), column, reason + found)
            self._problems.cells.append(cell)

    def finish(self) -> Mask:
        """Count the bad rows; returns `good`."""
        self._problems.rows += int(len(self.good) - np.count_nonzero(self.good))
        return self.good

    def _parsed(self, column: str) -> NDArray[np.float64]:
        """Numbers as they stand, NaN where there is none."""
        cells = self._column(column)
        if pa.types.is_floating(cells.type) or pa.types.is_integer(cells.type):
            values = cells.cast(pa.float64(), safe=False)
        else:
            text = pc.utf8_trim_whitespace(self._strings(column))
            legible = pc.fill_null(pc.match_substring_regex(text, _NUMBER), False)
            # Arrow refuses the plus sign that the pattern allows.
            plain = pc.replace_substring_regex(text, r"^\+", "")
            values = pc.if_else(legible, plain, None).cast(pa.float64())
        numbers: NDArray[np.float64] = values.to_numpy(zero_copy_only=False).astype(np.float64)
        return numbers

    def _iso_times(self, column: str, required: bool) -> NDArray[np.int64]:
        text = self._strings(column)
        missing = _mask(pc.is_null(text))
        self.reject(column, missing & required, "missing")
        read = [_iso_ms(value) if value else 0 for value in text.to_pylist()]
        wrong = np.array([value is None for value in read], bool)
        self.reject(column, wrong, "not an ISO 8601 time")
        return self._in_range(column, np.array([value or 0 for value in read], np.int64), missing | wrong)

    def _in_range(self, column: str, time_ms: NDArray[np.int64], exempt: Mask) -> NDArray[np.int64]:
        wrong = ((time_ms < 0) | (time_ms > MAX_TIME_MS)) & ~exempt
        self.reject(column, wrong, "before 1970 or after 9999; check the unit")
        return time_ms

    def _column(self, column: str) -> Any:
        if column not in self._table.columns:
            raise DataError(f"{self._table.path}: no column {column!r}; it has {sorted(self._table.columns)}")
        return self._table.columns[column]

    def _strings(self, column: str) -> Any:
        try:
            text = self._column(column).cast(pa.string())
        except pa.ArrowException as error:
            raise DataError(
                f"{self._table.path}: column {column!r} cannot be read as text: {error}"
            ) from error
        return pc.if_else(pc.equal(text, ""), None, text)


def _mask(values: Any, default: bool = False) -> Mask:
    mask: Mask = pc.fill_null(values, default).to_numpy(zero_copy_only=False).astype(bool)
    return mask


def _iso_ms(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _shorten(value: Any, width: int = 40) -> str:
    shown = repr(value)
    return shown if len(shown) <= width else f"{shown[: width - 3]}..."
