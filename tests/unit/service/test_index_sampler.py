from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.index import IndexSettings, build_index
from retrieval.index_card import Recall
from retrieval.interests import Interests
from service.bundle import Bundle
from service.cascade.query import UserState
from service.index_sampler import IndexSampler
from service.metrics import Metrics
from tests.support.sampling import sampling
from tests.support.tiny_bundle import write_tiny_bundle

K = 5


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    opened = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))
    return replace(opened, index_card=opened.index_card.with_recall(Recall(0.9, k=K)))


def asking(bundle: Bundle, slots: tuple[int, ...] = (3, 0, 2)) -> UserState:
    """The state of a user whose interests are the directions of users of the snapshot."""
    count = len(slots)
    queries = np.ascontiguousarray(bundle.snapshot.vectors[:count])
    weights = np.array(slots, np.float32) / max(sum(slots), 1)
    interests = Interests(np.arange(count, dtype=np.int32), weights, queries, np.ones(count, np.float32))
    return UserState(interests=interests)


def value(metrics: Metrics, name: str, version: str = "tiny-1") -> float | None:
    labels = {"bundle_version": version, "k": str(K)}
    return metrics.registry.get_sample_value(f"cascada_index_recall_{name}", labels)


async def test_an_index_that_finds_all_has_a_recall_of_one(bundle: Bundle) -> None:
    async with sampling(IndexSampler) as (one, metrics):
        for _ in range(4):
            one.offer(bundle, asking(bundle))
            await one.flush()
        assert value(metrics, "count_total") == 4.0
        assert value(metrics, "sum_total") == 4.0
        assert value(metrics, "stated") == 0.9


async def test_what_an_index_misses_shows(bundle: Bundle) -> None:
    """A third of the vectors of the index point elsewhere, so that a third is not found."""
    async with sampling(IndexSampler) as (one, metrics):
        wrong = np.array(bundle.item_vectors)
        wrong[::3] *= -1
        poor = replace(bundle, index=build_index(wrong, IndexSettings("flat"), 0))
        for _ in range(20):
            one.offer(poor, asking(bundle))
            await one.flush()
        assert value(metrics, "count_total") == 20.0
        assert 0.0 < (value(metrics, "sum_total") or 0.0) < 18.0


async def test_only_queries_that_were_asked_are_taken(bundle: Bundle) -> None:
    async with sampling(IndexSampler) as (one, metrics):
        one.offer(bundle, asking(bundle, (0, 0, 0)))
        one.offer(bundle, UserState())
        await one.flush()
        assert value(metrics, "count_total") is None


async def test_what_comes_while_one_is_asked_is_left_out(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sampling(IndexSampler) as (one, metrics):
        begun, go, threads = threading.Event(), threading.Event(), []

        def slow(*_: object) -> np.ndarray:
            threads.append(threading.current_thread())
            begun.set()
            assert go.wait(60)
            return np.ones(1, np.float32)

        monkeypatch.setattr("service.index_sampler.recalls", slow)
        one.offer(bundle, asking(bundle))
        assert await asyncio.to_thread(begun.wait, 60)
        for _ in range(10):
            one.offer(bundle, asking(bundle))
        go.set()
        await one.flush()
        assert value(metrics, "count_total") == 1.0
        assert threading.main_thread() not in threads


async def test_it_takes_half_a_percent_of_a_core_at_most(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries of two milliseconds, and another one offered after each millisecond."""
    now, taken = [100.0], list[float]()

    def slow(*_: object) -> np.ndarray:
        taken.append(now[0])
        now[0] += 0.002
        return np.ones(1, np.float32)

    monkeypatch.setattr("service.index_sampler.recalls", slow)
    async with sampling(IndexSampler, clock=lambda: now[0]) as (one, metrics):
        for _ in range(3900):
            one.offer(bundle, asking(bundle))
            await one.flush()
            now[0] += 0.001
    assert now[0] > 103.9
    assert len(taken) == 10
    assert min(np.diff(taken)) >= 200 * 0.002 - 1e-9
    assert value(metrics, "count_total") == 10.0


async def test_the_rest_is_as_many_times_as_long_as_the_last_one_took(bundle: Bundle) -> None:
    now, durations = [100.0], iter([0.06, 0.01, 1.0])

    class Passing(IndexSampler):
        async def _measure(self, sample: tuple[Bundle, np.ndarray]) -> None:
            await super()._measure(sample)
            now[0] += next(durations)

    metrics = Metrics()
    one = Passing(metrics, 1.0, seed=3, clock=lambda: now[0])
    one.start()
    try:
        for rest in (0.06 * 199, 0.01 * 199):
            one.offer(bundle, asking(bundle))
            await one.flush()
            counted = value(metrics, "count_total")
            now[0] += rest - 0.001
            one.offer(bundle, asking(bundle))
            await one.flush()
            assert value(metrics, "count_total") == counted
            now[0] += 0.002
        one.offer(bundle, asking(bundle))
        await one.flush()
        assert value(metrics, "count_total") == 3.0
    finally:
        await one.stop()


async def test_trouble_is_logged_and_the_next_one_is_measured(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    async with sampling(IndexSampler) as (one, metrics):
        one.offer(replace(bundle, item_vectors=bundle.item_vectors[:, :-1]), asking(bundle))
        await one.flush()
        assert "was not measured" in caplog.text
        one.offer(bundle, asking(bundle))
        await one.flush()
        assert value(metrics, "count_total") == 1.0


async def test_the_share_is_kept(bundle: Bundle) -> None:
    async with sampling(IndexSampler, 0.2) as (one, metrics):
        for _ in range(200):
            one.offer(bundle, asking(bundle))
            await one.flush()
    assert 20 < (value(metrics, "count_total") or 0) < 60


async def test_a_share_of_nothing_takes_nothing(bundle: Bundle) -> None:
    async with sampling(IndexSampler, 0.0) as (one, metrics):
        one.offer(bundle, asking(bundle))
        await one.flush()
    assert value(metrics, "count_total") is None


async def test_two_bundles_are_counted_apart(bundle: Bundle, tmp_path: Path) -> None:
    async with sampling(IndexSampler) as (one, metrics):
        other = Bundle.open(write_tiny_bundle(tmp_path, "tiny-2"))
        other = replace(other, index_card=bundle.index_card)
        for each in (bundle, other, other):
            one.offer(each, asking(bundle))
            await one.flush()
        assert value(metrics, "count_total", "tiny-1") == 1.0
        assert value(metrics, "count_total", "tiny-2") == 2.0
