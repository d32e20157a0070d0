"""The parts of one app, built from its settings and tied together in one place."""

from __future__ import annotations

from dataclasses import dataclass

from service.auction.market import Market
from service.background import Background
from service.bundles import Beginning
from service.effects import SideEffects
from service.explain.explainer import Explainer, Kept
from service.explain.journal import Journal
from service.features.bundle_store import BundleStore
from service.features.connection import RedisConnection
from service.features.embedded import EmbeddedRedis
from service.features.keys import Keys
from service.features.redis import RedisLimits, RedisStore
from service.features.streams import Impression
from service.first_impressions import FirstImpressions
from service.follower import Follower
from service.forgetting import Forgetting
from service.index_sampler import IndexSampler
from service.metrics import Metrics
from service.overload.pressure import Pressure
from service.ranker_sampler import RankerSampler
from service.recommender import Recommender
from service.settings import Settings
from service.switch import Switch
from service.trends import TrendFollower, Trends
from service.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Parts:
    """What one app is made of; `server` is None where a Redis URL is configured."""

    settings: Settings
    metrics: Metrics
    server: EmbeddedRedis | None
    store: RedisStore
    effects: SideEffects[Impression]
    traces: Journal
    explainer: Explainer
    index_sampler: IndexSampler
    ranker_sampler: RankerSampler
    market: Market
    recommender: Recommender
    pressure: Pressure
    follower: Follower
    upkeep: Upkeep
    forgetting: Forgetting
    trends: Trends
    trend_follower: TrendFollower
    switch: Switch
    watchdog: Background

    @classmethod
    def of(
        cls, settings: Settings, metrics: Metrics, pressure: Pressure, beginning: Beginning | None = None
    ) -> Parts:
        """All parts, none of them started."""
        server, url = _server(settings)
        store = RedisStore(url, Keys(settings.redis_prefix), _limits(settings), observe=metrics.on_store)
        seconds = metrics.first_impression_seconds
        first = FirstImpressions(store.record, store.take_unseen, seconds.observe)
        effects = SideEffects(first.write, metrics.side_effects, settings.side_effect_queue)
        traces = Journal(store.traces.add, metrics, settings.trace_share, settings.trace_limit)
        index_sampler = IndexSampler(metrics, settings.index_recall_share)
        ranker_sampler = RankerSampler(metrics, settings.ranker_rounding_share)
        market = Market.of(settings, metrics, url, lambda: recommender.engine.bundle)
        recommender = Recommender(
            store, effects, metrics, index_sampler, ranker_sampler, traces, market.auctioneer, pressure
        )
        kept = Kept(settings.trace_share, settings.trace_limit, settings.trace_hours)
        explainer = Explainer(
            store.traces.find, traces, lambda: recommender.engine, kept, settings.counterfactual_seconds
        )
        deleted_s = settings.deleted_item_hours * 3600
        follower = Follower(store, recommender, metrics, settings.follow_interval_ms / 1000, deleted_s)
        forgetting = Forgetting(store, lambda: recommender.engine.catalogue, deleted_s)
        upkeep = Upkeep(recommender, follower.lock, settings.follow_interval_ms / 1000)
        trends = Trends()
        trend_follower = TrendFollower(
            store.trends, lambda: recommender.placements, trends, settings.trend_interval_ms / 1000
        )
        switch = Switch(
            _bundle_store(settings, metrics, url), recommender, follower, settings, metrics, trends, beginning
        )
        return cls(
            settings=settings,
            metrics=metrics,
            server=server,
            store=store,
            effects=effects,
            traces=traces,
            explainer=explainer,
            index_sampler=index_sampler,
            ranker_sampler=ranker_sampler,
            market=market,
            recommender=recommender,
            pressure=pressure,
            follower=follower,
            upkeep=upkeep,
            forgetting=forgetting,
            trends=trends,
            trend_follower=trend_follower,
            switch=switch,
            watchdog=Background("watchdog"),
        )

    async def stop(self) -> None:
        """Finish what is queued, then release everything."""
        await self.switch.stop()
        await self.trend_follower.stop()
        await self.upkeep.stop()
        await self.forgetting.stop()
        await self.follower.stop()
        await self.pressure.lag.stop()
        await self.index_sampler.stop()
        await self.ranker_sampler.stop()
        await self.effects.stop(self.settings.drain_seconds)
        await self.traces.stop(self.settings.drain_seconds)
        await self.market.stop()
        await self.store.close()
        await self.watchdog.stop()
        if self.server is not None:
            self.server.stop()


def _bundle_store(settings: Settings, metrics: Metrics, url: str) -> BundleStore:
    timeout_s = settings.redis_write_timeout_ms / 1000
    connection = RedisConnection(url, 4, timeout_s, timeout_s, metrics.on_store)
    return BundleStore(connection, Keys(settings.redis_prefix))


def _server(settings: Settings) -> tuple[EmbeddedRedis | None, str]:
    if settings.redis_url is not None:
        return None, settings.redis_url.get_secret_value()
    server = EmbeddedRedis(settings.redis_data)
    return server, server.url


def _limits(settings: Settings) -> RedisLimits:
    return RedisLimits(
        read_timeout_s=settings.redis_read_timeout_ms / 1000,
        write_timeout_s=settings.redis_write_timeout_ms / 1000,
        # One per call in progress, and some for the background.
        connections=settings.permits + 8,
        history=settings.history_limit,
        event_id_ttl_s=round(settings.event_id_hours * 3600),
        exposures=settings.exposure_limit,
        trend_half_life_s=settings.trend_half_life_hours * 3600,
        item_log=settings.item_log_limit,
        event_log=settings.event_log_limit,
        impression_log=settings.impression_log_limit,
        traces=settings.trace_limit,
        trace_ttl_s=settings.trace_hours * 3600,
    )
