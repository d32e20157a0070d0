"""Searches as the ranker learns from them: who asked for what, what was found, and what was taken of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset, Queries
from models.text import query_words
from models.training.features import Features
from models.training.funnel import Funnel, Pool
from models.training.query_model import QueryModel
from models.training.timeline import Requests, Timeline

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

OTHERS = 32
"""Items per search, scored by the funnel, that negatives beside those that were found are drawn from: half of
them what would be recommended, half random (our choice)."""


@dataclass(frozen=True)
class Searches:
    """S searches by users, each with one item that was taken.

    The histories of `requests` are those of a timeline of their own (`Timeline.beside`). `query` [S, q] are
    their texts as the query tower reads them; `taken` [S] the items that one user took of one text.
    """

    requests: Requests
    query: Floats
    taken: list[Rows]

    def __len__(self) -> int:
        return len(self.requests)

    def at(self, index: Index) -> Searches:
        """The searches at `index`."""
        taken = [self.taken[s] for s in index.tolist()]
        return Searches(self.requests.at(index), self.query[index], taken)


@dataclass(frozen=True)
class Found:
    """What was found for S searches: `pools` and their `dense` scores, best first; and `others` [S, U].

    Where earlier stages and counts know that the user met the item that he took, what they say of it cannot
    be believed: the cross features of such a search are hidden.
    """

    pools: list[Pool]
    dense: list[Floats]
    others: Rows
    others_cross: Floats


def heard(model: QueryModel, texts: Sequence[str]) -> tuple[Floats, Mask]:
    """Query vectors [n, q] as serving makes them, and which texts the tower knows anything of."""
    known = np.array([model.reader.read(text) is not None for text in texts], bool)
    return model.vectors(texts), known


def by_users(queries: Queries) -> Queries:
    """Those that were asked by somebody, in words: of a stranger there is nothing to learn for a user."""
    fine = [user >= 0 and bool(query_words(text)) for user, text in _pairs(queries)]
    return queries.at(np.array(fine, bool))


def validating(dataset: Dataset, validation: Index, test: Index) -> Queries | None:
    """The queries in which a user took what validation holds out for him, before anything of the test."""
    asked = dataset.queries
    if asked is None:
        return None
    events = _keys(dataset, dataset.event_user, dataset.event_item)
    taken = _keys(dataset, asked.user, asked.item)
    fine = np.isin(taken, events[validation]) & ~np.isin(taken, events[test])
    if dataset.order == "time" and len(test):
        fine &= asked.time_ms < _first_test(dataset, test)[asked.user]
    return asked.at(fine)


def taken_before(dataset: Dataset, queries: Queries, events: Index) -> Mask:
    """Which queries [Q] took an item that the user has met in these events."""
    met = _keys(dataset, dataset.event_user[events], dataset.event_item[events])
    return np.isin(_keys(dataset, queries.user, queries.item), met)


def searches_of(
    features: Features, queries: Queries, query: Floats, every: Queries, events: Index
) -> tuple[Features, Searches]:
    """Queries as requests, and the features with the timeline that has their histories.

    A history is what the user did of `events` before he asked, without whatever he took of that text at any
    time, as `every` query tells: a click is in no history of its own search.
    """
    timeline, dataset = features.timeline, features.dataset
    allowed = np.zeros(dataset.events, bool)
    allowed[timeline.place[events]] = True
    groups: dict[tuple[int, str], set[int]] = {}
    for asked, item in zip(_pairs(every), every.item.tolist(), strict=True):
        groups.setdefault(_folded(asked), set()).add(item)
    taken = [np.array(sorted(groups[_folded(asked)]), np.int32) for asked in _pairs(queries)]
    kept = [
        _before(timeline, int(user), int(now), own, allowed)
        for user, now, own in zip(queries.user, queries.time_ms, taken, strict=True)
    ]
    nowhere = np.zeros(len(queries), np.int64)
    requests = Requests(
        queries.user, queries.item, queries.time_ms, nowhere.astype(np.int16), nowhere, nowhere
    )
    longer, requests = timeline.beside(requests, kept, _kinds(timeline, queries))
    return replace(features, timeline=longer), Searches(requests, query, taken)


def found_for(
    funnel: Funnel, searches: Searches, known: Mask, hidden: Floats, width: int, random: np.random.Generator
) -> Found:
    """What the dense half of a search finds, `width` items each, and what else to compare with.

    The lexical half is made at the export, so training goes without it. `hidden` [X] stands for the cross
    features of searches in `known` [S]. What was taken of the same text is no negative.
    """
    rows, dense = _dense(funnel, searches, width)
    others = _others(funnel, searches, random)
    pools, other_cross = [], np.empty((*others.shape, len(hidden)), np.float32)
    fresh = np.flatnonzero(~known)
    asked = [
        np.concatenate([rows[s], others[s], searches.requests.target[s : s + 1]]) for s in fresh.tolist()
    ]
    crosses = dict(zip(fresh.tolist(), funnel.cross_found(searches.requests.at(fresh), asked), strict=True))
    for s, own in enumerate(rows):
        size = len(own) + others.shape[1] + 1
        cross = crosses.get(s, np.broadcast_to(hidden, (size, len(hidden))))
        place = np.flatnonzero(own == searches.requests.target[s])
        pools.append(Pool(own, cross[: len(own)], cross[-1], int(place[0]) if len(place) else -1))
        other_cross[s] = cross[len(own) : -1]
    return Found(pools, dense, others, other_cross)


def _dense(funnel: Funnel, searches: Searches, width: int) -> tuple[list[Rows], list[Floats]]:
    """Exactly the best `width` by query . item that the user may see, with their scores."""
    vectors = funnel.space.vectors
    able = funnel.features.dataset.item_available
    rows, dense = [], []
    for s, seen in enumerate(funnel.features.timeline.seen(searches.requests)):
        scores = vectors @ searches.query[s]
        scores[~able] = scores[seen] = -np.inf
        target = searches.requests.target[s]
        rest = searches.taken[s]
        scores[rest[rest != target]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:width]
        best = best[np.isfinite(scores[best])]
        rows.append(best.astype(np.int32))
        dense.append(scores[best].astype(np.float32))
    return rows, dense


def _others(funnel: Funnel, searches: Searches, random: np.random.Generator) -> Rows:
    """[S, OTHERS]: what the recommending sources would propose, and random items."""
    count = len(searches)
    others = random.integers(0, len(funnel.space.vectors), (count, OTHERS)).astype(np.int32)
    proposed = funnel.proposals(searches.requests, "candidates, searches")
    for s in range(count):
        rows = np.unique(np.concatenate([lists[s] for lists in proposed.values()]))
        rows = rows[~np.isin(rows, searches.taken[s])]
        if len(rows):
            others[s, : OTHERS // 2] = random.choice(rows, OTHERS // 2)
    return others


def _before(timeline: Timeline, user: int, now_ms: int, without: Rows, allowed: Mask) -> Index:
    """Places of the user's events that his search may know."""
    places = np.arange(timeline.start[user], timeline.start[user + 1])
    kept = allowed[places] & (timeline.time_ms[places] < now_ms) & ~np.isin(timeline.item[places], without)
    return places[kept]


