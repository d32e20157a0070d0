"""Between HTTP and the cascade: fetches the user, reads the engine once, runs it, leaves the side effects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.auction.auctioneer import Auction, Auctioneer
from service.auction.trust import DISTRUSTED
from service.cascade.hydrate import Moment
from service.cascade.query import ItemId, Kind, Outcome, Query, Request
from service.cascade.steps import Steps, finish
from service.computing import Computed, compute
from service.effects import SideEffects
from service.engine import Engine
from service.errors import ClientGone, NotReady
from service.explain.journal import Journal
from service.explain.trace import Recording, trend_of
from service.facets import Facets
from service.features.store import FeatureStore, StoreUnavailable, UserRecord
from service.features.streams import Impression
from service.index_sampler import IndexSampler
from service.logs import add_context
from service.metrics import Metrics
from service.overload.pressure import Pressure, with_quality
from service.ranker_sampler import RankerSampler
from service.starvation import STARVED

CALIBRATION = "calibration"
"""How an answer labels that it was priced with click probabilities that recent clicks contradict."""
SPONSORED = "sponsored"
"""How an answer labels that its slots could not be sold."""
STORE = "store"
"""How an answer labels that it was made without the user's stored state."""
LONG_WAIT_S = 0.02
"""After a longer wait for the store it is worth asking whether the client is still there."""

Gone = Callable[[], Awaitable[bool]]


async def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Answered:
    """A query with its outcome, the engine that made it, and the ids [n] of the outcome's rows."""

    engine: Engine
    request: Request
    query: Query
    outcome: Outcome
    item_ids: list[ItemId]
    degraded: tuple[str, ...]
    facets: Facets | None = None
    starved: Mapping[str, Any] | None = None
    """Why the list is short, where its rules are to blame."""
    recording: Recording | None = None
    """What is explained of it, where that was asked for."""
    auction: Auction | None = None
    """What became of its slots, where it has any to sell."""


