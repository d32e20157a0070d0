"""Which of the user's events put an item into a list: those without which it drops out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.cascade.query import ItemId, Outcome
from service.explain.replay import Replay

MOST = 20
"""So many distinct items of the user's newest events are taken away one at a time."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Without:
    """The list without all events of `items`: the item's `rank` and `score` in it; None = it is not there.

    `takes_the_place` says that one of these items, no longer seen, is itself in the new list.
    """

    items: tuple[ItemId, ...]
    rank: int | None
    score: float | None
    takes_the_place: bool


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What removing events does to an item of `rank` in the answer's own re-run; None = it is not in it.

    `causes` are the removals that drop it, single items first; those by which the removed item itself comes
    in are last, for they say less. `others` are the removals that do not, the most hurtful first. `complete`
    is False where time ran out; `considered` of the user's `items` were taken away, in `runs` re-runs.
    """

    rank: int | None
    causes: tuple[Without, ...]
    others: tuple[Without, ...]
    items: int
    considered: int
    runs: int
    complete: bool


def counterfactual(
    replay: Replay, item_id: str, budget_s: float, most: int = MOST, clock: Clock = time.monotonic
) -> Counterfactual:
    """Re-run the answer without each of the user's newest items, then without pairs if none alone suffices.

    Pairs are greedy: the removal that hurts most, with each of the others in turn.
    """
    deadline = clock() + budget_s
    rank = _rank(replay, replay.outcome, item_id)
    items = newest_items(replay)
    considered = items[:most] if rank is not None else []
    tried: list[Without] = []
    for item in considered:
        if clock() >= deadline:
            break
        tried.append(_without(replay, item_id, (item,)))
    complete = len(tried) == len(considered)
    if complete and len(tried) > 1 and not any(_drops(one) for one in tried):
        pairs, complete = _pairs(replay, item_id, _most_hurtful_first(tried), deadline, clock)
        tried += pairs
    return Counterfactual(
        rank=rank,
        causes=tuple(sorted((one for one in tried if _drops(one)), key=lambda one: one.takes_the_place)),
        others=tuple(_most_hurtful_first([one for one in tried if not _drops(one)])),
        items=len(items),
        considered=len({item for one in tried for item in one.items}),
        runs=1 + len(tried),
        complete=complete,
    )


def newest_items(replay: Replay) -> list[ItemId]:
    """The distinct items of the user's events that count in the catalogue, newest first."""
    rows = replay.query.user.rows[::-1]
    return list(dict.fromkeys(replay.catalogue.ids_of(rows)))


def _pairs(
    replay: Replay, item_id: str, singles: Sequence[Without], deadline: float, clock: Clock
) -> tuple[list[Without], bool]:
    """The worst removal with each of the others, until one drops the item and leaves the rest of the list;
    and whether time sufficed."""
    worst, *others = singles
    pairs: list[Without] = []
    for other in others:
        if clock() >= deadline:
            return pairs, False
        pairs.append(_without(replay, item_id, worst.items + other.items))
        if _drops(pairs[-1]) and not pairs[-1].takes_the_place:
            break
    return pairs, True


def _without(replay: Replay, item_id: str, items: tuple[ItemId, ...]) -> Without:
    outcome = replay.run_without(items)
    ids = replay.ids(outcome)
    in_its_place = bool(set(items) & set(ids))
    if item_id not in ids:
        return Without(items, None, None, in_its_place)
    at = ids.index(ItemId(item_id))
    return Without(items, replay.query.offset + at + 1, float(outcome.columns["score"][at]), in_its_place)


def _rank(replay: Replay, outcome: Outcome, item_id: str) -> int | None:
    """The rank over all pages, from 1."""
    ids = replay.ids(outcome)
    return replay.query.offset + ids.index(ItemId(item_id)) + 1 if item_id in ids else None


def _drops(one: Without) -> bool:
    return one.rank is None


def _most_hurtful_first(tried: Sequence[Without]) -> list[Without]:
    return sorted(tried, key=lambda one: (-(one.rank or 0), one.score or 0.0))
