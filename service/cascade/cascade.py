"""The runner: takes a query through hydrators, sources, filters and rounds. It owns everything but
arithmetic.

It alone times, counts, applies the deadline, catches failures and takes fallbacks:

    hydrator   fails -> the query stays as it was, and stages that require the hydrator are left out
    source     fails -> left out
    filter     fails -> the request fails
    scorer     fails -> a column of NaN, which keeps the previous order
    selector   fails -> the head of the previous order

A stage that breaks its contract raises `ContractViolation`, whatever its sort.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from service.cascade.candidates import Candidates
from service.cascade.observe import NullObserver, Observer
from service.cascade.query import Outcome, Query
from service.cascade.round import Round
from service.cascade.run import Run
from service.cascade.stages import Filter, Hydrator, Source
from service.cascade.steps import Steps, finish

Trace = Callable[[str, Candidates], None]
Clock = Callable[[], float]

MERGED = "merge"
"""How a trace calls what the sources proposed."""
SCORED = ".scored"
"""How a trace marks a round's batch before the cut."""


def as_it_is(source: Source) -> Source:
    """The source, asked once."""
    return source


@dataclass(frozen=True, slots=True)
class Cascade:
    """A list of stages. `shares` are the sources' shares of the merged batch; the cheapest source comes
    first.

    Past the deadline sources are left out as soon as there is any candidate. `widen` says how a source is
    asked, such as more than once.
    """

    name: str
    hydrators: tuple[Hydrator, ...]
    sources: tuple[Source, ...]
    filters: tuple[Filter, ...]
    rounds: tuple[Round, ...]
    shares: Mapping[str, float]
    observer: Observer = field(default_factory=NullObserver)
    clock: Clock = time.monotonic
    widen: Callable[[Source], Source] = as_it_is

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, by their bit in the column `sources`."""
        return tuple(source.name for source in self.sources)

    def know(self, query: Query) -> Query:
        """The query with the user's state filled as `run` would fill it, and nothing else done or counted."""
        run = Run(self.name, query, NullObserver(), self.clock)
        for hydrator in self.hydrators:
            run.hydrate(hydrator)
        return run.query

    def run(self, query: Query, trace: Trace | None = None) -> Outcome:
        """Answer the query; `trace` sees the batch as merged (`MERGED`), after the filters ("filter"), and of
        each round what it scored (its name and `SCORED`) and what it kept (its name).

        Raises:
            ContractViolation: a stage returned something that its protocol forbids.
            Exception: what a filter raised.
        """
        return finish(self.steps(query, trace))

    def steps(self, query: Query, trace: Trace | None = None) -> Steps[Outcome]:
        """`run`, pausing after each stage so that other queries can take theirs."""
        run = Run(self.name, query, self.observer, self.clock)
        try:
            return (yield from self._stages(run, trace))
        except BaseException:
            run.give_up()
            raise

    def _stages(self, run: Run, trace: Trace | None) -> Steps[Outcome]:
        for hydrator in self.hydrators:
            run.hydrate(hydrator)
            yield
        found: dict[str, Candidates] = {}
        for source in self.sources:
            batch = run.fetch(self.widen(source), late=any(len(other) for other in found.values()))
            if batch is not None:
                found[source.name] = batch
            yield
        names = self.source_names
        batch = run.merge(found, names, self.shares)
        _show(trace, MERGED, batch)
        yield
        for one in self.filters:
            if one.applies(run.query):
                batch = run.filter(one, batch)
        _show(trace, "filter", batch)
        yield
        for one_round in self.rounds:
            for scorer in one_round.scorers:
                batch = run.score(scorer, batch)
                yield
            _show(trace, one_round.name, batch, SCORED)
            batch = run.select(one_round, batch)
            _show(trace, one_round.name, batch)
            yield
        return run.answer(batch, names)


def _show(trace: Trace | None, name: str, batch: Candidates, suffix: str = "") -> None:
    if trace is not None:
        trace(name + suffix, batch)
