"""What the cascade comes to for one call, in steps: the outcome, and what was asked to be counted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.cascade.candidates import Candidates
from service.cascade.query import Outcome, Query, Request
from service.cascade.round import Round
from service.cascade.steps import Steps
from service.engine import Engine
from service.facets import Facets, check_facets, count_facets, counted_rows


@dataclass(frozen=True, slots=True)
class Computed:
    """An outcome with the engine that made it, the rounds that the query went through and what they showed.

    There are no `batches` unless they were to be shown or counted.
    """

    engine: Engine
    query: Query
    rounds: tuple[Round, ...]
    outcome: Outcome
    facets: Facets | None
    batches: Mapping[str, Candidates]


def compute(engine: Engine, request: Request, query: Query, *, shown: bool) -> Steps[Computed]:
    """Run the query through its cascade.

    Raises:
        CallerError: a facet is of no attribute that can be counted.
    """
    batches: dict[str, Candidates] = {}
    facets = None
    if request.facets:
        check_facets(request.facets, engine.bundle.schema.item_fields)
    outcome = yield from engine.steps(query, batches.__setitem__ if shown or request.facets else None)
    if request.facets:
        rows = counted_rows(query, batches["filter"], engine.plan_of(query).candidates)
        facets = count_facets(request.facets, rows, engine.catalogue)
    return Computed(engine, query, engine.rounds_of(query), outcome, facets, batches)
