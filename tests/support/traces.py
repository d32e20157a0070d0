"""Traces of answers, as the service would keep them."""

from __future__ import annotations

from service.cascade.candidates import Candidates
from service.cascade.hydrate import Moment
from service.cascade.query import Request
from service.engine import Engine
from service.explain.codec import pack_trace, unpack_trace
from service.explain.trace import AnswerTrace, Recording, trend_of
from service.features.store import UserRecord
from tests.support.tiny_world import NOW_MS


def trace_of(
    engine: Engine,
    request: Request,
    record: UserRecord | None = None,
    moment: Moment | None = None,
) -> AnswerTrace:
    """The trace of an answer to a request, before it has become bytes."""
    batches: dict[str, Candidates] = {}
    query = engine.hydrate(request, record, moment or Moment("r-1", NOW_MS))
    outcome = engine.run(query, batches.__setitem__)
    return Recording(engine, request, record, query, outcome, batches, trend_of(engine, query)).trace()


def stored(trace: AnswerTrace) -> AnswerTrace:
    """The trace as it comes back from the store."""
    return unpack_trace(pack_trace(trace))
