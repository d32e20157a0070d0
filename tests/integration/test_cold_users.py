"""Whoever has no past gets a full list, and the first thing he does counts."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.live_service import ids, row_of
from tests.support.tiny_world import TASTES

UNKNOWN_ITEMS = [{"item_id": f"gone-{n}", "event": "view"} for n in range(5)]
STRANGERS: dict[str, dict[str, Any]] = {
    "nobody": {},
    "an unknown id": {"user_id": "never seen"},
    "a profile only": {"user_id": "profiled"},
    "a profile of unknown values": {"user_id": "odd"},
    "a session of unknown items": {"session": UNKNOWN_ITEMS},
    "an unknown id in a session": {
        "user_id": "never seen",
        "session": [{"item_id": "item-2", "event": "view"}],
    },
}


@pytest.fixture(autouse=True, scope="module")
def profiles(client: httpx.Client) -> None:
    assert client.put("/v1/users/profiled", json={"attributes": {"segment": "new"}}).is_success
    odd = {"segment": "no segment that training met"}
    assert client.put("/v1/users/odd", json={"attributes": odd}).is_success


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize(
    ("path", "extra"),
    [("/v1/recommend", {}), ("/v1/search", {"query": "number"})],
)
def test_a_stranger_gets_a_full_list_with_nothing_missing(
    client: httpx.Client, name: str, path: str, extra: dict[str, Any]
) -> None:
    answer = client.post(path, json={**STRANGERS[name], **extra})
    items = ids(answer)
    assert len(items) == len(set(items)) == 20
    assert answer.json()["degraded"] == []
    assert answer.json()["next_cursor"] is not None


@pytest.mark.parametrize("who", [{}, {"user_id": "never seen"}, {"user_id": "profiled"}])
@pytest.mark.parametrize("taste", range(len(TASTES)))
def test_one_event_of_a_session_leads_the_list_and_is_not_stored(
    client: httpx.Client, who: dict[str, Any], taste: int
) -> None:
    def share(body: dict[str, Any]) -> float:
        items = ids(client.post("/v1/recommend", json={**who, **body, "count": 10}))
        return sum(row_of(item) % len(TASTES) == taste for item in items) / 10

    session = [{"item_id": f"item-{40 + taste}", "event": "view"}]
    before = share({})
    assert share({"session": session}) >= 0.8
    assert share({}) == pytest.approx(before, abs=0.2)
    if "user_id" in who:
        assert client.get(f"/v1/users/{who['user_id']}").json().get("events", []) == []


def test_a_stranger_may_filter_and_page(client: httpx.Client) -> None:
    rule = {"field": "genres", "op": "has", "value": "comedy"}
    body = {"user_id": "never seen", "filter": rule, "count": 8}
    first = client.post("/v1/recommend", json=body)
    second = client.post("/v1/recommend", json={**body, "cursor": first.json()["next_cursor"]})
    items = ids(first) + ids(second)
    assert len(set(items)) == 16
    assert {row_of(item) % len(TASTES) for item in items} == {0}
