"""Why and why not, over real HTTP and a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.live_service import live_service
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import TASTES

HORROR = TASTES.index("horror")
SECONDS = 60


@pytest.fixture(scope="module")
def explaining(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explaining")
    write_tiny_bundle(folder, explains=True)
    return folder


@pytest.fixture(scope="module")
def client(explaining: Path, redis_url: str) -> Iterator[httpx.Client]:
    with live_service(
        bundles=explaining, redis_url=redis_url, redis_prefix="test_explain", counterfactual_seconds=SECONDS
    ) as client:
        yield client


def like(client: httpx.Client, user: str, *items: str) -> None:
    events = [
        {"user_id": user, "item_id": item, "event": "like", "timestamp": 1_700_000_000_000 + n}
        for n, item in enumerate(items)
    ]
    assert client.post("/v1/events", json={"events": events}).json()["accepted"] == len(items)


def answer(client: httpx.Client, kind: str = "recommend", **body: Any) -> dict[str, Any]:
    got = client.post(f"/v1/{kind}", json={"trace": True, **body})
    assert got.status_code == 200, got.text
    content: dict[str, Any] = got.json()
    return content


def why(client: httpx.Client, request_id: str, item_id: str, **more: Any) -> dict[str, Any]:
    got = client.get("/v1/explain", params={"request_id": request_id, "item_id": item_id, **more})
    assert got.status_code == 200, got.text
    content: dict[str, Any] = got.json()
    return content


def events_of(explained: dict[str, Any]) -> dict[str, list[str]]:
    return {part: [one["item_id"] for one in events] for part, events in explained["events"].items()}


def test_an_explained_list_names_the_planted_event(client: httpx.Client) -> None:
    like(client, "planted", "item-1", "item-5", "item-2")
    body = answer(client, user_id="planted", count=30, explain=True)
    assert body["untold"] == {}
    horror = [item for item in body["items"] if int(item["item_id"][5:]) % 4 == HORROR]
    assert len(horror) > 4
    for item in horror:
        told = item["explain"]
        assert told["events"]["attention"][0]["item_id"] == "item-2"
        assert told["events"]["gate"][0]["item_id"] == "item-2"
        assert told["events"]["gate"][0]["event"] == "like"
        assert told["events"]["gate"][0]["age_ms"] > 0
        assert len(told["experts"]) == 2
        assert sum(told["experts"]) - 3.0 == pytest.approx(told["scores"]["rank"], abs=1e-4)
        assert [one["source"] for one in told["sources"]] == item["sources"]
        assert told["interest"] == item["interest"]
        assert list(told["places"]) == ["merge", "filter", "retrieve", "prerank", "rank", "diversity"]
        assert told["places"]["diversity"] == item["rank"]
        assert told["scores"]["score"] == item["score"]


def test_an_older_bundle_declares_what_it_cannot_tell(bundles: Path, redis_url: str) -> None:
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix="test_explain_old") as old:
        like(old, "ann", "item-1", "item-5")
        body = answer(old, user_id="ann", count=3, explain=True)
        assert all(
            set(item["explain"]) == {"sources", "interest", "places", "scores"} for item in body["items"]
        )
        assert set(body["untold"]) == {"experts", "events"}
        assert "ranker_explain.onnx" in body["untold"]["experts"]
        told = why(old, body["request_id"], body["items"][0]["item_id"])
        assert told["untold"] == body["untold"]
        assert told["replayed"] is True


def test_an_answer_that_nobody_wants_explained_has_nothing_of_it(client: httpx.Client) -> None:
    body = client.post("/v1/recommend", json={"count": 3}).json()
    assert not {"untold", "funnel", "timings_ms"} & set(body)
    assert not any("explain" in item for item in body["items"])
    got = client.get("/v1/explain", params={"request_id": body["request_id"], "item_id": "item-1"})
    assert got.status_code == 404


def test_a_returned_item_is_told_as_in_the_list(client: httpx.Client) -> None:
    like(client, "returned", "item-1", "item-5", "item-2")
    body = answer(client, user_id="returned", count=10, explain=True)
    for item in body["items"]:
        told = why(client, body["request_id"], item["item_id"])
        assert (told["verdict"], told["rank"]) == ("returned", item["rank"])
        for part in ("sources", "interest", "places", "scores"):
            assert told["explain"][part] == item["explain"][part], part
        assert told["explain"]["experts"] == pytest.approx(item["explain"]["experts"], abs=1e-4)
        assert events_of(told["explain"]) == events_of(item["explain"])
        assert told["replayed"] is True
        assert told["untold"] == {}
        assert told["title"]


def test_every_candidate_ends_as_the_funnel_says_and_every_item_has_a_verdict(client: httpx.Client) -> None:
    like(client, "all", "item-1", "item-5", "item-2")
    body = answer(client, user_id="all", count=5, explain=True, exclude_items=["item-9"])
    verdicts: dict[str, int] = {}
    for row in range(120):
        told = why(client, body["request_id"], f"item-{row}")
        assert told["summary"]
        cut = told.get("cut") or {}
        name = cut.get("stage", told["verdict"])
        verdicts[name] = verdicts.get(name, 0) + 1
        if told["verdict"] == "cut":
            assert cut["place"] > cut["kept"] > 0
            if cut["by"] == "prerank":
                assert told["explain"]["scores"]["prerank"] == cut["score"]
                assert cut["margin"] == pytest.approx(cut["score"] - cut["last_kept"]["score"], abs=1e-5)
                assert cut["margin"] <= 0 or cut["passed_over"]
    funnel = body["funnel"]
    assert sum(verdicts.values()) == 120
    assert verdicts["returned"] == 5
    for stage in ("prerank", "diversity", "retrieve"):
        assert verdicts.get(stage, 0) == funnel.get(stage, 0), stage
    assert verdicts["filtered"] >= 5
    assert verdicts.get("not_retrieved", 0) > 0


def test_each_filter_is_named_with_the_very_rule(client: httpx.Client) -> None:
    like(client, "rules", "item-1", "item-5")
    recent, drama = (
        {"field": "year", "op": ">=", "value": 1975},
        {"field": "genres", "op": "has", "value": "drama"},
    )
    rule = {"all": [recent, drama]}
    request = answer(
        client,
        user_id="rules",
        filter=rule,
        exclude_items=["item-49"],
        session=[{"item_id": "item-53", "event": "like"}],
    )["request_id"]

    def ruled(item: str) -> tuple[list[str], list[str]]:
        told = why(client, request, item)
        assert told["verdict"] == "filtered", told
        return told["filtered"]["by"], told["filtered"]["rules"]

    assert ruled("item-7") == (["unavailable", "rule"], ["filter", "filter.all[0]", "filter.all[1]"])
    assert ruled("item-49") == (["excluded"], ["exclude_items"])
    assert ruled("item-1") == (["seen", "rule"], ["filter", "filter.all[0]", "seen"])
    assert ruled("item-53") == (["seen"], ["seen"])
    assert ruled("item-2") == (["rule"], ["filter", "filter.all[0]", "filter.all[1]"])
    assert ruled("item-62") == (["rule"], ["filter", "filter.all[1]"])


def test_what_was_not_retrieved_says_how_far_it_was(client: httpx.Client) -> None:
    like(client, "far", *(f"item-{row}" for row in (2, 6, 10, 14)))
    request = answer(client, user_id="far", count=5)["request_id"]
    told = [why(client, request, f"item-{row}") for row in range(120)]
    missed = [one for one in told if one["verdict"] == "not_retrieved"]
    assert missed
    for one in missed:
        reach = {each["source"]: each for each in one["retrieval"]}
        near = reach["interests"]
        assert near["taken"] > 0
        assert near["score"] <= near["worst_taken"] + 1e-4 or "no place left" in near["note"]
        assert near["interests"][0]["score"] <= near["interests"][0]["worst_taken"] + 1e-4
        assert near["rank"] > 1
        assert near["interests"]
        assert near["interests"][0]["rank"] > near["interests"][0]["places"]
        assert near["interests"][0]["interest"]["label"]
        assert one["summary"].startswith("No source proposed it")
    ranks = [{each["source"]: each for each in one["retrieval"]}["interests"] for one in missed]
    by_rank = sorted(ranks, key=lambda one: one["rank"])
    assert [one["score"] for one in by_rank] == sorted((one["score"] for one in by_rank), reverse=True)
    assert len({one["rank"] for one in ranks}) == len(ranks)


def test_a_search_and_a_similar_list_are_explained_too(client: httpx.Client) -> None:
    found = answer(client, "search", query="drama", count=5)
    told = why(client, found["request_id"], "item-2")
    assert told["cascade"] == "search"
    assert told["verdict"] == "not_retrieved"
    assert told["retrieval"][0]["source"] == "lexical"
    assert told["retrieval"][0]["note"] == "it is in none of this source's lists"
    near = answer(client, "similar", item_id="item-2", count=5)
    assert why(client, near["request_id"], near["items"][0]["item_id"])["verdict"] == "returned"
    assert why(client, near["request_id"], "item-2")["filtered"]["by"] == ["excluded"]


def test_the_cause_of_an_item_is_found_by_re_running(client: httpx.Client) -> None:
    like(client, "cause", "item-1", "item-5", "item-2")
    body = answer(client, user_id="cause", count=30)
    horror = [one for one in ids_of(body) if int(one[5:]) % 4 == HORROR]
    told = why(client, body["request_id"], horror[0], counterfactual=True)["counterfactual"]
    assert [one["items"] for one in told["causes"]] == [["item-2"]]
    assert told["causes"][0]["rank"] is None
    assert told["complete"] is True
    assert told["rank"] == ids_of(body).index(horror[0]) + 1
    nowhere = why(client, body["request_id"], "item-2", counterfactual=True)
    assert "counterfactual" not in nowhere
    assert "counterfactual" in nowhere["untold"]
    assert "counterfactual" not in why(client, body["request_id"], horror[0])


def ids_of(body: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def test_events_after_the_answer_change_nothing_of_its_explanation(client: httpx.Client) -> None:
    like(client, "later", "item-1", "item-5", "item-2")
    body = answer(client, user_id="later", count=10)
    first = why(client, body["request_id"], ids_of(body)[0], counterfactual=True)
    like(client, "later", *ids_of(body))
    assert why(client, body["request_id"], ids_of(body)[0], counterfactual=True) == first
    assert first["replayed"] is True


def test_an_item_hidden_since_is_told_by_what_was_then(client: httpx.Client) -> None:
    item = "item-117"
    body = answer(client, count=200, filter={"field": "year", "op": ">=", "value": 2000})
    assert item in ids_of(body)
    assert client.patch(f"/v1/items/{item}", json={"available": False}).status_code == 200
    try:
        told = why(client, body["request_id"], item)
        assert told["verdict"] == "returned"
        assert told["replayed"] is False
    finally:
        client.patch(f"/v1/items/{item}", json={"available": True})


def test_odd_ids_and_new_items_are_explained(client: httpx.Client) -> None:
    odd = "new/one ✈ ?&=#%"
    body = {"title": "The horror", "attributes": {"genres": ["horror"], "year": 1999}}
    before = answer(client, count=5)["request_id"]
    assert client.put(f"/v1/items/{quote(odd)}", json=body).status_code == 200
    assert "newer than the answer" in why(client, before, odd)["summary"]
    after = answer(client, count=200, session=[{"item_id": "item-2", "event": "like"}])
    told = why(client, after["request_id"], odd)
    assert (told["item_id"], told["title"]) == (odd, "The horror")
    assert told["verdict"] in ("returned", "cut")
    user = "ann/✈"
    like(client, user, odd, "item-2")
    assert why(client, answer(client, user_id=user)["request_id"], odd)["filtered"]["by"] == ["seen"]


def test_what_is_unknown_is_404_and_says_what_helps(client: httpx.Client) -> None:
    request = answer(client, count=3)["request_id"]
    got = client.get("/v1/explain", params={"request_id": request, "item_id": "nothing/such ✈"})
    assert (got.status_code, got.json()["code"]) == (404, "not-found")
    assert "nothing/such ✈" in got.json()["detail"]
    got = client.get("/v1/explain", params={"request_id": "long ago", "item_id": "item-1"})
    assert got.status_code == 404
    assert "'long ago'" in got.json()["detail"]
    assert "24 hours" in got.json()["detail"]
    assert "newest 1000" in got.json()["detail"]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"item_id": "item-1"}, "request_id"),
        ({"request_id": "r"}, "item_id"),
        ({"request_id": "", "item_id": "item-1"}, "request_id"),
        ({"request_id": "r", "item_id": "x" * 257}, "item_id"),
        ({"request_id": "r", "item_id": "a\nb"}, "item_id"),
        ({"request_id": "r", "item_id": "i", "counterfactual": "perhaps"}, "counterfactual"),
        ({"request_id": "r", "item_id": "i", "counterfactuals": "true"}, "counterfactuals"),
    ],
)
def test_bad_input_names_the_field(client: httpx.Client, params: dict[str, str], path: str) -> None:
    got = client.get("/v1/explain", params=params)
    assert got.status_code == 422
    assert path in [error["path"] for error in got.json()["errors"]]


def test_any_worker_explains_any_answer(client: httpx.Client, explaining: Path, redis_url: str) -> None:
    body = answer(client, count=5)
    with live_service(bundles=explaining, redis_url=redis_url, redis_prefix="test_explain") as other:
        told = why(other, body["request_id"], ids_of(body)[0])
        assert (told["verdict"], told["rank"], told["replayed"]) == ("returned", 1, True)


def test_another_bundle_tells_what_it_can(client: httpx.Client, redis_url: str, tmp_path: Path) -> None:
    like(client, "newer", "item-1", "item-5", "item-2")
    body = answer(client, user_id="newer", count=5, explain=True)
    write_tiny_bundle(tmp_path, version="tiny-2", clusters=3, explains=True)
    with live_service(bundles=tmp_path, redis_url=redis_url, redis_prefix="test_explain") as newer:
        told = why(newer, body["request_id"], ids_of(body)[1], counterfactual=True)
        assert (told["verdict"], told["rank"]) == ("returned", 2)
        assert (told["bundle_version"], told["bundle_in_use"], told["replayed"]) == ("tiny-1", False, None)
        assert told["explain"]["places"] == body["items"][1]["explain"]["places"]
        assert told["explain"]["interest"] == body["items"][1]["explain"]["interest"]
        assert set(told["untold"]) == {"experts", "events", "counterfactual"}
        assert "tiny-1" in told["untold"]["counterfactual"]
        assert "tiny-2" in told["untold"]["counterfactual"]
        cuts = [why(newer, body["request_id"], f"item-{row}") for row in range(120)]
        assert {one["verdict"] for one in cuts} >= {"cut", "not_retrieved"}
        missed = next(one for one in cuts if one["verdict"] == "not_retrieved")
        assert "retrieval" in missed["untold"]


def test_explanations_need_the_key_that_users_need(explaining: Path, redis_url: str) -> None:
    with live_service(
        bundles=explaining, redis_url=redis_url, redis_prefix="test_explain_keys", api_keys=("secret",)
    ) as locked:
        params = {"request_id": "r", "item_id": "item-1"}
        assert locked.get("/v1/explain", params=params).status_code == 401
        key = {"Authorization": "Bearer secret"}
        assert locked.get("/v1/explain", params=params, headers=key).status_code == 404


def test_who_is_forgotten_leaves_no_trace(client: httpx.Client) -> None:
    like(client, "forget/me", "item-1", "item-5")
    request = answer(client, user_id="forget/me", count=3)["request_id"]
    assert why(client, request, "item-1")["verdict"] == "filtered"
    last = answer(client, user_id="forget/me", count=3)["request_id"]
    assert client.delete("/v1/users/forget%2Fme").status_code == 204
    for gone in (request, last):
        got = client.get("/v1/explain", params={"request_id": gone, "item_id": "item-1"})
        assert got.status_code == 404
