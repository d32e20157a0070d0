"""One run of a cascade: the clock, the counts, the failures and the fates of a single query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.masks import every
from service.cascade import contracts
from service.cascade.candidates import Candidates
from service.cascade.membership import is_rising
from service.cascade.merge import merge
from service.cascade.observe import Observer
from service.cascade.query import Fate, Outcome, Query
from service.cascade.round import Round
from service.cascade.stages import Chance, Filter, Hydrator, Scorer, Source, Stage
from service.errors import ContractViolation

T = TypeVar("T")
_Report = tuple[str, str, float, int, int, bool]
"""A stage's sort and name, its seconds, rows in and out, and whether it failed."""


class Run:
    """Mutable bookkeeping of one query; lives on one thread, for one call of `Cascade.run`.

    Its time is its own: what others do while it pauses does not count.
    """

    def __init__(self, cascade: str, query: Query, observer: Observer, clock: Callable[[], float]) -> None:
        self._cascade = cascade
        self._query = query
        self._observer = observer
        self._clock = clock
        self._since = clock()
        self._spent = 0.0
        self._reports: list[_Report] = []
        self._missing: set[str] = set()
        self._degraded: list[str] = []
        self._fates: list[Fate] = []

    @property
    def query(self) -> Query:
        """The query as far as it is hydrated."""
        return self._query

    def pause(self) -> Iterator[None]:
        """One step of a cascade ends here, and the next begins."""
        self._spent += self._clock() - self._since
        yield
        self._since = self._clock()

    def hydrate(self, stage: Hydrator) -> None:
        """Extend the query."""
        query = self._attempt(
            "hydrate", stage, 0, lambda: contracts.query(stage, stage.hydrate(self._query)), lambda _: 0
        )
        self._query = query or self._query

    def fetch(self, stage: Source, late: bool) -> Candidates | None:
        """What a source proposes; None if it failed, or if the deadline passed and it came too `late`."""
        return self._attempt(
            "source",
            stage,
            0,
            lambda: contracts.candidates(stage, stage.fetch(self._query)),
            len,
            optional=late,
        )

    def merge(
        self, found: Mapping[str, Candidates], names: tuple[str, ...], shares: Mapping[str, float]
    ) -> Candidates:
        """One batch of what the sources proposed."""
        started = self._clock()
        merged = merge(found, names, shares)
        proposed = sum(len(batch) for batch in found.values())
        self._report("merge", "sources", started, proposed, len(merged))
        for name, batch in found.items():
            unique = len(merged)
            if len(found) > 1:
                unique = int(np.count_nonzero(merged["sources"] == 1 << names.index(name)))
            self._observer.on_source(self._cascade, name, len(batch), unique)
        return merged

    def filter(self, stage: Filter, batch: Candidates) -> Candidates:
        """The candidates that the filter keeps; its failure is the request's."""
        started = self._clock()
        try:
            keep = contracts.mask(stage, stage.keep(self._query, batch), len(batch))
        except Exception:
            self._report("filter", stage.name, started, len(batch), 0, failed=True)
            raise
        kept = batch
        if not every(keep):
            kept, gone = batch.take(keep), batch.rows[~keep]
            self._observer.on_filter(self._cascade, stage.name, len(gone))
            self._fates.append(Fate("filter", stage.name, gone))
        self._report("filter", stage.name, started, len(batch), len(kept))
        return kept

    def score(self, stage: Scorer, batch: Candidates) -> Candidates:
        """The batch with the scorer's column."""
        scores = self._attempt(
            "score",
            stage,
            len(batch),
            lambda: contracts.scores(stage, stage.score(self._query, batch), len(batch)),
            lambda _: len(batch),
            optional=stage.optional,
        )
        if scores is None:
            return batch.with_column(stage.name, np.full(len(batch), np.nan, np.float32))
        if scores.odd:
            self._observer.on_nonfinite(self._cascade, stage.name, scores.odd)
        return batch.with_column(stage.name, scores.values)

    def select(self, one: Round, batch: Candidates) -> Candidates:
        """The best of the batch, in order; the fate of the others is this round."""
        size = one.size_for(self._query)
        picked = self._attempt(
            "select",
            one.selector,
            len(batch),
            lambda: contracts.positions(
                one.selector, one.selector.pick(self._query, batch, size), len(batch), size
            ),
            len,
            optional=False,
        )
        if picked is None:
            picked = np.arange(min(size, len(batch)))
        elif one.chance is not None and len(picked):
            chances = self._chances(one.chance, batch, picked)
            kept = self._cut(one, batch, picked)
            return kept if chances is None else kept.with_column("propensity", chances)
        return self._cut(one, batch, picked)

    def _chances(
        self, stage: Chance, batch: Candidates, picked: NDArray[np.intp]
    ) -> NDArray[np.float32] | None:
        """How probable each pick was; None where it was certain, or where nobody can say."""
        return self._attempt(
            "chance",
            stage,
            len(picked),
            lambda: contracts.chances(stage, stage.chances(self._query, batch, picked), len(picked)),
            lambda found: 0 if found is None else len(found),
            optional=False,
        )

    def _cut(self, one: Round, batch: Candidates, picked: NDArray[np.intp]) -> Candidates:
        """The picked of the batch; the fate of the others is this round."""
        if len(picked) == len(batch):
            return batch if is_rising(picked) else batch.take(picked)
        rest = np.ones(len(batch), bool)
        rest[picked] = False
        scores = batch[one.scorers[-1].name][rest] if one.scorers else None
        self._fates.append(Fate(one.name, "cut", batch.rows[rest], scores))
        return batch.take(picked)

    def answer(self, batch: Candidates, source_names: tuple[str, ...]) -> Outcome:
        """Close the books."""
        seconds = self._spent + self._clock() - self._since
        degraded = tuple(self._degraded)
        self._fates.append(Fate("answer", "returned", batch.rows))
        timings, scoring = self._told()
        timings["total"] = seconds * 1000.0
        self._observer.on_answer(self._cascade, seconds, scoring, len(batch), degraded)
        return Outcome(
            rows=batch.rows,
            columns=batch.columns,
            source_names=source_names,
            degraded=degraded,
            fates=tuple(self._fates),
            timings_ms=timings,
            state=self._query.state,
        )

    def _attempt(
        self,
        sort: str,
        stage: Stage,
        rows_in: int,
        call: Callable[[], T],
        count: Callable[[T], int],
        *,
        optional: bool = True,
    ) -> T | None:
        """The stage's result, or None and a label."""
        if not self._missing.isdisjoint(stage.requires):
            self._fall_back(stage, "input", None)
            return None
        if optional and self._query.deadline is not None and self._clock() >= self._query.deadline:
            self._fall_back(stage, "deadline", None)
            return None
        started = self._clock()
        try:
            result = call()
        except ContractViolation:
            self._report(sort, stage.name, started, rows_in, 0, failed=True)
            raise
        except Exception as error:
            self._report(sort, stage.name, started, rows_in, 0, failed=True)
            self._fall_back(stage, "failed", error)
            return None
        self._report(sort, stage.name, started, rows_in, count(result))
        return result

    def _fall_back(self, stage: Stage, reason: str, error: Exception | None) -> None:
        self._missing.add(stage.name)
        self._observer.on_degraded(self._cascade, stage.name, reason, error)
        if reason != "input" and stage.name not in self._degraded:
            self._degraded.append(stage.name)

    def _report(
        self, sort: str, name: str, started: float, rows_in: int, rows_out: int, *, failed: bool = False
    ) -> None:
        self._reports.append((sort, name, self._clock() - started, rows_in, rows_out, failed))

    def _told(self) -> tuple[dict[str, float], float]:
        """Milliseconds by stage and the seconds of all scorers; the observer knows all after it.

        It is told at the end, for its code is not in the caches between two stages.
        """
        timings: dict[str, float] = {}
        scoring = 0.0
        for sort, name, seconds, rows_in, rows_out, failed in self._reports:
            label = f"{sort}.{name}"
            timings[label] = timings.get(label, 0.0) + seconds * 1000.0
            if sort == "score":
                scoring += seconds
            self._observer.on_stage(self._cascade, label, seconds, rows_in, rows_out, failed)
        self._reports.clear()
        return timings, scoring

    def give_up(self) -> None:
        """Tell the observer what there was, of a query that gets no answer."""
        self._told()
