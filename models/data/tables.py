"""A CSV or Parquet file as columns, each row with the line that it came from."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from models.data.problems import LISTED, BadCell, DataError, Problems

SUFFIXES = (".parquet", ".csv", ".tsv")
_CHUNK = 200_000


@dataclass(frozen=True)
class Table:
    """Columns of one file; `lines` [n] says where each row stands in it."""

    path: Path
    columns: dict[str, Any]
    """Arrow arrays, all of n values; in a CSV file all are strings and an empty cell is null."""
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)


def find_table(folder: Path, stem: str) -> Path | None:
    """The file of the table `stem` in a folder, Parquet before CSV."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)


def read_table(path: Path, problems: Problems) -> Table:
    """Read a `.parquet`, `.csv` or `.tsv` file. Rows that are no rows of the table are reported and left out.

    Raises:
        DataError: no such file, another suffix, or a file that cannot be read as what its name says.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix in (".csv", ".tsv"):
        return _read_csv(path, problems)
    raise DataError(f"{path}: expected a file named *.csv, *.tsv or *.parquet")


def read_header(path: Path) -> list[str]:
    """The column names of a file.

    Raises:
        DataError: it cannot be read as what its name says.
    """
    if path.suffix == ".parquet":
        try:
            return list(pq.read_schema(path).names)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable Parquet file: {error}") from error
    with path.open("rb") as raw, _text(raw) as stream:
        return _csv_header(path, _csv_reader(path, stream))


def _read_parquet(path: Path) -> Table:
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
    columns = {name: _whole(table.column(name)) for name in table.column_names}
    return Table(path, columns, np.arange(1, table.num_rows + 1))


def _whole(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    merged = column.combine_chunks()
    return pa.concat_arrays(merged.chunks) if isinstance(merged, pa.ChunkedArray) else merged


def _read_csv(path: Path, problems: Problems) -> Table:
    with path.open("rb") as raw, _text(raw) as stream:
        reader = _csv_reader(path, stream)
        header = _csv_header(path, reader)
        rows = iter(_CsvRows(path, len(header), reader, problems))
        chunks: list[list[Any]] = [[] for _ in header]
        lines: list[int] = []
        with tqdm(total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, disable=None) as bar:
            while batch := list(islice(rows, _CHUNK)):
                lines.extend(line for line, _ in batch)
                for chunk, cells in zip(chunks, zip(*(row for _, row in batch), strict=True), strict=True):
                    chunk.append(pa.array([cell or None for cell in cells], pa.string()))
                bar.update(raw.tell() - bar.n)
    columns = {
        name: pa.concat_arrays(chunk) if chunk else pa.array([], pa.string())
        for name, chunk in zip(header, chunks, strict=True)
    }
    return Table(path, columns, np.array(lines, np.int64))


def _text(raw: BinaryIO) -> TextIOWrapper:
    # Undecodable bytes become lone surrogates, so that the row that holds them can be named.
    return TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")


def _csv_reader(path: Path, stream: TextIOWrapper) -> Any:
    return csv.reader(stream, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)


def _csv_header(path: Path, reader: Any) -> list[str]:
    try:
        header: list[str] = next(reader, [])
    except csv.Error as error:
        raise DataError(f"{path}:1: {error}") from error
    if not header or len(set(header)) != len(header) or not _is_unicode(header):
        raise DataError(f"{path}:1: expected a header line with distinct column names, found {header}")
    return header


class _CsvRows:
    """The rows of a CSV file with their line numbers; broken rows go to the problems."""

    def __init__(self, path: Path, width: int, reader: Any, problems: Problems) -> None:
        self._path, self._width, self._reader, self._problems = path, width, reader, problems
        self._reported = 0

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        while True:
            line = self._reader.line_num + 1
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._report(line, str(error))
                continue
            if not row:
                continue
            if len(row) != self._width:
                self._report(line, f"expected {self._width} columns, found {len(row)}")
            elif not _is_unicode(row):
                self._report(line, "not UTF-8")
            else:
                yield line, row

    def _report(self, line: int, reason: str) -> None:
        self._problems.rows += 1
        self._reported += 1
        if self._reported <= LISTED:
            self._problems.cells.append(BadCell(self._path, line, "row", reason))


def _is_unicode(row: list[str]) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True
