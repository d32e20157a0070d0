"""What advertisers offer: which items have a bid, whose it is, and in which currency."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranking.auction import LARGEST_BID
from service.cascade.query import Rows

BID, CURRENCY, ADVERTISER = "bid_micros", "currency", "advertiser_id"
"""Keys of an item's record: micros for a click, an ISO 4217 code, and who pays."""
OFFER = (BID, CURRENCY, ADVERTISER)
CURRENCY_CODE = r"^[A-Z]{3}$"


@dataclass(frozen=True, slots=True)
class Offer:
    """An advertiser's bid for a click on an item."""

    bid_micros: int
    currency: str
    advertiser_id: str


def offer_of(record: Mapping[str, Any]) -> Offer | None:
    """The offer of an item's record; None = no bid, or one that cannot be: no whole number of micros from 1
    to `LARGEST_BID`, or without currency or advertiser."""
    bid, currency, advertiser = (record.get(name) for name in OFFER)
    if type(bid) is not int or not 1 <= bid <= LARGEST_BID:
        return None
    if not isinstance(currency, str) or not re.match(CURRENCY_CODE, currency):
        return None
    return Offer(bid, currency, advertiser) if isinstance(advertiser, str) and advertiser else None


def is_faulty(record: Mapping[str, Any]) -> bool:
    """Whether a record has a bid that cannot be."""
    return record.get(BID) is not None and offer_of(record) is None


@dataclass(frozen=True, slots=True)
class Ads:
    """A items with a bid, ascending `rows` [A]: `bids` [A] in micros; `advertiser` and `currency` [A] are
    indices into the names."""

    rows: Rows
    bids: NDArray[np.int64]
    advertiser: NDArray[np.int32]
    currency: NDArray[np.int32]
    advertisers: tuple[str, ...]
    currencies: tuple[str, ...]

    @classmethod
    def of(cls, offers: Mapping[int, Offer]) -> Ads:
        """The columns of offers by row."""
        found = sorted(offers.items())
        advertisers = tuple(sorted({offer.advertiser_id for _, offer in found}))
        currencies = tuple(sorted({offer.currency for _, offer in found}))
        owner = {name: number for number, name in enumerate(advertisers)}
        money = {name: number for number, name in enumerate(currencies)}
        return cls(
            rows=np.array([row for row, _ in found], np.int32),
            bids=np.array([offer.bid_micros for _, offer in found], np.int64),
            advertiser=np.array([owner[offer.advertiser_id] for _, offer in found], np.int32),
            currency=np.array([money[offer.currency] for _, offer in found], np.int32),
            advertisers=advertisers,
            currencies=currencies,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, rows: Rows) -> NDArray[np.intp]:
        """The places of `rows` [n] among the ads; all of them must have a bid."""
        return np.searchsorted(self.rows, rows)


@dataclass(frozen=True)
class Offers:
    """The offers of a bundle's items and what changed since, by row; None = the item has none any more.

    `faulty` are rows whose record has a bid that cannot be; they are sold nowhere.
    """

    exported: Mapping[int, Offer] = field(default_factory=dict)
    changed: Mapping[int, Offer | None] = field(default_factory=dict)
    faulty: frozenset[int] = frozenset()

    @classmethod
    def of(cls, records: Mapping[int, Mapping[str, Any]]) -> Offers:
        """Those of records that have a bid."""
        found = {row: offer_of(record) for row, record in records.items()}
        return cls(
            exported={row: offer for row, offer in found.items() if offer is not None},
            faulty=frozenset(row for row, record in records.items() if is_faulty(record)),
        )

    def put(self, records: Mapping[int, Mapping[str, Any] | None]) -> Offers:
        """With these rows' records replaced; None = deleted."""
        found = {row: offer_of(record or {}) for row, record in records.items()}
        odd = frozenset(row for row, record in records.items() if is_faulty(record or {}))
        known = self.exported.keys() | self.changed.keys()
        told = {row: offer for row, offer in found.items() if offer is not None or row in known}
        faulty = (self.faulty - records.keys()) | odd
        if not told and faulty == self.faulty:
            return self
        return Offers(self.exported, {**self.changed, **told}, faulty)

    def renumbered(self, rows: Mapping[int, int], gone: frozenset[int]) -> Offers:
        """The same offers under other row numbers, without the rows that are gone."""
        changed = {rows.get(row, row): one for row, one in self.changed.items() if row not in gone}
        faulty = frozenset(rows.get(row, row) for row in self.faulty - gone)
        return Offers(self.exported, changed, faulty)

    @cached_property
    def ads(self) -> Ads:
        """The items with a bid as columns."""
        every = {**self.exported, **self.changed}
        return Ads.of({row: offer for row, offer in every.items() if offer is not None})
