"""An auction in the caller's terms."""

from __future__ import annotations

from collections import Counter
from typing import Any

from service.auction.auctioneer import Auction
from service.auction.eligible import AUCTION
from service.catalogue import Catalogue
from service.features.accounts import Slot


def auction_of(auction: Auction, catalogue: Catalogue, explain: bool) -> dict[str, Any]:
    """The body of `service.api.auction_schemas.AuctionOut`."""
    body: dict[str, Any] = {
        "currency": auction.currency,
        "slots": list(auction.slots),
        "sold": len(auction.sold),
        "reason": auction.reason,
    }
    if auction.calibration is not None:
        body["calibration"] = auction.calibration
    if explain and auction.reason is None:
        body["competitors"] = _competitors(auction, catalogue)
        body["ended"] = _ended(auction)
    return body


def sponsored_of(slot: Slot) -> dict[str, Any]:
    """The body of `service.api.auction_schemas.SponsoredOut`."""
    return {
        "advertiser_id": slot.advertiser_id,
        "currency": slot.currency,
        "bid_micros": slot.bid_micros,
        "price_micros": slot.price_micros,
    }


def _competitors(auction: Auction, catalogue: Catalogue) -> list[dict[str, Any]]:
    found = auction.competitors
    if found is None:
        return []
    columns = {name: column.tolist() for name, column in found.columns.items()}
    return [
        {"item_id": item, **{name: values[i] for name, values in columns.items()}}
        for i, item in enumerate(catalogue.ids_of(found.rows))
    ]


def _ended(auction: Auction) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for fate in auction.fates:
        counts[fate.reason if fate.stage == AUCTION else f"{fate.stage}.{fate.reason}"] += len(fate)
    return dict(counts)
