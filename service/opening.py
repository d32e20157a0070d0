"""From a bundle's folder to an engine that has answered real requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from models.plan import Plan
from models.remembered import Remembering, Told
from service.bundle import Bundle
from service.bundles import choose_bundle
from service.cascade.cursor import Cursors
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver, Observer
from service.cascade.query import ItemId, Kind, Request, SessionEvent
from service.engine import Engine
from service.residency import release, release_freed
from service.settings import Settings
from service.trends import Trends

_log = logging.getLogger("cascada.opening")


def open_engine(
    settings: Settings,
    observer: Observer,
    trends: Trends | None = None,
    folder: Path | None = None,
    told: Told = lambda _: None,
) -> Engine:
    """Open the bundle in `folder`, by default the one that the settings name, and assemble its cascades.

    `told` hears of each user-side graph whether what it answered was remembered.

    Raises:
        OperatorError: there is no bundle, or a placement does not fit it.
        BundleError: it cannot be trusted; names the file.
    """
    bundle = Bundle.open(folder or choose_bundle(settings).folder, threads=settings.threads)
    if settings.remembered_users:
        bundle = _remembering(bundle, settings.remembered_users, told)
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


def _remembering(bundle: Bundle, users: int, told: Told) -> Bundle:
    """The bundle, of which those graphs that read nothing but a user remember so many."""
    return replace(
        bundle,
        user_tower=Remembering(bundle.user_tower, users, told),
        preranker=Remembering(bundle.preranker, users, told),
    )


def tidy(bundle: Bundle) -> None:
    """Let go of what only opening the bundle read: every record and id, and what was built on the way."""
    for array in (*bundle.item_records.arrays, *bundle.item_ids.arrays):
        release(array)
    release_freed()


def warm_up(engine: Engine, count: int, pause_s: float = 0.0) -> None:
    """Send real requests of every kind through the whole cascade, uncounted, so that no caller is first.

    `pause_s` between them leaves room for calls that are answered meanwhile.
    """
    unseen = NullObserver()
    engine = replace(engine, observer=unseen).over(engine.catalogue)
    degraded: set[str] = set()
    for number, request in enumerate(islice(_samples(engine), count)):
        time.sleep(pause_s)
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
