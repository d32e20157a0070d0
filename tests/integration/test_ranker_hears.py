"""Over HTTP: in a search the ranker goes by the words, in answers, explanations and re-runs alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.live_service import live_service
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_graphs import HEEDED
from tests.support.tiny_world import DIM, TASTES, tiny_world

LAUGH = np.zeros(DIM + 1, np.float32)
LAUGH[[TASTES.index("comedy"), TASTES.index("western")]] = 1.0, 0.8
"""Comedies, and westerns nearly as much; the word is in no item."""
PLAN = {"search": {"rank": 1.0}}
COUNT = 20


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("hears")
    write_tiny_bundle(folder, explains=True, hears={"laugh": LAUGH})
    with served(folder, redis_url, "hears") as client:
        yield client


def served(bundles: Path, redis_url: str, prefix: str) -> Any:
    return live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix=prefix, plan=PLAN, counterfactual_seconds=30.0
    )


def search(client: httpx.Client, query: str, *session: str, **more: Any) -> dict[str, Any]:
    events = [{"item_id": item, "event": "view"} for item in session]
    body = {"query": query, "session": events, "count": COUNT, "explain": True, **more}
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["degraded"] == []
    return found


def rows(body: dict[str, Any]) -> list[int]:
    return [int(item["item_id"].removeprefix("item-")) for item in body["items"]]


def ranks(body: dict[str, Any]) -> dict[str, float]:
    return {item["item_id"]: item["explain"]["scores"]["rank"] for item in body["items"]}


def test_the_ranker_turns_round_what_the_words_mean(hearing: httpx.Client) -> None:
    """The dense half likes comedies best; the planted ranker likes best what the query means least."""
    body = search(hearing, "laugh")
    similarity = tiny_world().vectors[rows(body), :DIM] @ LAUGH[:DIM]
    assert np.corrcoef(similarity, np.arange(len(similarity)))[0, 1] > 0.6


def test_the_logit_differs_by_the_query_and_nothing_else(hearing: httpx.Client) -> None:
    """A comedy is found by its genre as well; "comedy" is a word that the query tower never met."""
    heard, unheard = search(hearing, "laugh comedy", "item-2"), search(hearing, "comedy", "item-2")
    both = sorted(set(ranks(heard)) & set(ranks(unheard)))
    assert len(both) >= 3
    vectors = tiny_world().vectors
    for item in both:
        planted = HEEDED * float(vectors[int(item[5:]), :DIM] @ LAUGH[:DIM])
        assert ranks(heard)[item] - ranks(unheard)[item] == pytest.approx(planted, abs=0.02)


def test_explanations_and_re_runs_go_by_the_words_too(hearing: httpx.Client) -> None:
    body = search(hearing, "laugh", "item-2", "item-6")
    item = body["items"][0]
    assert sum(item["explain"]["experts"]) - 3.0 == pytest.approx(ranks(body)[item["item_id"]], abs=1e-3)
    params = {"request_id": body["request_id"], "item_id": item["item_id"], "counterfactual": True}
    told = hearing.get("/v1/explain", params=params).json()
    assert told["replayed"] is True
    assert told["explain"]["experts"] == pytest.approx(item["explain"]["experts"], abs=1e-4)
    assert told["counterfactual"]["rank"] == 1
