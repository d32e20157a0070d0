"""From settings to an engine that has answered real requests: what "ready" means."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

from models.plan import Plan
from service.bundle import Bundle
from service.bundles import choose_bundle
from service.cascade.cursor import Cursors
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver, Observer
from service.cascade.query import ItemId, Kind, Request, SessionEvent
from service.engine import Engine
from service.features.store import StoreUnavailable
from service.parts import Parts
from service.residency import release, release_freed
from service.settings import Settings
from service.trends import Trends

_ATTEMPTS = 3
_log = logging.getLogger("cascada.startup")


async def start(parts: Parts) -> None:
    """Open the bundle, apply what changed since, warm up, serve; Redis may come later.

    Raises:
        OperatorError, BundleError: something must change first; the message says what.
    """
    started = time.monotonic()
    if parts.server is not None:
        parts.server.start()
        parts.watchdog.start(parts.server.keep_running())
    parts.effects.start()
    parts.pressure.lag.start()
    parts.traces.start()
    parts.sampler.start()
    engine = await asyncio.to_thread(open_engine, parts.settings, parts.metrics, parts.trends)
    engine = await _advance(parts, engine)
    await asyncio.to_thread(warm_up, engine, parts.settings.warmup_requests)
    _tidy(engine.bundle)
    parts.recommender.use(engine)
    parts.follower.start()
    parts.upkeep.start()
    parts.forgetting.start()
    parts.trend_follower.start()
    parts.market.start()
    manifest = engine.bundle.manifest
    parts.metrics.on_bundle(manifest.version, manifest.schema_hash, manifest.created)
    parts.metrics.ready.set(1)
    seconds = round(time.monotonic() - started, 2)
    _log.info("ready", extra={"bundle_version": manifest.version, "seconds": seconds})


async def _advance(parts: Parts, engine: Engine) -> Engine:
    """The engine with all live changes; without them if the store cannot tell: the follower will mend it."""
    for attempt in range(_ATTEMPTS):
        try:
            return await parts.follower.advance(engine)
        except StoreUnavailable as error:
            reason = str(error)
            await asyncio.sleep(0.1 * attempt)
    _log.warning("serving without live item changes for now", extra={"reason": reason})
    return engine


def open_engine(settings: Settings, observer: Observer, trends: Trends | None = None) -> Engine:
    """Open the bundle that the settings name and assemble its cascades.

    Raises:
        OperatorError: there is no bundle, or a placement does not fit it.
        BundleError: it cannot be trusted; names the file.
    """
    bundle = Bundle.open(choose_bundle(settings).folder, threads=settings.threads)
    plan = Plan.from_json({**bundle.plan.to_json(), **settings.plan})
    key = settings.cursor_key.get_secret_value().encode()
    cursors = Cursors(key)
    return Engine.build(
        bundle,
        observer,
        plan=plan,
        cursors=cursors,
        capacity=settings.live_item_limit,
        trends=trends,
        placements=settings.placements,
    )


def _tidy(bundle: Bundle) -> None:
    """Let go of what only opening the bundle read: every record and id, and what was built on the way."""
    for array in (*bundle.item_records.arrays, *bundle.item_ids.arrays):
        release(array)
    release_freed()


def warm_up(engine: Engine, count: int) -> None:
    """Send real requests of every kind through the whole cascade, uncounted, so that no caller is first."""
    unseen = NullObserver()
    engine = replace(engine, observer=unseen).over(engine.catalogue)
    degraded: set[str] = set()
    for number, request in enumerate(islice(_samples(engine), count)):
        moment = Moment(f"warm-up-{number}", int(time.time() * 1000))
        degraded.update(engine.run(engine.hydrate(request, None, moment)).degraded)
    if degraded:
        _log.warning("some parts of the cascade do not work", extra={"parts": sorted(degraded)})


def _samples(engine: Engine) -> Iterator[Request]:
    popular = engine.catalogue.ids_of(engine.catalogue.exported.popular[0][:50])
    for item in cycle(popular or [ItemId("")]):
        seen = [SessionEvent(one, engine.bundle.schema.event_kinds[0]) for one in popular[:10]]
        yield Request(session=seen)
        yield Request()
        yield from (Request(session=seen, placement=name) for name in engine.placed)
        yield Request(kind=Kind.SEARCH, text=item, session=seen)
        if popular:
            yield Request(kind=Kind.SIMILAR, item_id=item)
            if engine.bundle.complements is not None:
                yield Request(kind=Kind.COMPLEMENTARY, item_id=item)
