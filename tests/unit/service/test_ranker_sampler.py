"""The ranker in 8 bits beside single precision, on a cascade that was really trained."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from models.data.columns import Dataset
from models.export.graphs import blueprints
from models.export.translate import translate
from models.graph import Graph
from models.training.run_folder import read_run
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Request, SessionEvent
from service.cascade.steps import finish
from service.computing import Computed, compute
from service.effects import SideEffects
from service.engine import Engine
from service.features.streams import Impression
from service.index_sampler import IndexSampler
from service.metrics import Metrics
from service.ranker_sampler import RANKED, RankerSampler
from service.recommender import Recommender
from tests.support.sampling import sampling
from tests.support.trained import TrainedWorld, train_tiny

ALERT = 0.02
"""The limit of the alert in deploy/prometheus/alerts.yml."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TrainedWorld:
    return train_tiny(tmp_path_factory.getbasetemp() / "trained")


@pytest.fixture(scope="module")
def bundle(world: TrainedWorld) -> Bundle:
    return Bundle.open(world.bundle)


@pytest.fixture(scope="module")
def single(world: TrainedWorld) -> Graph:
    """The same ranker as `ranker.eight_bits = false` exports it."""
    run = read_run(world.run)
    plans = blueprints(run.networks, run.schema, np.random.default_rng(0))
    return Graph.open(next(translate(each).onnx for each in plans if each.name == "ranker"))


@pytest.fixture(scope="module")
def requests(world: TrainedWorld) -> list[tuple[Request, Moment]]:
    """What the thirty busiest users of the world ask right after their last event."""
    busy = np.argsort(-np.bincount(world.dataset.event_user), kind="stable")[:30]
    return [asked(world.dataset, user) for user in busy.tolist()]


def asked(dataset: Dataset, user: int) -> tuple[Request, Moment]:
    events = np.flatnonzero(dataset.event_user == user)
    session = [
        SessionEvent(
            ItemId(dataset.item_ids[dataset.event_item[e]]),
            dataset.event_kinds[dataset.event_kind[e]],
            int(dataset.event_time_ms[e]),
        )
        for e in events
    ]
    last = int(dataset.event_time_ms[events].max())
    return Request(session=session, count=10), Moment(f"r-{user}", last + 1000, None)


def crowded(bundle: Bundle) -> Bundle:
    """The same models in a world where every item has a million times as many events."""
    return replace(bundle, popularity=bundle.popularity * np.float32(1e6))


def computed(bundle: Bundle, request: Request, moment: Moment) -> Computed:
    engine = Engine.build(bundle, NullObserver())
    return finish(compute(engine, request, engine.hydrate(request, None, moment), shown=True))


def value(metrics: Metrics, name: str, bundle: Bundle, cascade: str = "recommend") -> float | None:
    labels = {"bundle_version": bundle.version, "cascade": cascade}
    return metrics.registry.get_sample_value(f"cascada_ranker_rounding_{name}", labels)


