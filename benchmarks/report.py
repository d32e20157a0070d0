"""What a benchmark found, as JSON and as a table to read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import cores, describe, load_average
from models.artifacts import write_json

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """`rows` share their columns; `notes` are sentences that belong under the table, such as a goal.

    `series` are columns of what was seen over time, which the JSON keeps and the table leaves out.
    """

    name: str
    command: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def table(self, *, measured_now: bool = True) -> str:
        """The rows as a Markdown table, which a terminal shows well enough.

        One that is `measured_now` ends with the load of the machine.
        """
        columns = list(self.rows[0])
        cells = [columns, *([_text(row[name]) for name in columns] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
        lines = [
            "| " + " | ".join(_pad(*pair) for pair in zip(line, widths, strict=True)) + " |" for line in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        loaded = f"Load average at the end {load_average()}, on {len(cores())} cores."
        notes = (*self.notes, loaded) if measured_now else self.notes
        return "\n".join([*lines, "", *(f"- {note}" for note in notes)])

    def save(self, folder: Path) -> Path:
        """Write the JSON into `folder`; every run keeps its own file."""
        now = datetime.now(UTC)
        path = folder / "results" / f"{self.name}-{now:%Y%m%dT%H%M%SZ}.json"
        told = {**asdict(self), "columns": list(self.rows[0])}
        write_json(path, {**told, "at": now.isoformat(), "machine": describe()})
        return path


def reopened(told: Mapping[str, Any]) -> tuple[Report, str]:
    """The report of a JSON, and a sentence that says where and when it was measured."""
    rows = [{name: row[name] for name in told["columns"]} for row in told["rows"]]
    machine = told["machine"]
    where = (
        f"`{told['command']}`; {machine['cores']} cores, {machine['system']}, Python {machine['python']}, "
        f"load {machine['load']}, commit {machine['commit']}, {told['at'][:10]}"
    )
    return Report(told["name"], told["command"], rows, told["notes"], told["series"]), where


def newest(folder: Path, name: str, reading: Callable[[dict[str, Any]], bool] = bool) -> dict[str, Any]:
    """The newest JSON that `name` left below `folder` and that `reading` takes; `path` says where it is.

    Raises:
        FileNotFoundError: there is none; says how to make one.
    """
    for path in sorted((folder / "results").glob(f"{name}-*.json"), reverse=True):
        told: dict[str, Any] = json.loads(path.read_bytes())
        if reading(told):
            return {**told, "path": str(path)}
    raise FileNotFoundError(f"{folder}/results has no fitting {name}-*.json: run `cascada bench {name}`")


def median(values: Sequence[float]) -> float:
    """The middle value, of an even number the lower one."""
    return sorted(values)[(len(values) - 1) // 2]


def _pad(text: str, width: int) -> str:
    number = text[:1].isdigit()
    return text.rjust(width) if number else text.ljust(width)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return (
            f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 0.1 else f"{value:,.2f}"
        )
    return str(value)
