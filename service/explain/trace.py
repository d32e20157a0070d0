"""What is kept of an answer: enough to say why it was what it was, and to make it once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.auction.auctioneer import Auction
from service.cascade.candidates import Candidates
from service.cascade.query import ItemId, Outcome, Query, Request
from service.cascade.sources.trending import Trending
from service.engine import Engine
from service.explain.funnel import Funnel, funnel_of
from service.explain.sale import Sale, sale_of
from service.features.store import Trend, UserRecord

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NamedInterest:
    """An interest as an answer named it; the column `interest_index` counts them."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class AnswerTrace:
    """One answer, in ids, so that it can be read beside any bundle.

    `item_ids` [N] belong to the candidates of `funnel`. `record` is the user's as it was read (None = nobody
    asked the store, or it did not answer) and `trend` what was trending then: with the request, the moment
    and the quality it is all that the cascade reads besides bundle and catalogue. `offset` counts the items
    of earlier pages, `degraded` are the stages whose fallback was taken.
    """

    request_id: str
    bundle_version: str
    now_ms: int
    quality: float
    offset: int
    request: Request
    record: UserRecord | None
    trend: Trend
    degraded: tuple[str, ...]
    interests: tuple[NamedInterest, ...]
    item_ids: Sequence[ItemId]
    funnel: Funnel
    sale: Sale | None = None
    """What an auction made of the list; the funnel ends before it."""

    @property
    def answer_ids(self) -> list[ItemId]:
        """The ids of the list, best first."""
        return [self.item_ids[at] for at in self.funnel.returned.tolist()]

    @property
    def answer_scores(self) -> Floats:
        """The scores of the list [n]."""
        scores: Floats = self.funnel.columns["score"][self.funnel.returned]
        return scores

    def position(self, item_id: str) -> int | None:
        """Where the item is among the candidates; None = no source proposed it."""
        try:
            return list(self.item_ids).index(ItemId(item_id))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Recording:
    """An answer as it left, with what the cascade showed meanwhile; turned into a trace later, elsewhere."""

    engine: Engine
    request: Request
    record: UserRecord | None
    query: Query
    outcome: Outcome
    batches: Mapping[str, Candidates]
    trend: Trend
    auction: Auction | None = None
    """What was sold in the list; `outcome` is the list before it."""

    def trace(self) -> AnswerTrace:
        """The trace of the answer: about a millisecond for a thousand candidates."""
        engine, query = self.engine, self.query
        rows, funnel = funnel_of(self.batches, self.outcome, engine.cascade(query))
        return AnswerTrace(
            request_id=query.request_id,
            bundle_version=engine.bundle.version,
            now_ms=query.now_ms,
            quality=query.quality,
            offset=query.offset,
            request=self.request,
            record=self.record,
            trend=self.trend,
            degraded=self.outcome.degraded,
            interests=named_interests(engine, self.outcome),
            item_ids=engine.catalogue.ids_of(rows),
            funnel=funnel,
            sale=None if self.auction is None else sale_of(self.auction, engine.catalogue),
        )


def named_interests(engine: Engine, outcome: Outcome) -> tuple[NamedInterest, ...]:
    """The user's interests with their labels, in the order that `interest_index` counts."""
    interests, names = outcome.state.interests, engine.names
    if interests is None:
        return ()
    return tuple(NamedInterest(names.id_of(one), names.label(one)) for one in interests.clusters.tolist())


def trend_of(engine: Engine, query: Query) -> Trend:
    """What is trending where this query asks, as its cascade would read it now; nothing if it does not."""
    cascade = engine.cascade(query)
    if not any(isinstance(source, Trending) for source in cascade.sources):
        return Trend()
    placements = engine.bundle.schema.placements
    return engine.trends.current.get(placements[query.placement], Trend())
