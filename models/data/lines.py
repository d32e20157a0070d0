"""Text files as research sets come: one record a line, perhaps compressed, each line checked."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.problems import DataError

Ids = NDArray[np.int64]

_ID = r"[0-9]{1,18}"
_ITEM_LIST = re.compile(rf"{_ID}(?: +{_ID})*")


def text_file(folder: Path, name: str, source: str) -> Path:
    """The file `name` of a folder, as it is or with `.gz`.

    Raises:
        DataError: there is none; the message ends with `source`, where the set is to be had.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder / name}: no such file, nor {name}.gz; {source}")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number from 1 and text, without white space at the ends, of each line that is not blank.

    Raises:
        DataError: the file cannot be unpacked or is not UTF-8.
    """
    number = 0
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as stream
        ):
            for number, line in enumerate(stream, start=1):
                if text := line.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number + 1}: not UTF-8: {error}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked, fetch it again: {error}") from error


def bad_line(path: Path, line: int, expected: str, found: str) -> DataError:
    """The error for a line of another form."""
    shown = found if len(found) <= 40 else f"{found[:37]}..."
    return DataError(f"{path}:{line}: expected {expected}, found {shown!r}")


def read_item_lists(path: Path) -> tuple[Ids, Ids]:
    """Lines of `user item item ...` as pairs: users [E] and items [E], in the order of the file.

    Raises:
        DataError: a line is no such list, or the line of a user who had one already.
    """
    users: list[int] = []
    lengths: list[int] = []
    items: list[int] = []
    first_line: dict[int, int] = {}
    for number, line in read_lines(path):
        if not _ITEM_LIST.fullmatch(line):
            raise bad_line(path, number, "a user and items, all of them numbers from 0", line)
        user, *listed = map(int, line.split())
        if first_line.setdefault(user, number) != number:
            raise DataError(f"{path}:{number}: user {user} has line {first_line[user]} already")
        users.append(user)
        lengths.append(len(listed))
        items.extend(listed)
    return np.repeat(np.array(users, np.int64), lengths), np.array(items, np.int64)


def read_columns(path: Path, header: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line of a table that is separated by tabs and starts with `header`.

    Raises:
        DataError: another header, or a line of another number of cells.
    """
    lines = read_lines(path)
    number, first = next(lines, (1, ""))
    if tuple(first.split("\t")) != header:
        raise bad_line(path, number, f"the header {' '.join(header)!r}, separated by tabs", first)
    for number, line in lines:
        cells = line.split("\t")
        if len(cells) != len(header):
            raise bad_line(path, number, f"{len(header)} columns", line)
        yield number, cells


def as_id(path: Path, line: int, column: str, cell: str) -> int:
    """A whole number from 0.

    Raises:
        DataError: something else; the message names file, line and column.
    """
    if not re.fullmatch(_ID, cell):
        raise bad_line(path, line, f"{column}: a whole number from 0", cell)
    return int(cell)


def columns(rows: Sequence[tuple[int, ...]]) -> Iterator[Ids]:
    """Rows of numbers, one at least, as columns [E]."""
    return iter(np.array(rows, np.int64).T)
