"""Which bundle is served: the one to begin with, the one that an operator activates, and back again.

The choice is in Redis (`service.features.bundle_store`), so that all processes follow and one that starts
later begins with it. A process opens the other bundle beside the one in use, verifies it, sends real requests
through it, and assigns one reference; a bundle that fails on the way is refused, and nothing has changed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import get_native_id
from uuid import uuid4

from models.artifacts import BundleError
from service.background import Background
from service.bundles import Beginning, FoundBundle, broken_bundles, list_bundles
from service.engine import Engine
from service.errors import Conflict, NotFound, OperatorError
from service.features.bundle_store import BundleStore, Choice, Told
from service.features.store import StoreUnavailable
from service.follower import Follower
from service.logs import Outage
from service.metrics import Metrics
from service.opening import open_engine, tidy, warm_up
from service.recommender import Recommender
from service.settings import Settings
from service.trends import Trends
from service.versions import LATEST, Versions

_AGAIN_S = 30.0
"""A version that was refused is tried again after so long: its folder may have been mended."""
_TURN_S = 300.0
"""Longest time for which one process keeps the others from opening a bundle."""
_ATTEMPTS = 3
_NICE = 10
_PAUSE_S = 0.02
"""Between two warm-up requests, for calls that are in progress."""
_log = logging.getLogger("cascada.bundles")


@dataclass(frozen=True, slots=True)
class Listed:
    """A version on disk: is it served, was it before, how many processes serve it, why did one refuse it."""

    found: FoundBundle
    active: bool
    before: bool
    workers: int
    refused: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """All versions, newest first; whether the one in use is pinned; folders that are no bundle, and why."""

    bundles: tuple[Listed, ...]
    pinned: bool
    broken: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Activated:
    """The version that is served from now on, the one before, and how long it took."""

    version: str
    before: str | None
    pinned: bool
    seconds: float


class Switch:
    """Of one process. `beginning` None = this process is the whole service and chooses for itself."""

    def __init__(
        self,
        store: BundleStore,
        recommender: Recommender,
        follower: Follower,
        settings: Settings,
        metrics: Metrics,
        trends: Trends,
        beginning: Beginning | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._recommender = recommender
        self._follower = follower
        self._settings = settings
        self._metrics = metrics
        self._trends = trends
        self._versions = Versions(settings, beginning)
        self._clock = clock
        self._who = uuid4().hex
        self._choice: Choice | None = None
        self._refused: dict[str, str] = {}
        self._refused_at: dict[str, float] = {}
        self._lock = asyncio.Lock()
        self._background = Background("bundles")
        self._outage = Outage(_log, "following the choice of a bundle")

    async def first(self) -> Engine:
        """The engine to begin with: of the version that is chosen, else of the service's own.

        A chosen version that is missing or refused is logged, and tried again while serving.

        Raises:
            OperatorError, BundleError: there is none that can be served.
        """
        own = self._versions.own()
        choice = await self._choice_at_start()
        if choice is not None and self._versions.follows(choice):
            try:
                return await self._opened(self._versions.find(choice.version).folder)
            except (BundleError, NotFound, OperatorError) as error:
                self._note(choice.version, error)
                _log.error("the chosen bundle cannot be served, another one is", extra=_why(choice, error))
        return await self._opened(own.folder)

    def start(self) -> None:
        """Begin to follow the choice; a bundle is served by now."""
        self._began(self._recommender.engine)
        self._background.start(self._follow())

    async def stop(self) -> None:
        """Follow no longer."""
        await self._background.stop()
        with suppress(StoreUnavailable):
            await self._store.leave(self._who)
        await self._store.close()

    async def activate(self, version: str) -> Activated:
        """Serve a version, and let all processes follow; `LATEST` is the newest, and pins none.

        Raises:
            NotFound: there is no such version on disk.
            BundleError: it cannot be trusted, or does not fit the settings; the one in use stays.
            Conflict: the settings name the bundle, or somebody else chose another at the same time.
            StoreUnavailable: Redis did not answer; at worst the choice is stored and followed all the same.
        """
        started = time.monotonic()
        async with self._lock:
            self._versions.refuse_if_fixed()
            choice = await self._store.choice()
            found = await asyncio.to_thread(self._versions.find, version)
            target = found.manifest.version
            engine = await self._prepared(found) if target != self._serving else None
            chosen = self._versions.next(
                choice, self._serving, target, self._now_ms(), pinned=version != LATEST
            )
            if not await self._store.choose(chosen):
                raise Conflict("another bundle was chosen at the same moment; look at GET /v1/bundles")
            if engine is not None:
                await self._use(engine)
            await self._tell()
        return Activated(target, chosen.before, chosen.pinned, time.monotonic() - started)

    async def roll_back(self) -> Activated:
        """Activate the version before: the one that was chosen before, else the next older one on disk.

        Raises:
            Conflict: there is none; else as `activate`.
        """
        self._versions.refuse_if_fixed()
        before = await asyncio.to_thread(self._versions.before, await self._store.choice(), self._serving)
        if before is None:
            raise Conflict("there is no bundle to go back to: nothing was activated, none is older")
        return await self.activate(before)

    async def listing(self) -> Listing:
        """All versions on disk and what is known of them; without Redis, what this process knows.

        Raises:
            NotReady: none is served yet.
        """
        active = self._serving
        try:
            choice = await self._tell()
            told = await self._store.workers(self._now_ms())
        except StoreUnavailable:
            choice, told = self._choice, [self._told()]
        found = await asyncio.to_thread(list_bundles, self._versions.folder)
        before = await asyncio.to_thread(self._versions.before, choice, active)
        refused = {version: why for one in told for version, why in one.refused.items()} | self._refused
        listed = tuple(
            Listed(
                one,
                active=(version := one.manifest.version) == active,
                before=version == before,
                workers=sum(each.version == version for each in told),
                refused=refused.get(version),
            )
            for one in found
        )
        broken = await asyncio.to_thread(broken_bundles, self._versions.folder)
        return Listing(
            listed, choice is not None and choice.pinned and self._versions.follows(choice), tuple(broken)
        )

    async def look(self) -> None:
        """Tell what this process serves, and go to what is chosen.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        choice = await self._tell()
        if choice is None or not self._versions.follows(choice) or choice.version == self._serving:
            self._metrics.bundle_behind.set(0)
            return
        self._metrics.bundle_behind.set(1)
        if self._clock() - self._refused_at.get(choice.version, 0.0) < _AGAIN_S:
            return
        if not await self._store.turn(self._who, _TURN_S):
            return
        try:
            async with self._lock:
                await self._go(choice)
        finally:
            await self._store.end_turn(self._who)

    async def _go(self, choice: Choice) -> None:
        if choice.version == self._serving:  # it was activated by a call meanwhile
            return
        try:
            found = await asyncio.to_thread(self._versions.find, choice.version)
            engine = await self._prepared(found)
        except (BundleError, NotFound) as error:
            self._note(choice.version, error)
            _log.error("the chosen bundle is refused, the one in use stays", extra=_why(choice, error))
            return
        await self._use(engine)
        await self._tell()
        self._metrics.bundle_behind.set(0)

    async def _prepared(self, found: FoundBundle) -> Engine:
        """An engine that answered real requests; calls in progress go before it.

        Raises:
            BundleError: the bundle is refused, which is noted.
        """
        with ThreadPoolExecutor(1, "bundle", _be_nice) as pool:
            loop = asyncio.get_running_loop()
            try:
                return await loop.run_in_executor(pool, self._prepare, found.folder)
            except (BundleError, OperatorError) as error:
                self._note(found.manifest.version, error)
                self._metrics.bundle_swaps.labels("refused").inc()
                raise BundleError(self._versions.plainly(str(error))) from error

    def _prepare(self, folder: Path) -> Engine:
        engine = open_engine(self._settings, self._metrics, self._trends, folder, self._metrics.on_remembered)
        engine = engine.over(engine.catalogue.at(self._now_ms()))
        warm_up(engine, self._settings.warmup_requests, _PAUSE_S)
        tidy(engine.bundle)
        return engine

    async def _use(self, engine: Engine) -> None:
        before = self._serving
        await self._follower.hand_over(engine)
        self._began(engine)
        self._metrics.bundle_swaps.labels("activated").inc()
        _log.info(
            "another bundle is served", extra={"before": before, "bundle_version": engine.bundle.version}
        )

    def _began(self, engine: Engine) -> None:
        manifest = engine.bundle.manifest
        self._refused.pop(manifest.version, None)
        self._refused_at.pop(manifest.version, None)
        self._metrics.on_bundle(manifest.version, manifest.schema_hash, manifest.created)

    async def _opened(self, folder: Path) -> Engine:
        return await asyncio.to_thread(
            open_engine, self._settings, self._metrics, self._trends, folder, self._metrics.on_remembered
        )

    async def _choice_at_start(self) -> Choice | None:
        if self._settings.bundle is not None:
            return None
        reason = ""
        for attempt in range(_ATTEMPTS):
            try:
                return await self._store.choice()
            except StoreUnavailable as error:
                reason = str(error)
                await asyncio.sleep(0.1 * attempt)
        _log.warning("beginning without knowing which bundle was chosen", extra={"reason": reason})
        return None

    @property
    def _serving(self) -> str:
        return self._recommender.engine.bundle.version

    def _note(self, version: str, error: Exception) -> None:
        self._refused[version] = self._versions.plainly(str(error))
        self._refused_at[version] = self._clock()

    async def _tell(self) -> Choice | None:
        self._choice = await self._store.tell(self._who, self._told())
        return self._choice

    def _told(self) -> Told:
        return Told(self._serving, self._now_ms(), dict(self._refused))

    async def _follow(self) -> None:
        while True:
            try:
                await self.look()
                self._outage.ended()
            except StoreUnavailable as error:
                self._outage.began(error)
            except Exception as error:
                # A defect must not end the following, or this process would stay behind in silence.
                self._outage.began(repr(error))
            await asyncio.sleep(self._settings.follow_interval_ms / 1000)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


def _be_nice() -> None:
    """Let the thread that opens a bundle wait for those that answer."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICE)


def _why(choice: Choice, error: Exception) -> dict[str, str]:
    return {"bundle_version": choice.version, "reason": str(error)}
