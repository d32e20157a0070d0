"""Queries and stages for tests of the cascade, small enough to read at a glance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.encode import encode_history
from models.schema import Schema
from service.cascade.candidates import Candidates
from service.cascade.query import Kind, Outcome, Query, Request, User
from service.engine import Engine

NOW_MS = 1_700_000_000_000
SCHEMA = Schema(item_fields=(), user_fields=(), event_kinds=("view", "click"))


def a_user(rows: tuple[int, ...] = ()) -> User:
    """A user who viewed these rows, one a minute, the last a minute ago."""
    events = np.array(rows, np.int32)
    kinds = np.ones(len(rows), np.int64)
    times = NOW_MS - 60_000 * np.arange(len(rows), 0, -1, dtype=np.int64)
    history = encode_history(SCHEMA, events, kinds, times, NOW_MS)
    return User(events, kinds, times, history, np.zeros(1, np.int64), known=bool(rows))


def a_query(**changes: Any) -> Query:
    """An anonymous call for 10 items."""
    query = Query(
        request_id="r-1",
        kind=Kind.RECOMMEND,
        now_ms=NOW_MS,
        user_id=None,
        user=a_user(),
        placement=0,
        count=10,
        seed=1,
    )
    return replace(query, **changes)


@dataclass(frozen=True)
class Proposes:
    """A source of fixed rows, the first the best; or whatever `answer` says."""

    name: str
    rows: tuple[int, ...] = ()
    answer: Callable[[Query], Any] | None = None
    requires: tuple[str, ...] = ()

    def fetch(self, query: Query) -> Any:
        if self.answer is not None:
            return self.answer(query)
        rows = np.array(self.rows, np.int32)
        return Candidates.of(rows, score=-np.arange(len(rows), dtype=np.float32))


@dataclass(frozen=True)
class Keeps:
    """A filter by a predicate over rows."""

    name: str
    keeps: Callable[[Any], Any]
    requires: tuple[str, ...] = ()
    idle: bool = False

    def applies(self, query: Query) -> bool:
        return not self.idle

    def keep(self, query: Query, batch: Candidates) -> Any:
        return self.keeps(batch.rows)


@dataclass(frozen=True)
class Scores:
    """A scorer by a function of the batch."""

    name: str
    of: Callable[[Candidates], Any]
    requires: tuple[str, ...] = ()
    optional: bool = False

    def score(self, query: Query, batch: Candidates) -> Any:
        return self.of(batch)


@dataclass(frozen=True)
class Picks:
    """A selector by a function of batch and size."""

    name: str
    of: Callable[[Candidates, int], Any]
    requires: tuple[str, ...] = ()

    def pick(self, query: Query, batch: Candidates, size: int) -> Any:
        return self.of(batch, size)


@dataclass(frozen=True)
class Hydrates:
    """A hydrator by a function of the query."""

    name: str
    of: Callable[[Query], Any]
    requires: tuple[str, ...] = ()

    def hydrate(self, query: Query) -> Any:
        return self.of(query)


@dataclass
class Notes:
    """An observer that remembers what it was told."""

    stages: list[tuple[str, int, int, bool]] = field(default_factory=list)
    sources: dict[str, tuple[int, int]] = field(default_factory=dict)
    filtered: dict[str, int] = field(default_factory=dict)
    fallbacks: list[tuple[str, str]] = field(default_factory=list)
    nonfinite: dict[str, int] = field(default_factory=dict)
    answers: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def on_stage(
        self, cascade: str, stage: str, seconds: float, rows_in: int, rows_out: int, failed: bool
    ) -> None:
        assert seconds >= 0
        self.stages.append((stage, rows_in, rows_out, failed))

    def on_source(self, cascade: str, source: str, proposed: int, unique: int) -> None:
        self.sources[source] = (proposed, unique)

    def on_filter(self, cascade: str, reason: str, count: int) -> None:
        self.filtered[reason] = count

    def on_degraded(self, cascade: str, stage: str, reason: str, error: BaseException | None) -> None:
        assert (error is not None) == (reason == "failed")
        self.fallbacks.append((stage, reason))

    def on_nonfinite(self, cascade: str, stage: str, count: int) -> None:
        self.nonfinite[stage] = count

    def on_answer(
        self, cascade: str, seconds: float, scoring: float, returned: int, degraded: tuple[str, ...]
    ) -> None:
        self.answers.append((returned, degraded))


def cursor_after(engine: Engine, request: Request, query: Query, outcome: Outcome) -> str | None:
    """The cursor after a page, as an answer has it."""
    return engine.next_cursor(request, query, engine.catalogue.ids_of(outcome.rows))
