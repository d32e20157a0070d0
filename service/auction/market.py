"""All that sells: accounts, auctions and clicks of one app, tied together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from service.auction.auctioneer import Auctioneer
from service.auction.clicks import Clicks
from service.auction.guard import Guard, GuardLimits
from service.auction.standing import Standing, StandingFollower
from service.auction.trust import Bounds
from service.bundle import Bundle
from service.catalogue import Catalogue
from service.errors import NotReady
from service.features.accounts import AccountLimits, Accounts
from service.features.calibration_store import CalibrationStore
from service.features.connection import RedisConnection
from service.features.keys import Keys
from service.features.store import Event
from service.metrics import Metrics
from service.settings import Settings

NOTHING: Mapping[str, int] = {}


def _none() -> Bundle:
    raise NotReady("no bundle is in use yet")


@dataclass(frozen=True, slots=True)
class Market:
    """Where no placement `sells`, nothing is read, held or charged; budgets can be set all the same."""

    sells: bool
    accounts: Accounts
    follower: StandingFollower
    auctioneer: Auctioneer
    clicks: Clicks
    guard: Guard

    @classmethod
    def of(
        cls, settings: Settings, metrics: Metrics, url: str, bundle: Callable[[], Bundle] = _none
    ) -> Market:
        """The market of a service that serves with `bundle`, its Redis at `url`; nothing is started yet."""
        connection = RedisConnection(
            url,
            settings.permits + 8,
            settings.redis_read_timeout_ms / 1000,
            settings.redis_write_timeout_ms / 1000,
            metrics.on_store,
        )
        limits = AccountLimits(
            settings.sponsored_hold_seconds, settings.sponsored_click_hours * 3600, settings.ledger_limit
        )
        accounts, standing = Accounts(connection, Keys(settings.redis_prefix), limits), Standing()
        follower = StandingFollower(accounts, standing, settings.advertiser_interval_ms / 1000)
        guard = _guard(settings, metrics, url, bundle)
        return cls(
            sells=any(placement.sponsored is not None for placement in settings.placements.values()),
            accounts=accounts,
            follower=follower,
            auctioneer=Auctioneer(accounts, standing, follower, metrics, guard),
            clicks=Clicks(accounts, metrics, settings.sponsored_click_event),
            guard=guard,
        )

    def start(self) -> None:
        """Begin to follow the accounts, if anything is sold."""
        if self.sells:
            self.follower.start()
            self.guard.start()

    async def charge(self, events: Sequence[Event], catalogue: Callable[[], Catalogue]) -> Mapping[str, int]:
        """See `service.auction.clicks.Clicks.charge`."""
        return await self.clicks.charge(events, catalogue()) if self.sells else NOTHING

    async def stop(self) -> None:
        """Release everything; what is held ends by itself."""
        await self.guard.stop()
        await self.follower.stop()
        await self.accounts.close()


def _guard(settings: Settings, metrics: Metrics, url: str, bundle: Callable[[], Bundle]) -> Guard:
    timeout_s = settings.redis_write_timeout_ms / 1000
    connection = RedisConnection(url, 2, timeout_s, timeout_s, metrics.on_store)
    bounds = Bounds(
        settings.calibration_tolerance, settings.calibration_least_clicks, settings.calibration_clicks
    )
    limits = GuardLimits(
        settings.calibration_interval_seconds,
        settings.calibration_delay_seconds,
        settings.calibration_window_hours * 3600,
        bounds,
    )
    store = CalibrationStore(connection, Keys(settings.redis_prefix))
    return Guard(store, metrics, bundle, limits, settings.sponsored_click_event)
