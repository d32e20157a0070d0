"""An answer made once more: the same bundle, moment, request, user, trends, quality and failures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from service.cascade.cascade import Cascade
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Outcome, Query, Request
from service.cascade.round import Round
from service.cascade.sources.trending import Trending
from service.catalogue import Catalogue
from service.engine import Engine
from service.errors import Degraded
from service.explain.trace import AnswerTrace
from service.features.store import UserRecord
from service.trends import Trends


@dataclass(frozen=True)
class Replay:
    """Runs a trace's cascade again over the bundle in use, uncounted and without a deadline.

    Stages that failed or were left out for lack of time are left out again. The catalogue is that of now, at
    the moment of the answer as far as its schedule goes: where items changed since, so may the list.
    """

    trace: AnswerTrace
    engine: Engine

    @classmethod
    def of(cls, trace: AnswerTrace, engine: Engine) -> Replay:
        """A replay over the engine as it was at the moment of the answer.

        Raises:
            ValueError: the engine serves another bundle.
        """
        if engine.bundle.version != trace.bundle_version:
            raise ValueError(f"bundle {engine.bundle.version} cannot replay {trace.bundle_version}")
        catalogue = engine.catalogue.at(trace.now_ms)
        return cls(trace, engine if catalogue is engine.catalogue else engine.over(catalogue))

    @property
    def catalogue(self) -> Catalogue:
        """What is chosen from."""
        return self.engine.catalogue

    @cached_property
    def query(self) -> Query:
        """The query of the answer.

        Raises:
            CallerError, NotFound: the catalogue has changed so that it cannot be asked any more.
        """
        return self.query_without(())

    @cached_property
    def cascade(self) -> Cascade:
        """The cascade of the answer."""
        cascade = self.engine.cascade(self.query)
        absent = frozenset(self.trace.degraded)
        return replace(
            cascade,
            observer=NullObserver(),
            hydrators=tuple(_or_absent(one, absent) for one in cascade.hydrators),
            sources=tuple(_or_absent(self._as_then(one), absent) for one in cascade.sources),
            rounds=tuple(_round(one, absent) for one in cascade.rounds),
        )

    @cached_property
    def outcome(self) -> Outcome:
        """The answer once more."""
        return self.cascade.run(self.query)

    @cached_property
    def is_exact(self) -> bool:
        """Whether the list has come out the same bit for bit, items and scores."""
        ids, scores = self.ids(self.outcome), self.outcome.columns["score"]
        return ids == self.trace.answer_ids and scores.tobytes() == self.trace.answer_scores.tobytes()

    def query_without(self, items: Collection[str]) -> Query:
        """The query as it would have been had the user no event of these items."""
        trace = self.trace
        moment = Moment(trace.request_id, trace.now_ms, quality=trace.quality)
        request, record = trace.request, trace.record
        if items:
            request, record = _without_session(request, items), _without_events(record, items)
        return self.engine.hydrate(request, record, moment)

    def run_without(self, items: Collection[str]) -> Outcome:
        """The answer as it would have been had the user no event of these items."""
        return self.cascade.run(self.query_without(items))

    def ids(self, outcome: Outcome) -> list[ItemId]:
        """The ids of a list."""
        return self.catalogue.ids_of(outcome.rows)

    def _as_then(self, source: Any) -> Any:
        if not isinstance(source, Trending):
            return source
        placement = source.placements[self.query.placement]
        return replace(source, trends_at=Trends({placement: self.trace.trend}).at)


@dataclass(frozen=True, slots=True)
class Absent:
    """Stands for a stage whose fallback was taken, and fails as it did."""

    name: str
    requires: tuple[str, ...]
    optional: bool = True

    def hydrate(self, query: Query) -> Query:
        """Fails."""
        raise self._failure

    def fetch(self, query: Query) -> Any:
        """Fails."""
        raise self._failure

    def score(self, query: Query, batch: Any) -> Any:
        """Fails."""
        raise self._failure

    def pick(self, query: Query, batch: Any, size: int) -> Any:
        """Fails."""
        raise self._failure

    def chances(self, query: Query, batch: Any, picked: Any) -> Any:
        """Fails."""
        raise self._failure

    @property
    def _failure(self) -> Degraded:
        return Degraded(self.name, "went without it in the answer, too")


def _or_absent(stage: Any, absent: Collection[str]) -> Any:
    return Absent(stage.name, stage.requires) if stage.name in absent else stage


def _round(one: Round, absent: Collection[str]) -> Round:
    if not absent:
        return one
    chance = None if one.chance is None else _or_absent(one.chance, absent)
    scorers = tuple(_or_absent(scorer, absent) for scorer in one.scorers)
    return replace(one, scorers=scorers, selector=_or_absent(one.selector, absent), chance=chance)


def _without_session(request: Request, items: Collection[str]) -> Request:
    return replace(request, session=[one for one in request.session if one.item_id not in items])


def _without_events(record: UserRecord | None, items: Collection[str]) -> UserRecord | None:
    if record is None:
        return None
    keep = [i for i, item in enumerate(record.item_ids) if item not in items]
    return replace(
        record,
        item_ids=[record.item_ids[i] for i in keep],
        kinds=[record.kinds[i] for i in keep],
        timestamps_ms=[record.timestamps_ms[i] for i in keep],
    )
