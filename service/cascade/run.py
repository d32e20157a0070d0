"""One run of a cascade: the clock, the counts, the failures and the fates of a single query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, TypeVarTuple

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
from service.cascade.stages import Filter, Hydrator, Scorer, Source, Stage
from service.errors import ContractViolation

T = TypeVar("T")
Given = TypeVarTuple("Given")
_Report = tuple[str, str, float, int, int, bool]
"""A stage's sort and name, its seconds, rows in and out, and whether it failed."""


class Run:
    """Mutable bookkeeping of one query; lives on one thread, for one call of `Cascade.run`.

    Its time is that of its stages: what others do while it pauses between two of them does not count.
    """

    def __init__(self, cascade: str, query: Query, observer: Observer, clock: Callable[[], float]) -> None:
        self.query = query
        """The query as far as it is hydrated."""
        self._cascade = cascade
        self._observer = observer
        self._clock = clock
        self._reports: list[_Report] = []
        self._missing: set[str] = set()
        self._degraded: list[str] = []
        self._fates: list[Fate] = []

    def hydrate(self, stage: Hydrator) -> None:
        """Extend the query."""
        query = self._attempt("hydrate", stage, True, stage.hydrate, contracts.query)
        self.query = query or self.query

    def fetch(self, stage: Source, late: bool) -> Candidates | None:
        """What a source proposes; None if it failed, or if the deadline passed and it came too `late`."""
        return self._attempt("source", stage, late, stage.fetch, contracts.candidates)

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
            keep = contracts.mask(stage, stage.keep(self.query, batch), batch)
        except Exception:
            self._report("filter", stage.name, started, len(batch), 0, failed=True)
            raise
        kept = batch
        if not every(keep):
            kept = batch.take(keep)
            self._observer.on_filter(self._cascade, stage.name, len(batch) - len(kept))
            self._fates.append(Fate("filter", stage.name, batch.rows, kept=keep))
        self._report("filter", stage.name, started, len(batch), len(kept))
        return kept

    def score(self, stage: Scorer, batch: Candidates) -> Candidates:
        """The batch with the scorer's column."""
        scored = self._attempt("score", stage, stage.optional, stage.score, contracts.scores, batch)
        if scored is None:
            return batch.with_column(stage.name, np.full(len(batch), np.nan, np.float32))
        if scored.odd:
            self._observer.on_nonfinite(self._cascade, stage.name, scored.odd)
        return batch.with_column(stage.name, scored.values)

    def select(self, one: Round, batch: Candidates) -> Candidates:
        """The best of the batch, in order; the fate of the others is this round."""
        selector, size = one.selector, one.size_for(self.query)
        picked = self._attempt("select", selector, False, selector.pick, contracts.positions, batch, size)
        if picked is None:
            return self._cut(one, batch, np.arange(min(size, len(batch))))
        kept = self._cut(one, batch, picked)
        if one.chance is None or len(picked) == 0:
            return kept
        chance = one.chance
        chances = self._attempt("chance", chance, False, chance.chances, contracts.chances, batch, picked)
        return kept if chances is None else kept.with_column("propensity", chances)

    def _cut(self, one: Round, batch: Candidates, picked: NDArray[np.intp]) -> Candidates:
        """The picked of the batch; the fate of the others is this round."""
        if len(picked) == len(batch):
            return batch if is_rising(picked) else batch.take(picked)
        scores = batch[one.scorers[-1].name] if one.scorers else None
        self._fates.append(Fate(one.name, "cut", batch.rows, scores, picked))
        return batch.take(picked)

    def answer(self, batch: Candidates, source_names: tuple[str, ...]) -> Outcome:
        """Close the books."""
        degraded = tuple(self._degraded)
        self._fates.append(Fate("answer", "returned", batch.rows))
        timings, seconds, scoring = self._told()
        timings["total"] = seconds * 1000.0
        self._observer.on_answer(self._cascade, seconds, scoring, len(batch), degraded)
        return Outcome(
            rows=batch.rows,
            columns=batch.columns,
            source_names=source_names,
            degraded=degraded,
            fates=tuple(self._fates),
            timings_ms=timings,
            state=self.query.state,
        )

    def _attempt(
        self,
        sort: str,
        stage: Stage,
        optional: bool,
        verb: Callable[[Query, *Given], Any],
        check: Callable[[Stage, Any, *Given], T],
        *given: *Given,
    ) -> T | None:
        """What the stage made of the query and the `given`, once its contract is kept; else None and a label.

        What is `optional` is left out once the deadline has passed.
        """
        if not self._missing.isdisjoint(stage.requires):
            self._fall_back(stage, "input", None)
            return None
        query, started = self.query, self._clock()
        if optional and query.deadline is not None and started >= query.deadline:
            self._fall_back(stage, "deadline", None)
            return None
        rows_in = _rows(given[0]) if given else 0
        try:
            result = check(stage, verb(query, *given), *given)
        except ContractViolation:
            self._report(sort, stage.name, started, rows_in, 0, failed=True)
            raise
        except Exception as error:
            self._report(sort, stage.name, started, rows_in, 0, failed=True)
            self._fall_back(stage, "failed", error)
            return None
        self._report(sort, stage.name, started, rows_in, _rows(result))
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

    def _told(self) -> tuple[dict[str, float], float, float]:
        """Milliseconds by stage, seconds of all stages, and of all scorers; the observer knows all after it.

        It is told at the end, for its code is not in the caches between two stages.
        """
        timings: dict[str, float] = {}
        all_seconds = scoring = 0.0
        for sort, name, seconds, rows_in, rows_out, failed in self._reports:
            label = f"{sort}.{name}"
            timings[label] = timings.get(label, 0.0) + seconds * 1000.0
            all_seconds += seconds
            if sort == "score":
                scoring += seconds
            self._observer.on_stage(self._cascade, label, seconds, rows_in, rows_out, failed)
        self._reports.clear()
        return timings, all_seconds, scoring

    def give_up(self) -> None:
        """Tell the observer what there was, of a query that gets no answer."""
        self._told()


def _rows(of: object) -> int:
    """How many candidates a stage was given or gave; a query is none."""
    return len(of) if hasattr(of, "__len__") else 0
