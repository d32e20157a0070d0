"""What one call may say of its list, over HTTP."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.placements import Placement
from tests.support.live_service import ids, live_service, row_of
from tests.support.processes import cascada
from tests.support.tiny_world import TASTES

HORROR_FAN = [{"item_id": f"item-{2 + 4 * n}", "event": "like"} for n in range(6)]


def ask(client: httpx.Client, path: str = "/v1/recommend", **body: Any) -> httpx.Response:
    return client.post(path, json=body)


def tastes(items: list[str]) -> list[str]:
    return [TASTES[row_of(item) % len(TASTES)] for item in items]


def test_at_most_two_of_a_kind_in_any_five_places_over_pages(client: httpx.Client) -> None:
    body = {"session": HORROR_FAN, "count": 7, "caps": [{"field": "genres", "most": 2, "window": 5}]}
    free = tastes(ids(ask(client, session=HORROR_FAN, count=7)))
    assert Counter(free).most_common(1)[0][1] > 2
    first = ask(client, **body)
    second = ask(client, **body, cursor=first.json()["next_cursor"])
    kinds = tastes(ids(first) + ids(second))
    assert len(kinds) == 14
    for start in range(len(kinds) - 4):
        assert max(Counter(kinds[start : start + 5]).values()) <= 2


def test_what_a_user_sells_is_not_recommended_to_him(client: httpx.Client) -> None:
    for item in ("item-26", "item-30"):
        record = {"title": "T", "attributes": {"genres": ["horror"], "studio": "seller-1"}}
        assert client.put(f"/v1/items/{item}", json=record).is_success
    body = {"session": HORROR_FAN, "count": 60, "exclude_own": {"field": "studio"}}
    assert not {"item-26", "item-30"} & set(ids(ask(client, **body, user_id="seller-1")))
    assert {"item-26", "item-30"} & set(ids(ask(client, **body, user_id="buyer")))
    assert client.put("/v1/users/agent", json={"attributes": {"shop": "seller-1"}}).is_success
    body["exclude_own"] = {"field": "studio", "profile": "shop"}
    assert not {"item-26", "item-30"} & set(ids(ask(client, **body, user_id="agent")))


def test_ten_thousand_ids_can_be_excluded_and_no_more(client: httpx.Client) -> None:
    first = ids(ask(client, count=10))
    many = [*first, *(f"no-such-item-of-ours-{n:08}" for n in range(9_990))]
    assert not set(first) & set(ids(ask(client, count=10, exclude_items=many)))
    refused = ask(client, exclude_items=[*many, "one more"])
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "exclude_items"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"caps": [{"field": "year", "most": 1}]}, "caps[0].field"),
        ({"caps": [{"field": "genres", "most": 1}, {"field": "brand", "most": 1}]}, "caps[1].field"),
        ({"caps": [{"field": "genres", "most": 0}]}, "caps[0].most"),
        ({"caps": [{"field": "genres", "most": 1, "window": 1}]}, "caps[0].window"),
        ({"caps": [{"field": "genres", "most": 1, "per": 3}]}, "caps[0].per"),
        ({"caps": [{"field": "genres"}]}, "caps[0].most"),
        ({"caps": [{"field": "genres", "most": 1}] * 9}, "caps"),
        ({"exclude_own": {"field": "title"}}, "exclude_own.field"),
        ({"exclude_own": "studio"}, "exclude_own"),
        ({"exclude_own": {}}, "exclude_own.field"),
    ],
)
@pytest.mark.parametrize("path_of_call", ["/v1/recommend", "/v1/search", "/v1/similar"])
def test_what_cannot_be_is_refused_with_its_path(
    client: httpx.Client, path_of_call: str, body: dict[str, Any], path: str
) -> None:
    extra = {"/v1/search": {"query": "number"}, "/v1/similar": {"item_id": "item-1"}}.get(path_of_call, {})
    refused = ask(client, path_of_call, **body, **extra)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["path"] == path


WESTERN = {"field": "genres", "op": "has", "value": "western"}
PLACEMENTS: dict[str, Any] = {
    "rail": {"count": 4, "filter": WESTERN, "caps": [{"field": "studio", "most": 2}]},
    "quick": {"plan": {"depth": "retrieve"}},
}


@pytest.fixture(scope="module")
def placed(bundles: Path, redis_url: str) -> Iterator[httpx.Client]:
    places = {name: Placement.model_validate(raw) for name, raw in PLACEMENTS.items()}
    with live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix="placed", placements=places
    ) as client:
        yield client


def test_a_placement_has_its_own_defaults(placed: httpx.Client) -> None:
    rail = ids(ask(placed, placement="rail"))
    assert len(rail) == 4
    assert set(tastes(rail)) == {"western"}
    assert sum(row_of(item) % 3 > 0 for item in rail) <= 2
    wider = ids(ask(placed, placement="rail", count=6, caps=[]))
    assert len(wider) == 6
    assert set(tastes(wider)) == {"western"}
    assert [item["pctr"] for item in ask(placed, placement="quick", count=2).json()["items"]] == [None] * 2
    assert None not in [item["pctr"] for item in ask(placed, count=2).json()["items"]]
    for path, extra in {"/v1/search": {"query": "number"}, "/v1/similar": {"item_id": "item-3"}}.items():
        assert set(tastes(ids(ask(placed, path, placement="rail", **extra)))) == {"western"}


def test_an_unknown_placement_is_answered_by_the_defaults_and_counted(placed: httpx.Client) -> None:
    series = 'cascada_unknown_placements_total{cascade="recommend"}'
    assert series not in placed.get("/metrics").text
    for name in ("rail", "quick", "home", "default"):
        ask(placed, placement=name)
    assert series not in placed.get("/metrics").text
    assert len(ids(ask(placed, placement="nobody's"))) == 20
    assert f"{series} 1.0" in placed.get("/metrics").text


def test_pages_of_a_placement_go_on(placed: httpx.Client) -> None:
    first = ask(placed, placement="rail", caps=[])
    second = ids(ask(placed, placement="rail", caps=[], cursor=first.json()["next_cursor"]))
    assert len(second) == 4
    assert not set(second) & set(ids(first))


def test_a_placement_that_does_not_fit_the_bundle_is_one_line(bundles: Path) -> None:
    places = json.dumps({"rail": {"filter": {"field": "genre", "op": "has", "value": "x"}}})
    result = cascada("serve", "--bundles", bundles, "--port", "0", CASCADA_PLACEMENTS=places)
    assert result.returncode == 1
    assert (
        result.stderr.strip()
        .splitlines()[-1]
        .startswith("cascada serve: placements.rail.filter.field: 'genre' is unknown; known are ")
    )


def test_rules_that_leave_too_few_are_told_and_counted(client: httpx.Client) -> None:
    rule = {"all": [WESTERN, {"field": "year", "op": ">=", "value": 2005}]}
    body = ask(client, filter=rule, exclude_items=["item-111"]).json()
    assert len(body["items"]) == 3
    assert body["degraded"] == ["filter_starved"]
    assert body["starved"]["passes"]["filter.all[0]"] > body["starved"]["passes"]["filter"] == 4
    assert (body["starved"]["wanted"], body["starved"]["passes_all"]) == (20, 3)
    series = 'cascada_degraded_total{cascade="recommend",part="filter_starved"} '
    assert series in client.get("/metrics").text
    assert "starved" not in ask(client, filter=WESTERN, count=5).json()
