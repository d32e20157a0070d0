"""From settings to an engine that has answered real requests: what "ready" means."""

from __future__ import annotations

import asyncio
import logging
import time

from service.engine import Engine
from service.features.store import StoreUnavailable
from service.opening import tidy, warm_up
from service.parts import Parts

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
    parts.index_sampler.start()
    parts.ranker_sampler.start()
    engine = await parts.switch.first()
    engine = await _advance(parts, engine)
    await asyncio.to_thread(warm_up, engine, parts.settings.warmup_requests)
    tidy(engine.bundle)
    parts.recommender.use(engine)
    parts.follower.start()
    parts.upkeep.start()
    parts.forgetting.start()
    parts.trend_follower.start()
    parts.market.start()
    parts.switch.start()
    manifest = engine.bundle.manifest
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
