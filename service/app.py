"""`create_app(settings)`: the whole service as one ASGI app. Nothing happens at import time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from models.artifacts import BundleError
from service.admission import Admission, Door
from service.api import (
    advertisers,
    bundles,
    events,
    explain,
    interests,
    items,
    operations,
    recommend,
    search,
    similar,
    users,
)
from service.api.body_limit import BodyLimit
from service.api.entrance import Entrance, Register
from service.api.errors import install_errors
from service.api.front import Front
from service.api.keys import KeyGate, Keyring
from service.api.problem_schemas import ProblemOut
from service.api.query_schemas import RecommendIn, SearchIn, SimilarIn
from service.api.shortcut import Direct, Shortcut
from service.bundles import Beginning
from service.errors import OperatorError
from service.metrics import Metrics
from service.overload.doorkeeper import ANNOUNCED, doorkeeper
from service.overload.pressure import Pressure
from service.parts import Parts
from service.settings import Settings
from service.startup import start
from service.watch import Watch

_log = logging.getLogger("cascada.app")

DIRECTS = (
    Direct("/v1/recommend", RecommendIn, recommend.recommend),
    Direct("/v1/search", SearchIn, search.search),
    Direct("/v1/similar", SimilarIn, similar.similar),
)
"""Paths whose calls need no framework; each is a documented route, too."""

OnFailure = Callable[[BaseException], None]
OnReady = Callable[[], None]


class App(FastAPI):
    """The documented app behind its front."""

    front: Front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if ANNOUNCED in scope:
            left = await self.front(scope, receive)
            if left is None:
                return
            receive = left
        await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    on_failure: OnFailure | None = None,
    on_ready: OnReady | None = None,
    beginning: Beginning | None = None,
) -> FastAPI:
    """The app; it accepts calls at once, refuses lists with 503 until it is ready, and says so at /readyz.

    `on_failure` is told when it cannot start; such an app never becomes ready. `on_ready` is told when it is.
    A worker of several is told the `beginning` of all.
    """
    metrics = Watch()
    pressure = Pressure(metrics, settings.latency_target_ms, settings.least_quality)
    app = App(
        title="cascada",
        summary="Which items now, for this user?",
        version=version("cascada"),
        lifespan=_lifespan(settings, metrics, pressure, on_failure, on_ready, beginning),
        redoc_url=None,
        responses={status: {"model": ProblemOut} for status in (422, 503)},
    )
    # A user's interests come before users, whose ids may hold slashes.
    lists = (recommend, search, similar)
    for resource in (*lists, events, items, interests, users, advertisers, explain, bundles, operations):
        app.include_router(resource.router)
    install_errors(app)
    app.state.doorkeeper = doorkeeper(pressure, metrics)
    register, keys = (
        Register(metrics, settings.access_log),
        Keyring(settings.api_keys, settings.operator_token),
    )
    admission = Admission(settings.permits, metrics)
    # The last one added is the outermost.
    app.add_middleware(Shortcut, directs=DIRECTS)
    batches = dict.fromkeys(("/v1/events", "/v1/items"), settings.max_batch_body_bytes)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, paths=batches)
    app.add_middleware(Door, admission=admission, pressure=pressure)
    app.add_middleware(KeyGate, keys=keys)
    app.add_middleware(Entrance, register=register)
    limit = settings.max_body_bytes
    app.front = Front(DIRECTS, register, keys, admission, pressure, limit, lambda: app.state.parts)
    return app


def _lifespan(
    settings: Settings,
    metrics: Metrics,
    pressure: Pressure,
    on_failure: OnFailure | None,
    on_ready: OnReady | None,
    beginning: Beginning | None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = app.state.parts = Parts.of(settings, metrics, pressure, beginning)
        starting = asyncio.create_task(_start(parts, on_failure, on_ready), name="start")
        try:
            yield
        finally:
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            await parts.stop()

    return lifespan


async def _start(parts: Parts, on_failure: OnFailure | None, on_ready: OnReady | None) -> None:
    try:
        await start(parts)
    except Exception as error:
        expected = isinstance(error, OperatorError | BundleError)
        _log.error("cannot start: %s", error, exc_info=None if expected else error)
        if on_failure is not None:
            on_failure(error)
    else:
        if on_ready is not None:
            on_ready()
