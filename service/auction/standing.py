"""How much each advertiser may still bid: read from the accounts again and again, obeyed by every auction.

It only keeps bids that could not be paid out of the auction. Whether a price can be paid is decided by the
account itself, when it is held (`service.features.accounts`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.background import Background
from service.features.account_scripts import LEAD_MS
from service.features.accounts import DAY_MS, Account, Accounts, Held, day_of
from service.features.store import StoreUnavailable
from service.logs import Outage
from service.offers import Ads

Micros = NDArray[np.int64]
_log = logging.getLogger("cascada.auction")
_PAGE = 500
STALE_S = 5.0
"""Without news for so long, and five intervals, there is no auction: budgets may be used up."""


@dataclass(frozen=True, slots=True)
class Columns:
    """By number of advertiser: `remaining` and `available` [A] micros now; 0 without an account."""

    currencies: tuple[str, ...]
    remaining: Micros
    available: Micros

    def has_account(self, currency: str) -> NDArray[np.bool_]:
        """[A] Whether there is an account in this currency."""
        return np.array([one == currency for one in self.currencies], bool)


@dataclass(frozen=True, slots=True)
class _Table:
    """The accounts of one snapshot of ads, as columns."""

    ads: Ads
    currencies: tuple[str, ...]
    daily: Micros
    even: NDArray[np.bool_]
    used: Micros
    day: NDArray[np.int64]


@dataclass(slots=True)
class Standing:
    """The newest accounts, by advertiser; `refused` are those that could not pay since they were read."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    refused: dict[str, Held] = field(default_factory=dict)
    _table: _Table | None = None

    def use(self, accounts: Mapping[str, Account]) -> None:
        """These are the accounts now."""
        self.accounts, self.refused, self._table = accounts, {}, None

    def refuse(self, advertiser_id: str, why: Held) -> None:
        """This one could not pay; it does not compete until its account is read again."""
        self.refused[advertiser_id] = why

    def at(self, ads: Ads, now_ms: int) -> Columns:
        """What the advertisers of these ads may still bid at a moment."""
        if self._table is None or self._table.ads is not ads:
            self._table = _tabled(ads, self.accounts)
        table = self._table
        used = np.where(table.day < day_of(now_ms), 0, table.used)
        share = min(1.0, (now_ms % DAY_MS + LEAD_MS) / DAY_MS)
        allowed = np.where(table.even, (table.daily * share).astype(np.int64), table.daily)
        remaining, available = np.maximum(table.daily - used, 0), np.maximum(allowed - used, 0)
        for name, why in self.refused.items():
            if name in ads.advertisers:
                code = ads.advertisers.index(name)
                available[code] = 0
                if why is Held.BUDGET:
                    remaining[code] = 0
        return Columns(table.currencies, remaining, available)


class StandingFollower:
    """Reads all accounts again and again; while Redis is away the last ones are good for a few seconds."""

    def __init__(self, accounts: Accounts, standing: Standing, interval_s: float) -> None:
        self._accounts = accounts
        self._standing = standing
        self._interval_s = interval_s
        self._read_at: float | None = None
        self._background = Background("advertisers")
        self._outage = Outage(_log, "reading advertisers' accounts")

    @property
    def is_fresh(self) -> bool:
        """Whether the accounts are new enough to hold an auction."""
        oldest_s = max(STALE_S, 5 * self._interval_s)
        return self._read_at is not None and time.monotonic() - self._read_at < oldest_s

    def start(self) -> None:
        """Begin to follow."""
        self._background.start(self._follow())

    async def stop(self) -> None:
        """Follow no longer."""
        await self._background.stop()

    async def catch_up(self) -> None:
        """Know the accounts of now.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        began = time.monotonic()
        names = await self._accounts.advertisers()
        found: dict[str, Account] = {}
        for start in range(0, len(names), _PAGE):
            found |= await self._accounts.read(names[start : start + _PAGE])
        self._standing.use(found)
        self._read_at = began

    async def _follow(self) -> None:
        while True:
            try:
                await self.catch_up()
                self._outage.ended()
            except StoreUnavailable as error:
                self._outage.began(error)
            except Exception as error:
                # A defect must not end the following, or auctions would stop in silence.
                self._outage.began(repr(error))
            await asyncio.sleep(self._interval_s)


def _tabled(ads: Ads, accounts: Mapping[str, Account]) -> _Table:
    found = [accounts.get(name) for name in ads.advertisers]
    return _Table(
        ads=ads,
        currencies=tuple("" if one is None else one.budget.currency for one in found),
        daily=np.array([0 if one is None else one.budget.daily_micros for one in found], np.int64),
        even=np.array([one is not None and one.budget.pacing == "even" for one in found], bool),
        used=np.array(
            [0 if one is None else one.spent_micros + one.reserved_micros for one in found], np.int64
        ),
        day=np.array([0 if one is None else one.day for one in found], np.int64),
    )
