"""Every candidate of one answer as equally long columns: its place after each step, its scores, its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.cascade import SCORED, Cascade
from service.cascade.merge import names_of
from service.cascade.query import Outcome, Rows
from service.cascade.round import Round

Column = NDArray[Any]
Places = NDArray[np.int32]

RETURNED = "answer"
FILTERED = "filter"
"""Stages of fates; every other one is the round that cut."""
_ABSENT: Mapping[str, Any] = {"f": np.nan, "i": -1, "u": 0, "b": False}


@dataclass(frozen=True, slots=True)
class Step:
    """A step after which candidates had an order; `by` names the column that it cut by, None = by place."""

    name: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Funnel:
    """N candidates: all that the sources proposed, in the order of the merge, then what came in later.

    `places` [S, N] count from 0 in the order after each of S `steps`, -1 = not there any more, or not yet.
    `columns` [N] hold what a stage knew of a candidate; NaN or -1 = it never got so far. `ends` are the
    distinct (stage, reason) of `service.cascade.query.Fate`, `end` [N] an index into them, `end_place` [N]
    the place among those of the same end, best first as that stage saw them.
    """

    source_names: tuple[str, ...]
    steps: tuple[Step, ...]
    places: Places
    columns: Mapping[str, Column]
    ends: tuple[tuple[str, str], ...]
    end: NDArray[np.int16]
    end_place: Places

    def __len__(self) -> int:
        return len(self.end)

    def proposed_by(self, at: int) -> list[str]:
        """Names of the sources that proposed a candidate."""
        return names_of(int(self.columns["sources"][at]), self.source_names)

    def kept(self, step: str) -> NDArray[np.bool_]:
        """[N] True = still there after a step."""
        kept: NDArray[np.bool_] = self.places[[one.name for one in self.steps].index(step)] >= 0
        return kept

    def by(self, step: str) -> str | None:
        """The column that a step cut by."""
        return next((one.by for one in self.steps if one.name == step), None)

    @property
    def returned(self) -> NDArray[np.intp]:
        """Candidates of the answer, best first."""
        return self.ended((RETURNED, "returned"))

    def ended(self, end: tuple[str, str]) -> NDArray[np.intp]:
        """Candidates of one end, best first as that stage saw them."""
        if end not in self.ends:
            return np.zeros(0, np.intp)
        here = np.flatnonzero(self.end == self.ends.index(end))
        return here[np.argsort(self.end_place[here], kind="stable")]


def funnel_of(batches: Mapping[str, Candidates], outcome: Outcome, cascade: Cascade) -> tuple[Rows, Funnel]:
    """The rows [N] of all candidates, and their funnel, out of what a cascade showed of its run."""
    rows = _union([*(batch.rows for batch in batches.values()), *(fate.rows for fate in outcome.fates)])
    find = Finder(rows)
    cut_by = {one.name: by for one, by in zip(cascade.rounds, _cut_by(cascade.rounds), strict=True)}
    shown = [name for name in batches if not name.endswith(SCORED)]
    steps = tuple(Step(name, cut_by.get(name)) for name in shown)
    places = np.full((len(steps), len(rows)), -1, np.int32)
    for s, name in enumerate(shown):
        places[s, find(batches[name].rows)] = np.arange(len(batches[name]), dtype=np.int32)
    ends = tuple(dict.fromkeys((fate.stage, fate.reason) for fate in outcome.fates))
    end, end_place = np.full(len(rows), -1, np.int16), np.zeros(len(rows), np.int32)
    for fate in outcome.fates:
        at = find(fate.rows)
        end[at] = ends.index((fate.stage, fate.reason))
        end_place[at] = np.arange(len(at), dtype=np.int32)
    columns = _columns(batches, outcome, find, len(rows))
    columns.setdefault("sources", np.zeros(len(rows), np.int32))
    return rows, Funnel(outcome.source_names, steps, places, columns, ends, end, end_place)


class Finder:
    """Positions of rows among distinct rows, by binary search."""

    def __init__(self, rows: Rows) -> None:
        self._order = np.argsort(rows, kind="stable")
        self._sorted = rows[self._order]

    def __call__(self, rows: Rows) -> NDArray[np.intp]:
        """[n] of rows [n], all of which are there."""
        found: NDArray[np.intp] = self._order[np.searchsorted(self._sorted, rows)]
        return found


def _union(parts: Sequence[Rows]) -> Rows:
    """Distinct rows in the order in which they first occur."""
    every = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    _, first = np.unique(every, return_index=True)
    union: Rows = every[np.sort(first)].astype(np.int32)
    return union


def _columns(
    batches: Mapping[str, Candidates], outcome: Outcome, find: Finder, size: int
) -> dict[str, Column]:
    """Every numeric column, of each candidate as any batch has it: what is known of one never changes."""
    columns: dict[str, Column] = {}
    answer = Candidates.of(outcome.rows, **outcome.columns)
    for batch in (*batches.values(), answer):
        at = find(batch.rows)
        for name, column in batch.columns.items():
            if column.ndim == 1 and column.dtype.kind in "fiub":
                if name not in columns:
                    columns[name] = np.full(size, _ABSENT[column.dtype.kind], column.dtype)
                columns[name][at] = column
    return columns


def _cut_by(rounds: Sequence[Round]) -> list[str | None]:
    """For each round the column that its selector goes by: the selector's own word, else the last score."""
    found: list[str | None] = []
    last: str | None = None
    for one in rounds:
        last = one.scorers[-1].name if one.scorers else last
        by = getattr(one.selector, "by", None)
        found.append(by if isinstance(by, str) else last)
    return found
