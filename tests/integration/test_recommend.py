from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.live_service import PATIENCE_S, ids, live_service, row_of
from tests.support.tiny_world import ITEMS, TASTES

HIDDEN = "item-7"


@pytest.fixture(scope="module")
def still(bundles: Path, redis_url: str) -> Iterator[httpx.Client]:
    """A service to which nothing happens: what other tests like moves its trends, and with them the lists."""
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix="test_recommend_still") as client:
        yield client


def like(client: httpx.Client, user: str, *items: str) -> None:
    events = [{"user_id": user, "item_id": item, "event": "like"} for item in items]
    assert client.post("/v1/events", json={"events": events}).json()["accepted"] == len(items)


def recommend(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/v1/recommend", json=body)


def share_of(taste: int, items: list[str]) -> float:
    return sum(row_of(item) % len(TASTES) == taste for item in items) / len(items)


def test_an_answer_has_the_documented_shape(client: httpx.Client) -> None:
    answer = recommend(client, count=3)
    body = answer.json()
    assert set(body) == {"request_id", "bundle_version", "items", "next_cursor", "degraded"}
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["bundle_version"] == "tiny-1"
    assert body["degraded"] == []
    assert [item["rank"] for item in body["items"]] == [1, 2, 3]
    for item in body["items"]:
        assert set(item) == {"item_id", "rank", "score", "pctr", "sources", "interest"}
        assert 0 <= item["pctr"] <= 1
        assert item["sources"]
    scores = [item["score"] for item in body["items"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("body", [{}, {"user_id": "nobody"}, {"session": []}, {"placement": "never seen"}])
def test_whoever_is_unknown_gets_a_full_list(client: httpx.Client, body: dict[str, Any]) -> None:
    items = ids(recommend(client, **body))
    assert len(items) == 20
    assert len(set(items)) == 20
    assert HIDDEN not in items


@pytest.mark.parametrize("taste", range(4))
def test_a_known_user_gets_what_suits(client: httpx.Client, taste: int) -> None:
    liked = [f"item-{taste + 4 * n}" for n in range(2, 8)]
    like(client, f"fan of {taste}", *liked)
    items = ids(recommend(client, user_id=f"fan of {taste}", count=10))
    assert share_of(taste, items) >= 0.8
    assert not set(items) & set(liked)


def test_a_session_counts_like_stored_events(client: httpx.Client) -> None:
    session = [{"item_id": f"item-{2 + 4 * n}", "event": "like"} for n in range(6)]
    assert share_of(2, ids(recommend(client, session=session, count=10))) >= 0.8


def test_an_event_is_felt_in_the_very_next_answer(client: httpx.Client) -> None:
    like(client, "changing", *(f"item-{4 * n}" for n in range(3)))
    for _ in range(15):
        best = ids(recommend(client, user_id="changing", count=1))[0]
        like(client, "changing", best)
        assert best not in ids(recommend(client, user_id="changing", count=200))


def test_what_was_seen_returns_only_on_request(client: httpx.Client) -> None:
    like(client, "again", "item-4", "item-8", "item-12")
    assert not {"item-4", "item-8", "item-12"} & set(ids(recommend(client, user_id="again", count=200)))
    with_seen = ids(recommend(client, user_id="again", count=200, include_seen=True))
    assert {"item-4", "item-8", "item-12"} & set(with_seen)


def test_excluded_items_stay_out(client: httpx.Client) -> None:
    first = ids(recommend(client, count=10))
    second = ids(recommend(client, count=10, exclude_items=[*first[:5], "never heard of"]))
    assert not set(first[:5]) & set(second)


def test_a_filter_is_obeyed_by_every_item(client: httpx.Client) -> None:
    rule = {
        "all": [
            {"field": "genres", "op": "has", "value": "horror"},
            {"field": "year", "op": ">=", "value": 1990},
        ]
    }
    items = ids(recommend(client, count=50, filter=rule))
    assert items
    assert all(row_of(item) % 4 == 2 and 1970 + row_of(item) // 3 >= 1990 for item in items)


def test_a_filter_that_nothing_passes_is_an_empty_list(client: httpx.Client) -> None:
    answer = recommend(client, filter={"field": "year", "op": ">", "value": 3000})
    assert ids(answer) == []
    assert answer.json()["next_cursor"] is None


def test_a_boost_lifts_what_matches(still: httpx.Client) -> None:
    boost = [{"filter": {"field": "genres", "op": "has", "value": "western"}, "factor": 50.0}]
    plain, lifted = ids(recommend(still, count=5)), ids(recommend(still, count=5, boost=boost))
    assert share_of(3, lifted) == 1.0
    assert share_of(3, plain) < 1.0


@pytest.mark.parametrize("body", [{}, {"user_id": "pages"}])
def test_pages_continue_without_a_repeat(client: httpx.Client, body: dict[str, Any]) -> None:
    like(client, "pages", "item-1", "item-5")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        answer = recommend(client, count=7, **body, **({"cursor": cursor} if cursor else {}))
        ranks = [item["rank"] for item in answer.json()["items"]]
        assert ranks == list(range(len(seen) + 1, len(seen) + 1 + len(ranks)))
        seen += ids(answer)
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
        like(client, "pages", seen[-1])
    assert len(seen) == len(set(seen))
    assert 30 <= len(seen) < ITEMS


def test_explain_tells_where_every_candidate_went(client: httpx.Client) -> None:
    body = recommend(client, count=5, explain=True).json()
    assert body["funnel"]["returned"] == 5
    assert body["funnel"]["prerank"] > 0
    assert body["timings_ms"]["total"] > 0
    assert {"rank", "prerank", "popular"} <= set(body["items"][0]["explain"]["scores"])


def test_sponsored_items_cannot_be_sold_yet_and_the_answer_says_so(client: httpx.Client) -> None:
    assert recommend(client, sponsored=True).json()["degraded"] == ["sponsored"]
    assert recommend(client, sponsored=False).json()["degraded"] == []


def test_no_time_left_is_still_an_answer_and_says_what_is_missing(client: httpx.Client) -> None:
    like(client, "hurried", "item-3")
    until = time.monotonic() + PATIENCE_S
    while (answer := recommend(client, user_id="hurried", deadline_ms=1)).status_code == 503:
        # A service that got no core for a moment refuses whom it let wait.
        assert "deadline" in answer.json()["detail"]
        assert time.monotonic() < until, "nobody was answered"
    body = answer.json()
    assert body["items"]
    assert body["degraded"]


def test_a_request_id_is_kept_if_it_is_harmless(client: httpx.Client) -> None:
    answer = client.post("/v1/recommend", json={}, headers={"X-Request-Id": "shop-42"})
    assert (answer.headers["x-request-id"], answer.json()["request_id"]) == ("shop-42", "shop-42")
    for bad in ("a b", "x" * 129, "<script>", ""):
        answer = client.post("/v1/recommend", json={}, headers={"X-Request-Id": bad})
        assert answer.headers["x-request-id"] not in (bad, "")


def test_the_same_request_id_gives_the_same_list(still: httpx.Client) -> None:
    for name in ("same", "other"):
        lists = [ids(still.post("/v1/recommend", json={}, headers={"X-Request-Id": name})) for _ in range(3)]
        assert lists[0] == lists[1] == lists[2]


def test_a_service_whose_plan_ends_at_retrieval_runs_no_model_behind_it(
    bundles: Path, redis_url: str, client: httpx.Client
) -> None:
    plan = {"depth": "retrieve"}
    with live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix="test_recommend", plan=plan
    ) as shallow:
        like(client, "shallow", *(f"item-{4 * n}" for n in range(2, 8)))
        body = recommend(shallow, user_id="shallow", count=10, explain=True).json()
        page = recommend(shallow, user_id="shallow", count=10, cursor=body["next_cursor"]).json()

    assert [item["pctr"] for item in body["items"]] == [None] * 10
    assert not any(name.startswith(("score.prerank", "score.rank")) for name in body["timings_ms"])
    assert not {f"item-{4 * n}" for n in range(2, 8)} & {item["item_id"] for item in body["items"]}
    assert not {item["item_id"] for item in page["items"]} & {item["item_id"] for item in body["items"]}
    assert body["degraded"] == []


def test_a_call_gets_the_same_answer_by_its_route_as_by_the_shortcut(client: httpx.Client) -> None:
    like(client, "two ways", "item-4", "item-8", "item-12")

    def ask(kind: str, body: bytes) -> httpx.Response:
        return client.post(
            "/v1/recommend", content=body, headers={"content-type": kind, "x-request-id": "same"}
        )

    body = b'{"user_id": "two ways", "count": 7, "explain": true}'
    short, long = (ask(kind, body) for kind in ("application/json", "application/vnd.api+json"))
    assert long.headers["content-type"] == short.headers["content-type"]
    assert [short.json()[part] for part in ("items", "next_cursor", "funnel")] == [
        long.json()[part] for part in ("items", "next_cursor", "funnel")
    ]
    for bad in (b"", b"[]", b"{", b'{"count": 0}', b'{"unknown": 1}', b'{"count": NaN}', b'{"cursor": "x"}'):
        short, long = (ask(kind, bad) for kind in ("application/json", "application/vnd.api+json"))
        assert (short.status_code, short.json()) == (long.status_code, long.json())
        assert short.status_code in (400, 422)