def failures(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("cascada_sample_failures_total", {"sample": "ranker"})


async def measured(bundle: Bundle, requests: list[tuple[Request, Moment]]) -> float:
    """The metric's mean over what these requests were answered."""
    async with sampling(RankerSampler) as (one, metrics):
        for request, moment in requests:
            one.offer(computed(bundle, request, moment))
            await one.flush()
        assert value(metrics, "count", bundle) == len(requests)
        assert failures(metrics) is None
        return (value(metrics, "sum", bundle) or 0.0) / len(requests)


async def test_as_it_was_trained_little_is_lost(bundle: Bundle, requests) -> None:
    assert 0.0 < await measured(bundle, requests) < ALERT / 2


async def test_what_leaves_the_ranges_shows(bundle: Bundle, requests) -> None:
    shifted = await measured(crowded(bundle), requests)
    assert shifted > 2 * ALERT
    assert shifted > 5 * await measured(bundle, requests)


async def test_in_single_precision_nothing_is_lost_whatever_comes(
    bundle: Bundle, single: Graph, requests
) -> None:
    assert await measured(replace(bundle, ranker=single), requests) < 1e-5
    assert await measured(replace(crowded(bundle), ranker=single), requests) < 1e-5


async def test_kinds_of_lists_are_counted_apart(bundle: Bundle, requests) -> None:
    request, moment = requests[0]
    anchored = replace(request, kind=Kind.SIMILAR, item_id=request.session[0].item_id)
    async with sampling(RankerSampler) as (one, metrics):
        for each in (request, anchored, anchored):
            one.offer(computed(bundle, each, moment))
            await one.flush()
        assert value(metrics, "count", bundle) == 1.0
        assert value(metrics, "count", bundle, "similar") == 2.0


async def test_trouble_is_logged_and_counted_and_the_next_one_is_measured(
    bundle: Bundle, requests, caplog: pytest.LogCaptureFixture
) -> None:
    done = computed(bundle, *requests[0])
    broken = replace(
        done, engine=Engine.build(replace(bundle, ranker_explain=bundle.item_towers), NullObserver())
    )
    async with sampling(RankerSampler) as (one, metrics):
        one.offer(broken)
        await one.flush()
        assert failures(metrics) == 1.0
        assert "a sample of the ranker was not measured" in caplog.text
        one.offer(done)
        await one.flush()
        assert value(metrics, "count", bundle) == 1.0


async def test_a_logit_that_is_no_number_does_not_spoil_the_sum(bundle: Bundle, requests) -> None:
    done = computed(bundle, *requests[0])
    huge = replace(bundle, rank_vectors=np.full(bundle.rank_vectors.shape, 1e30, np.float32))
    async with sampling(RankerSampler) as (one, metrics):
        one.offer(replace(done, engine=Engine.build(huge, NullObserver())))
        await one.flush()
        assert failures(metrics) == 1.0
        assert value(metrics, "count", bundle) is None


async def test_there_may_be_nothing_to_compare(bundle: Bundle, requests) -> None:
    """An older bundle, a cascade that does not rank, a ranker whose turn came after the deadline."""
    done = computed(bundle, *requests[0])
    ranked = done.batches[RANKED]
    unranked = np.full(len(ranked), np.nan, np.float32)
    late = replace(ranked, columns={**ranked.columns, "rank": unranked})
    async with sampling(RankerSampler) as (one, metrics):
        for each in (
            computed(replace(bundle, ranker_explain=None), *requests[0]),
            computed(replace(bundle, plan=replace(bundle.plan, depth="prerank")), *requests[0]),
            replace(done, batches={RANKED: late}),
        ):
            one.offer(each)
            await one.flush()
        assert value(metrics, "count", bundle) is None
        assert failures(metrics) is None


async def test_a_bundle_that_serves_no_longer_is_not_kept(bundle: Bundle, requests) -> None:
    other = replace(bundle)
    kept = weakref.ref(other)
    async with sampling(RankerSampler) as (one, _):
        one.offer(computed(other, *requests[0]))
        await one.flush()
        del other
        await asyncio.sleep(0)
        gc.collect()
        assert kept() is None


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_an_answer_is_the_same_whether_it_is_sampled_or_its_sample_fails(
    bundle: Bundle, requests, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[bool] = []

    def seen(*given, **named):
        shown.append(named["shown"])
        return compute(*given, **named)

    monkeypatch.setattr("service.recommender.compute", seen)
    request, moment = requests[0]
    expected = computed(bundle, request, moment)
    broken = replace(bundle, ranker_explain=bundle.item_towers)
    async with sampling(RankerSampler, share) as (one, metrics):

        async def nowhere(batch: list[Impression]) -> None:
            raise AssertionError("nothing is written in this test")

        effects = SideEffects(nowhere, metrics.side_effects, 10)
        recommender = Recommender(None, effects, metrics, IndexSampler(metrics, 0.0), one)  # type: ignore[arg-type]
        for each in (bundle, broken):
            recommender.use(Engine.build(each, NullObserver()))
            answered = await recommender.answer(request, moment)
            await one.flush()
            assert answered.degraded == ()
            assert answered.outcome.rows.tolist() == expected.outcome.rows.tolist()
            np.testing.assert_array_equal(answered.outcome.columns["pctr"], expected.outcome.columns["pctr"])
        assert shown == [share > 0.0] * 2, "batches are kept of what is sampled alone"
        assert value(metrics, "count", bundle) == (1.0 if share else None)
        assert failures(metrics) == (1.0 if share else None)
