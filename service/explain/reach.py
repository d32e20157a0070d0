"""How far from being retrieved an item was: what each source made of it, beside the worst that it took."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cascade.eligible import eligible
from service.cascade.query import Floats, Query, Rows
from service.cascade.sources.dense import Dense
from service.cascade.sources.interests import InterestSearch
from service.catalogue import Catalogue
from service.explain.funnel import Funnel
from service.explain.replay import Replay
from service.explain.trace import NamedInterest

DEEP = 200_000
"""A source that has no vectors to compare is asked for so many items, to see where the item would be."""
_BLOCK = 50_000
_INTERESTS = 3
"""So many interests are told, those that the item came nearest to."""


@dataclass(frozen=True, slots=True)
class InterestReach:
    """One interest's list: the item's `score` and `rank` in it (from 1, of all that may be returned).

    `places` says how many the interest had, `worst_taken` the least score of what came from there.
    """

    interest: NamedInterest
    score: float
    rank: int
    places: int
    worst_taken: float | None


@dataclass(frozen=True, slots=True)
class Reach:
    """One source: the item's `score` and `rank` there, `taken` candidates and the `worst_taken` score.

    `rank` counts from 1 among all that may be returned. Score and rank are None where the item is not in the
    source's lists at all; `note` says so, and why the source took nothing.
    """

    source: str
    score: float | None
    rank: int | None
    taken: int
    worst_taken: float | None
    note: str = ""
    interests: tuple[InterestReach, ...] = ()


def reaches(replay: Replay, row: int) -> list[Reach]:
    """For each source of the answer how far `row`, which none of them proposed, was from it.

    Scores of interests and meaning are exact, over the whole catalogue; another source is asked again for a
    longer list.
    """
    funnel, query = replay.trace.funnel, replay.cascade.know(replay.query)
    return [_reach(replay, query, funnel, source, row) for source in replay.cascade.sources]


def _reach(replay: Replay, query: Query, funnel: Funnel, source: Any, row: int) -> Reach:
    taken, worst = _taken(funnel, source.name)
    if not {source.name, *source.requires}.isdisjoint(replay.trace.degraded):
        return Reach(source.name, None, None, taken, worst, "it failed or came too late for this answer")
    if isinstance(source, InterestSearch) and query.state.interests is not None:
        return _among_interests(replay, query, source, row)
    if isinstance(source, Dense):
        vector = query.state.words
        if vector is None:
            return Reach(source.name, None, None, taken, worst, "none of the words has a meaning to it")
        scores, rank = _exactly(query, replay.catalogue, vector[None], row)
        return Reach(source.name, float(scores[0]), int(rank[0]), taken, worst, _index_note(scores[0], worst))
    try:
        return _asked_again(query, source, row, taken, worst)
    except Exception as error:  # a source may fail here as it may in an answer
        return Reach(source.name, None, None, taken, worst, f"it cannot be asked: {error}")


def _taken(funnel: Funnel, source: str) -> tuple[int, float | None]:
    """How many candidates a source proposed, and the lowest score of them."""
    column = funnel.columns.get(f"{source}_score")
    if column is None or source not in funnel.source_names:
        return 0, None
    proposed = (funnel.columns["sources"] >> funnel.source_names.index(source) & 1).astype(bool)
    scores = column[proposed]
    return len(scores), float(scores.min()) if len(scores) else None


def _among_interests(replay: Replay, query: Query, source: InterestSearch, row: int) -> Reach:
    """The item by its best interest, and the lists that it came nearest to."""
    interests = query.state.interests
    assert interests is not None
    scores, ranks = _exactly(query, replay.catalogue, interests.queries, row)
    best, rank = float(scores[-1]), int(ranks[-1])
    taken, worst = _taken(replay.trace.funnel, source.name)
    places = interests.slots(max(taken, source.size))
    least = _least(replay, interests.queries)
    near = [
        InterestReach(named, float(scores[i]), int(ranks[i]), int(places[i]), least[i])
        for i, named in enumerate(replay.trace.interests)
        if i < len(places) and places[i] > 0
    ]
    near.sort(key=lambda one: (one.rank / one.places, -one.score))
    note = _index_note(best, worst)
    if near and near[0].rank > near[0].places:
        note = "its interest had no place left for it"
    return Reach(source.name, best, rank, taken, worst, note, tuple(near[:_INTERESTS]))


def _least(replay: Replay, queries: Floats) -> list[float | None]:
    """For each query [q, d + 1] its least score of the candidates that were found by it."""
    funnel = replay.trace.funnel
    rows = replay.catalogue.rows_of(replay.trace.item_ids)
    found = funnel.columns.get("interest_index", np.full(len(rows), -1, np.int32))
    least: list[float | None] = []
    for i, query in enumerate(queries):
        own = rows[(found == i) & (rows >= 0)]
        least.append(float((replay.catalogue.items.take(own) @ query).min()) if len(own) else None)
    return least


def _exactly(
    query: Query, catalogue: Catalogue, queries: Floats, row: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Scores [q + 1] of one row for each query [q, d + 1], the best of them last, and its ranks [q + 1] among
    all rows that may be returned. Reads the catalogue block by block."""

    def scored(rows: Rows) -> Floats:
        each = catalogue.items.take(rows) @ queries.T
        both: Floats = np.column_stack([each, each.max(axis=1)])
        return both

    own = scored(np.array([row], np.int32))[0]
    ahead = np.zeros(len(own), np.int64)
    for rows in _others(query, catalogue, row):
        # An item that ties with it comes before it if its row is lower, as everywhere.
        scores = scored(rows)
        ahead += ((scores > own) | ((scores == own) & (rows < row)[:, None])).sum(axis=0)
    if queries.shape[0] == 1:
        return own[:1], ahead[:1] + 1
    return own, ahead + 1


def _others(query: Query, catalogue: Catalogue, row: int) -> Iterator[Rows]:
    """All other rows that may be returned, in blocks."""
    for first in range(0, len(catalogue), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(catalogue)), dtype=np.int32)
        yield rows[eligible(query, catalogue, rows) & (rows != row)]


def _index_note(score: float, worst: float | None) -> str:
    if worst is None or not math.isfinite(score) or score <= worst:
        return ""
    return "it scores better than the worst that was taken: the index is approximate and missed it"


def _asked_again(query: Query, source: Any, row: int, taken: int, worst: float | None) -> Reach:
    """What a longer list of the same source says."""
    longer = source
    if is_dataclass(source) and any(field.name == "size" for field in fields(source)):
        longer = replace(source, size=DEEP)  # type: ignore[type-var]
    found = longer.fetch(query)
    at = np.flatnonzero(found.rows == row)
    if len(at) == 0:
        return Reach(source.name, None, None, taken, worst, "it is in none of this source's lists")
    score = float(found["score"][at[0]])
    ahead = int(np.count_nonzero(found["score"] > score))
    return Reach(source.name, score, ahead + 1, taken, worst)