class Recommender:
    """Holds the one reference to the engine in use; a request reads it once and keeps it to its end."""

    def __init__(
        self,
        store: FeatureStore,
        effects: SideEffects[Impression],
        metrics: Metrics,
        index_sampler: IndexSampler,
        ranker_sampler: RankerSampler,
        journal: Journal | None = None,
        auctioneer: Auctioneer | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        self._store = store
        self._index_sampler = index_sampler
        self._ranker_sampler = ranker_sampler
        self._effects = effects
        self._metrics = metrics
        self._journal = journal
        self._auctioneer = auctioneer
        self._pressure = pressure
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine in use.

        Raises:
            NotReady: no bundle has gone through its warm-up yet.
        """
        if self._engine is None:
            raise NotReady("the bundle is still being opened and warmed up")
        return self._engine

    @property
    def placements(self) -> tuple[str, ...]:
        """Those of the bundle in use; none before one is."""
        return () if self._engine is None else self._engine.bundle.schema.placements

    def use(self, engine: Engine) -> None:
        """Serve with this engine from the next request on."""
        self._engine = engine
        self._metrics.catalogue_items.set(len(engine.catalogue))
        self._metrics.live_items.set(engine.catalogue.overlay.live)
        self._metrics.live_item_limit.set(engine.catalogue.overlay.capacity)
        self._metrics.faulty_offers.set(len(engine.catalogue.offers.faulty))

    async def answer(
        self, request: Request, moment: Moment, gone: Gone = _never, left: Callable[[], bool] = bool
    ) -> Answered:
        """Answer one request; a store that does not answer is labelled, never an error.

        Raises:
            CallerError, NotFound: the request cannot be answered as it is.
            NotReady: see `engine`.
            ClientGone: `left` said so, or `gone` after a long wait, before the work began.
            Shed: its deadline passed while it waited for its turn.
        """
        started = time.monotonic()
        engine = self.engine
        add_context(bundle_version=engine.bundle.version)
        if request.placement not in engine.placements:
            self._metrics.unknown_placements.labels(request.kind).inc()
        (record, without), seen = await self._know(request, moment)
        if time.monotonic() - started > LONG_WAIT_S and await gone():
            raise self._left()
        kept = self._journal is not None and self._journal.wants(request, moment.request_id)
        sampled = self._ranker_sampler.wants()
        shown = kept or sampled or request.explain or _sells(request)

        def begin(size: int) -> Steps[Computed]:
            return self._compute(request, record, moment, left, size, shown=shown)

        done = finish(begin(1)) if self._pressure is None else await self._pressure.compute(moment, begin)
        if sampled:
            self._ranker_sampler.offer(done)
        recording = _recorded(request, record, done) if kept or request.explain else None
        auction = await self._sell(request, done, seen)
        answered = self._answered(request, done, without, recording, auction)
        self._leave(answered)
        if kept and recording is not None and self._journal is not None:
            # The list before the auction: that is what can be made once more.
            self._journal.submit(replace(recording, auction=auction))
        return answered

    def _compute(
        self,
        request: Request,
        record: UserRecord | None,
        moment: Moment,
        left: Callable[[], bool],
        size: int,
        *,
        shown: bool,
    ) -> Steps[Computed]:
        """From the user's record to the outcome, as one of `size` that take turns."""
        if left():
            raise self._left()
        # Read again after the wait: an item that was hidden meanwhile is hidden.
        engine = self.engine
        query = engine.hydrate(request, record, moment)
        if self._pressure is not None:
            query = with_quality(query, self._pressure.fitted(query, engine.rounds_of(query), size))
        yield
        return (yield from compute(engine, request, query, shown=shown))

    def _answered(
        self,
        request: Request,
        done: Computed,
        without: tuple[str, ...],
        recording: Recording | None,
        auction: Auction | None,
    ) -> Answered:
        """The answer with all that it had to go without; `without` is what the store owed it."""
        engine, query, outcome = done.engine, done.query, done.outcome
        degraded = without + outcome.degraded
        if self._pressure is not None:
            degraded += self._pressure.answered(query, done.rounds, outcome.fates)
        if auction is not None:
            outcome = auction.outcome
            recording = recording and replace(recording, outcome=outcome)
            degraded += self._unsold(query, auction)
        starved = engine.starvation(request, query, outcome)
        if starved is not None:
            degraded += (STARVED,)
            self._metrics.degraded.labels(query.kind, STARVED).inc()
        item_ids = engine.catalogue.ids_of(outcome.rows)
        return Answered(
            engine, request, query, outcome, item_ids, degraded, done.facets, starved, recording, auction
        )

    def _left(self) -> ClientGone:
        self._metrics.client_gone.inc()
        return ClientGone("the client left before its answer was begun")

    async def _know(
        self, request: Request, moment: Moment
    ) -> tuple[tuple[UserRecord | None, tuple[str, ...]], Mapping[str, int] | None]:
        """The user's record, its label, and the ads that the user saw; one round trip."""
        if self._auctioneer is None or not _sells(request):
            return await self._fetch(request, moment), {}
        return await asyncio.gather(self._fetch(request, moment), self._auctioneer.shown(request, moment))

    async def _sell(self, request: Request, done: Computed, seen: Mapping[str, int] | None) -> Auction | None:
        if self._auctioneer is None or request.selling is None:
            return None
        return await self._auctioneer.sell(
            done.engine, request.selling, done.query, done.outcome, done.batches, seen
        )

    def _unsold(self, query: Query, auction: Auction) -> tuple[str, ...]:
        """The label of an answer whose slots could not be sold, or at doubtful prices."""
        if auction.reason is None and auction.calibration != DISTRUSTED:
            return ()
        if auction.reason is None:
            self._metrics.degraded.labels(query.kind, CALIBRATION).inc()
            return (CALIBRATION,)
        self._metrics.degraded.labels(query.kind, SPONSORED).inc()
        return (SPONSORED,)

    async def _fetch(self, request: Request, moment: Moment) -> tuple[UserRecord | None, tuple[str, ...]]:
        """The user's record, and the label of an answer that has to go without it."""
        if request.user_id is None:
            return None, ()
        try:
            return await self._store.fetch(request.user_id, _left(moment)), ()
        except StoreUnavailable as error:
            late = moment.deadline is not None and moment.deadline <= time.monotonic()
            reason, cause = ("deadline", None) if late else ("failed", error)
            self._metrics.on_degraded(request.kind, STORE, reason, cause)
        self._metrics.degraded.labels(request.kind, STORE).inc()
        return None, (STORE,)

    def _leave(self, answered: Answered) -> None:
        outcome, query = answered.outcome, answered.query
        exported = answered.engine.catalogue.overlay.base_size
        self._index_sampler.offer(answered.engine.bundle, outcome.state)
        pctr = outcome.columns.get("pctr")
        if pctr is not None:
            self._metrics.on_predictions(pctr)
        self._effects.submit(
            Impression(
                request_id=query.request_id,
                user_id=query.user_id,
                cascade=query.kind,
                placement=answered.request.placement,
                bundle_version=answered.engine.bundle.version,
                timestamp_ms=query.now_ms,
                item_ids=answered.item_ids,
                pctr=pctr,
                propensities=outcome.columns.get("propensity"),
                new_items=[
                    item
                    for item, row in zip(answered.item_ids, outcome.rows.tolist(), strict=True)
                    if row >= exported
                ],
                query=query.text if query.kind is Kind.SEARCH else None,
                sold=() if answered.auction is None else tuple(answered.auction.sold.values()),
            )
        )


def _recorded(request: Request, record: UserRecord | None, done: Computed) -> Recording:
    trend = trend_of(done.engine, done.query)
    return Recording(done.engine, request, record, done.query, done.outcome, done.batches, trend)


def _sells(request: Request) -> bool:
    return request.selling is not None


def _left(moment: Moment) -> float | None:
    """Seconds until the deadline; None = there is none."""
    return None if moment.deadline is None else moment.deadline - time.monotonic()
