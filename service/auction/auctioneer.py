"""Holds the auction of a list: who may compete, who wins at which price, and whether it can be paid.

Everything but the holds is arithmetic. A price is held in its advertiser's account before it is answered; an
advertiser that cannot pay is out, and the auction is held again without him, so that nobody pays a price that
was set by a bid that could not be paid.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking.auction import Awards, award, best_of_each, by_weight, least_bid
from service.auction.eligible import AUCTION, earlier_ads, eligible
from service.auction.field import Field, NoAuction, field_of
from service.auction.listing import Draft, draft, listed
from service.auction.pricing import AsCalibrated, Pricing
from service.auction.standing import Standing, StandingFollower
from service.cascade.candidates import Candidates
from service.cascade.hydrate import Moment
from service.cascade.query import NO_ROWS, Fate, Outcome, Query, Request, Selling
from service.engine import Engine
from service.features.accounts import Accounts, Held, Slot
from service.features.store import StoreUnavailable
from service.metrics import Metrics

ROUNDS = 8
"""So often an auction is held again because somebody could not pay; then nothing is sold."""
_HOUR_MS = 3_600_000
_WHY = {Held.BUDGET: "budget", Held.PACE: "pace", Held.NO_ACCOUNT: "account"}


@dataclass(frozen=True, slots=True)
class Auction:
    """What became of the slots of one page: `outcome` is the list to answer with.

    `slots` are the page's, from 1 over all pages; `sold` by place of the page, from 0. `reason` says why no
    auction was held, None = one was. `fates` are of every ad of the catalogue, each once, and `competitors`
    those with a price on them, best first: columns `pctr`, `bid_micros`, `ecpm_micros`, `price_micros` (0 =
    lost) and `to_win_micros`, the least bid that would have won the last slot.
    """

    outcome: Outcome
    slots: tuple[int, ...]
    currency: str
    sold: Mapping[int, Slot]
    reason: str | None = None
    fates: tuple[Fate, ...] = ()
    competitors: Candidates | None = None
    calibration: str | None = None
    """What prices were made with, if not the bundle's own calibrator: see `service.auction.trust`."""


@dataclass(frozen=True, slots=True)
class _Result:
    """The last round: who won at which price, and the positions of the field that were `out`, by reason."""

    awards: Awards
    draft: Draft
    slots: Sequence[Slot]
    out: Mapping[str, NDArray[np.intp]]


class Auctioneer:
    """Sells the slots of lists; `pricing` says which click probabilities may be paid for."""

    def __init__(
        self,
        accounts: Accounts,
        standing: Standing,
        follower: StandingFollower,
        metrics: Metrics,
        pricing: Pricing | None = None,
    ) -> None:
        self._accounts = accounts
        self._standing = standing
        self._follower = follower
        self._metrics = metrics
        self._pricing = pricing or AsCalibrated()

    async def shown(self, request: Request, moment: Moment) -> Mapping[str, int] | None:
        """How many ads of each advertiser the user saw lately; None = the store did not say."""
        selling = request.selling
        if selling is None or selling.user_most is None or request.user_id is None:
            return {}
        since_ms = moment.now_ms - round(selling.user_hours * _HOUR_MS)
        try:
            async with asyncio.timeout(_left(moment.deadline)):
                return await self._accounts.shown(request.user_id, since_ms)
        except (StoreUnavailable, TimeoutError):
            return None

    async def sell(
        self,
        engine: Engine,
        selling: Selling,
        query: Query,
        outcome: Outcome,
        batches: Mapping[str, Candidates],
        shown: Mapping[str, int] | None,
    ) -> Auction:
        """The list with its slots sold as far as they can be; never an error, `reason` says what failed."""
        started = time.monotonic()
        slots = tuple(one for one in selling.slots if query.offset < one <= query.offset + query.count)
        if not slots:
            return Auction(outcome, (), selling.currency, {})
        try:
            left = _left(query.deadline)
            if left is not None and left <= 0:
                raise NoAuction("deadline")
            if shown is None or not self._follower.is_fresh:
                raise NoAuction("store")
            async with asyncio.timeout(left):
                auction = await self._sell(engine, selling, query, outcome, batches, shown, slots)
        except NoAuction as none:
            auction = Auction(outcome, slots, selling.currency, {}, none.reason)
        except StoreUnavailable:
            auction = Auction(outcome, slots, selling.currency, {}, "store")
        except TimeoutError:
            auction = Auction(outcome, slots, selling.currency, {}, "deadline")
        self._metrics.on_auction(auction.reason or ("sold" if auction.sold else "unsold"), started)
        for fate in auction.fates:
            self._metrics.auction_ads.labels(_metric_reason(fate)).inc(len(fate))
        return auction

    async def _sell(
        self,
        engine: Engine,
        selling: Selling,
        query: Query,
        outcome: Outcome,
        batches: Mapping[str, Candidates],
        shown: Mapping[str, int],
        slots: tuple[int, ...],
    ) -> Auction:
        catalogue = engine.catalogue
        ads = catalogue.ads
        before = [query.trail[one - 1] for one in selling.slots if one <= len(query.trail)]
        stood = catalogue.rows_of_hashes(np.array(before, np.uint32)) if before else NO_ROWS
        standing = self._standing.at(ads, self._accounts.now_ms())
        able = eligible(ads, selling, standing, shown, earlier_ads(ads, stood))
        if not len(able.ads):
            return Auction(outcome, slots, selling.currency, {}, fates=able.fates)
        prices = self._pricing.at(engine.bundle, query.placement_name)
        field = field_of(engine, query, outcome, batches, able, prices)
        places = [one - 1 - query.offset for one in slots]
        result = await self._held(engine, selling, query, outcome, field, places)
        if result.slots:
            await self._accounts.sell(result.slots, query.user_id)
        return Auction(
            outcome=listed(outcome, field, result.draft) if result.slots else outcome,
            slots=slots,
            currency=selling.currency,
            sold=dict(zip(result.draft.places, result.slots, strict=True)),
            fates=(*field.fates, *_fates(field, result)),
            competitors=_competitors(field, selling, result.awards),
            calibration=prices.calibration,
        )

    async def _held(
        self,
        engine: Engine,
        selling: Selling,
        query: Query,
        outcome: Outcome,
        field: Field,
        places: Sequence[int],
    ) -> _Result:
        """The first auction all of whose winners can pay and stand where they won.

        Raises:
            NoAuction: too many could not pay.
            StoreUnavailable: the accounts do not answer.
        """
        out: dict[str, NDArray[np.intp]] = {}
        held: dict[str, Slot] = {}
        rounds, wanted = 0, len(places)
        while rounds < ROUNDS:
            awards, capped = _award(field, selling, out, wanted)
            drafted = draft(query, engine.catalogue, outcome, field, awards.winners, places)
            if drafted.page.barred is not None:
                _add(out, "caps", awards.winners[drafted.page.barred : drafted.page.barred + 1])
                continue
            if drafted.page.ads < len(awards.winners):
                wanted = drafted.page.ads
                continue
            slots = _slots(engine, query, selling, field, awards)
            rounds += 1
            answers = await self._accounts.hold(slots) if slots else []
            held |= {
                slot.member: slot for slot, answer in zip(slots, answers, strict=True) if answer is Held.YES
            }
            refused = {
                slot.advertiser_id: answer
                for slot, answer in zip(slots, answers, strict=True)
                if answer is not Held.YES
            }
            if not refused:
                final = {slot.member for slot in slots}
                if loose := [slot for member, slot in held.items() if member not in final]:
                    await self._accounts.release(loose)
                if len(capped):
                    _add(out, "advertiser_cap", capped)
                return _Result(awards, drafted, slots, out)
            for advertiser, why in refused.items():
                self._standing.refuse(advertiser, why)
                mine = np.flatnonzero(field.owners == field.ads.advertisers.index(advertiser))
                _add(out, _WHY[why], mine[~np.isin(mine, _all_of(out))])
        await self._accounts.release(list(held.values()))
        raise NoAuction("budgets")