def _kinds(timeline: Timeline, queries: Queries) -> Index:
    """The kind of the user's first event with what he took; the first kind where there is none."""
    kinds = np.ones(len(queries), np.int64)
    for row, (user, item) in enumerate(zip(queries.user.tolist(), queries.item.tolist(), strict=True)):
        own = slice(int(timeline.start[user]), int(timeline.start[user + 1]))
        met = np.flatnonzero(timeline.item[own] == item)
        if len(met):
            kinds[row] = timeline.kind[own][met[0]]
    return kinds


def _pairs(queries: Queries) -> list[tuple[int, str]]:
    return list(zip(queries.user.tolist(), queries.text, strict=True))


def _folded(asked: tuple[int, str]) -> tuple[int, str]:
    user, text = asked
    return user, " ".join(query_words(text))


def _keys(dataset: Dataset, user: NDArray[np.int32], item: NDArray[np.int32]) -> Index:
    """One number per pair of user and item; a stranger's are below 0."""
    keys: Index = user.astype(np.int64) * dataset.items + item
    return keys


def _first_test(dataset: Dataset, test: Index) -> Index:
    """When each user's test begins."""
    first = np.full(dataset.users, np.iinfo(np.int64).max)
    np.minimum.at(first, dataset.event_user[test], dataset.event_time_ms[test])
    return first
