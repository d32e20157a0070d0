"""Bad rows: counted all, listed the first few, refused or skipped, never dropped in silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

LISTED = 20


class DataError(Exception):
    """Data that cannot be used; the message says where and what to do."""


@dataclass(frozen=True, order=True, slots=True)
class BadCell:
    """One thing that is wrong with one row; `line` counts from 1 (in Parquet: the row)."""

    path: Path
    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.column}: {self.reason}"


@dataclass
class Problems:
    """What was wrong with the rows of all tables that were read together."""

    rows: int = 0
    """Bad rows, each counted once however many of its columns are bad."""
    cells: list[BadCell] = field(default_factory=list)
    """Of each file, column and reason the first `LISTED`."""

    def listing(self) -> list[str]:
        """The first `LISTED` bad cells by file and line, and a last line that counts the bad rows."""
        if not self.rows:
            return []
        lines = [str(cell) for cell in sorted(self.cells)[:LISTED]]
        return [*lines, f"{self.rows} bad row{'s' if self.rows > 1 else ''} in all"]

    def refuse(self) -> None:
        """Raise if there was any bad row.

        Raises:
            DataError: lists the first bad cells and how many rows are bad.
        """
        if self.rows:
            raise DataError("\n".join(self.listing()))
