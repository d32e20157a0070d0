"""What an auction made of a list, as its trace keeps it: who won at which price, what stopped the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from service.auction.auctioneer import Auction
from service.cascade.query import ItemId
from service.catalogue import Catalogue

MOST_ADS = 5000
"""Ads whose end is kept; of a larger market the rest is not told."""
_WON = "won"


@dataclass(frozen=True, slots=True)
class Competitor:
    """An ad with a price on it; `price_micros` 0 = lost, `to_win_micros` the least bid for the last slot."""

    item_id: ItemId
    pctr: float
    bid_micros: int
    ecpm_micros: float
    price_micros: int
    to_win_micros: int


@dataclass(frozen=True, slots=True)
class Sale:
    """`listed` is the list with its ads, `sold` says whose they are.

    `ended` says where the other ads ended, as in "auction.reserve"; `reason` why no auction was held, None =
    one was.
    """

    currency: str
    reason: str | None
    listed: Sequence[ItemId]
    sold: Mapping[ItemId, str]
    competitors: Sequence[Competitor]
    ended: Mapping[str, Sequence[ItemId]]

    def of(self, item_id: ItemId) -> dict[str, Any] | None:
        """What became of an ad; None for an item that was none."""
        bidder = next((one for one in self.competitors if one.item_id == item_id), None)
        end = next((end for end, items in self.ended.items() if item_id in items), None)
        end = _WON if item_id in self.sold else end
        if bidder is None and end is None:
            return None
        lost = end != _WON
        return {
            "currency": self.currency,
            "ended": end,
            "advertiser_id": self.sold.get(item_id),
            "bid": None if bidder is None else _terms(bidder),
            "winners": [
                {**_terms(one), "item_id": one.item_id, "advertiser_id": self.sold[one.item_id]}
                for one in self.competitors
                if lost and one.item_id in self.sold
            ],
        }


def sale_of(auction: Auction, catalogue: Catalogue) -> Sale:
    """What is kept of an auction."""
    ended: dict[str, list[ItemId]] = {}
    room = MOST_ADS
    for fate in auction.fates:
        ended.setdefault(f"{fate.stage}.{fate.reason}", []).extend(catalogue.ids_of(fate.rows[:room]))
        room = max(0, room - len(fate))
    return Sale(
        currency=auction.currency,
        reason=auction.reason,
        listed=catalogue.ids_of(auction.outcome.rows),
        sold={slot.item_id: slot.advertiser_id for slot in auction.sold.values()},
        competitors=_competitors(auction, catalogue),
        ended=ended,
    )


def _competitors(auction: Auction, catalogue: Catalogue) -> list[Competitor]:
    found = auction.competitors
    if found is None:
        return []
    names = ("pctr", "bid_micros", "ecpm_micros", "price_micros", "to_win_micros")
    columns = zip(*(found[name].tolist() for name in names), strict=True)
    return [Competitor(item, *one) for item, one in zip(catalogue.ids_of(found.rows), columns, strict=True)]


def _terms(one: Competitor) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "item_id"}