def _award(
    field: Field, selling: Selling, out: Mapping[str, NDArray[np.intp]], slots: int
) -> tuple[Awards, NDArray[np.intp]]:
    """The auction among those who are not out, in positions of the field; and who is one too many of his
    advertiser."""
    order = by_weight(field.pctr, field.bids, field.rows)
    order = order[~np.isin(order, _all_of(out))]
    kept = best_of_each(order, field.owners, field.most)
    few = order[kept]
    found = award(field.pctr[few], field.bids[few], field.rows[few], selling.reserve_micros, slots)
    return Awards(few[found.order], found.prices), order[~kept]


def _slots(engine: Engine, query: Query, selling: Selling, field: Field, awards: Awards) -> list[Slot]:
    winners = awards.winners
    named = zip(
        engine.catalogue.ids_of(field.rows[winners]),
        field.owners[winners].tolist(),
        field.bids[winners].tolist(),
        awards.prices.tolist(),
        strict=True,
    )
    return [
        Slot(query.request_id, item, field.ads.advertisers[owner], selling.currency, bid, price, query.now_ms)
        for item, owner, bid, price in named
    ]


def _fates(field: Field, result: _Result) -> list[Fate]:
    """Where the ads of the field ended, each once."""
    awards = result.awards
    ends = {"sold": awards.winners, "outbid": awards.outbid, **result.out}
    known = np.concatenate(list(ends.values())) if ends else np.zeros(0, np.intp)
    ends["pctr"] = np.setdiff1d(np.arange(len(field)), known)
    return [Fate(AUCTION, reason, field.rows[at]) for reason, at in ends.items() if len(at)]


def _competitors(field: Field, selling: Selling, awards: Awards) -> Candidates:
    order, sold = awards.order, len(awards.prices)
    prices = np.zeros(len(order), np.int64)
    prices[:sold] = awards.prices
    least = np.maximum(prices, selling.reserve_micros)
    if 0 < sold < len(order):
        lost, last = awards.outbid, np.full(len(order) - sold, order[sold - 1])
        weights = field.pctr[last] * field.bids[last]
        least[sold:] = np.maximum(
            least_bid(field.pctr[lost], field.rows[lost], weights, field.rows[last]), selling.reserve_micros
        )
    return Candidates.of(
        field.rows[order],
        pctr=field.pctr[order],
        bid_micros=field.bids[order],
        ecpm_micros=field.ecpm[order],
        price_micros=prices,
        to_win_micros=least,
    )


def _add(out: dict[str, NDArray[np.intp]], reason: str, positions: NDArray[np.intp]) -> None:
    out[reason] = np.concatenate([out[reason], positions]) if reason in out else positions


def _all_of(out: Mapping[str, NDArray[np.intp]]) -> NDArray[np.intp]:
    return np.concatenate(list(out.values())) if out else np.zeros(0, np.intp)


def _metric_reason(fate: Fate) -> str:
    return fate.reason if fate.stage in (AUCTION, "filter") else fate.stage


def _left(deadline: float | None) -> float | None:
    """Seconds until the deadline; None = there is none."""
    return None if deadline is None else deadline - time.monotonic()
