from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Request, UserId
from service.effects import SideEffects
from service.engine import Engine
from service.errors import ClientGone, NotReady
from service.features.store import ItemChange, StoreUnavailable, UserRecord
from service.features.streams import Impression
from service.index_sampler import IndexSampler
from service.metrics import Metrics
from service.ranker_sampler import RankerSampler
from service.recommender import Recommender
from tests.support.tiny_bundle import write_tiny_bundle

KNOWN = UserRecord(
    item_ids=[ItemId("item-2"), ItemId("item-6")], kinds=["like", "like"], timestamps_ms=[1, 2], known=True
)


class Store:
    """Answers one record after a while, or fails, or has too little time; does something meanwhile."""

    def __init__(self, record: UserRecord | Exception = KNOWN, delay_s: float = 0.0, meanwhile=None) -> None:
        self.record, self.delay_s, self.meanwhile = record, delay_s, meanwhile or (lambda: None)

    async def fetch(self, user_id: UserId, within_s: float | None = None) -> UserRecord:
        if within_s is not None and within_s < self.delay_s:
            await asyncio.sleep(within_s)
            raise StoreUnavailable("too little time")
        await asyncio.sleep(self.delay_s)
        self.meanwhile()
        if isinstance(self.record, Exception):
            raise self.record
        return self.record


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder: Path = write_tiny_bundle(tmp_path_factory.mktemp("bundles"))
    return Engine.build(Bundle.open(folder), NullObserver())


def recommender(store: Store, engine: Engine | None) -> tuple[Recommender, list[Impression], Metrics]:
    left: list[Impression] = []
    metrics = Metrics()

    async def nowhere(batch: Sequence[Impression]) -> None:
        raise AssertionError("nothing is written in this test")

    effects = SideEffects(nowhere, metrics.side_effects, 10)
    effects.submit = left.append  # type: ignore[method-assign]
    samplers = IndexSampler(metrics, 0.0), RankerSampler(metrics, 0.0)
    one = Recommender(store, effects, metrics, *samplers)  # type: ignore[arg-type]
    if engine is not None:
        one.use(engine)
    return one, left, metrics


def moment(budget_s: float | None = None) -> Moment:
    return Moment("r-1", 1_700_000_000_000, None if budget_s is None else time.monotonic() + budget_s)


REQUEST = Request(user_id=UserId("u"), count=5)


async def test_before_a_bundle_is_open_it_is_not_ready() -> None:
    one, _, _ = recommender(Store(), None)
    with pytest.raises(NotReady):
        await one.answer(REQUEST, moment())


async def test_an_answer_leaves_what_is_to_be_logged(engine: Engine) -> None:
    one, left, _ = recommender(Store(), engine)
    answered = await one.answer(REQUEST, moment())
    (impression,) = left
    assert answered.degraded == ()
    assert list(impression.item_ids) == answered.item_ids
    assert (impression.request_id, impression.user_id, impression.bundle_version) == ("r-1", "u", "tiny-1")
    assert impression.pctr is not None
    assert len(impression.pctr) == len(answered.item_ids) == 5


async def test_a_store_that_fails_is_a_label(engine: Engine) -> None:
    one, _, metrics = recommender(Store(StoreUnavailable("away")), engine)
    answered = await one.answer(REQUEST, moment())
    assert answered.degraded[0] == "store"
    assert len(answered.item_ids) == 5
    assert 'cascada_degraded_total{cascade="recommend",part="store"} 1.0' in metrics.render().decode()


async def test_the_deadline_bounds_the_wait_for_the_store(engine: Engine) -> None:
    one, _, metrics = recommender(Store(delay_s=600.0), engine)
    async with asyncio.timeout(60):
        answered = await one.answer(REQUEST, moment(0.05))
    assert "store" in answered.degraded
    assert answered.item_ids
    assert 'reason="deadline",stage="store"' in metrics.render().decode()


async def test_a_defect_of_the_store_is_not_called_degraded(engine: Engine) -> None:
    one, _, _ = recommender(Store(ZeroDivisionError()), engine)
    with pytest.raises(ZeroDivisionError):
        await one.answer(REQUEST, moment())


async def test_an_item_hidden_during_the_wait_is_hidden(engine: Engine) -> None:
    one, _, _ = recommender(store := Store(), engine)
    first = (await one.answer(REQUEST, moment())).item_ids[0]
    gone = engine.with_changes([ItemChange("1", first, None)], 0)
    store.meanwhile = lambda: one.use(gone)
    assert first not in (await one.answer(REQUEST, moment())).item_ids


async def test_who_left_gets_no_work_but_is_only_asked_after_a_long_wait(engine: Engine) -> None:
    async def gone() -> bool:
        return True

    one, left, _ = recommender(store := Store(), engine)
    await one.answer(REQUEST, moment(), gone)
    assert len(left) == 1
    store.delay_s = 0.05
    with pytest.raises(ClientGone):
        await one.answer(REQUEST, moment(), gone)
    assert len(left) == 1
