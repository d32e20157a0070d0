from __future__ import annotations

import time
from typing import Any

import httpx

from tests.support.live_service import ids


def post(client: httpx.Client, *events: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/events", json={"events": list(events)})


def an_event(user: str, item: str = "item-1", **more: Any) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "event": "view", **more}


def stored(client: httpx.Client, user: str) -> list[str]:
    return [event["item_id"] for event in client.get(f"/v1/users/{user}").json()["events"]]


def test_every_event_is_accepted_a_duplicate_or_rejected(client: httpx.Client) -> None:
    late = int(time.time() * 1000) + 6 * 60_000
    answer = post(
        client,
        an_event("e1", event_id="a"),
        an_event("e1", "item-2", event_id="a"),
        an_event("e1", "item-3", timestamp=late),
        an_event("e1", "not in the catalogue", value=4.5, request_id="r-1"),
    )
    assert answer.status_code == 202
    body = answer.json()
    assert (body["accepted"], body["duplicates"]) == (2, 1)
    assert [one["index"] for one in body["rejected"]] == [2]
    assert "future" in body["rejected"][0]["reason"]
    assert body["token"] == answer.headers["x-request-id"]
    assert set(stored(client, "e1")) == {"item-1", "not in the catalogue"}


def test_repeating_a_call_changes_nothing(client: httpx.Client) -> None:
    events = [an_event("e2", f"item-{n}", event_id=f"x{n}", timestamp=1000 + n) for n in range(50)]
    assert post(client, *events).json()["accepted"] == 50
    assert post(client, *events).json() | {"token": ""} == {
        "accepted": 0,
        "duplicates": 50,
        "rejected": [],
        "token": "",
    }
    assert len(stored(client, "e2")) == 50


def test_late_events_take_their_place(client: httpx.Client) -> None:
    post(client, an_event("e3", "new", timestamp=3000))
    post(client, an_event("e3", "old", timestamp=1000), an_event("e3", "middle", timestamp=2000))
    assert stored(client, "e3") == ["new", "middle", "old"]


def test_a_profile_is_put_read_and_replaced(client: httpx.Client) -> None:
    assert client.get("/v1/users/u1").status_code == 404
    assert client.put("/v1/users/u1", json={"attributes": {"segment": "new"}}).status_code == 204
    assert client.get("/v1/users/u1").json() == {
        "user_id": "u1",
        "attributes": {"segment": "new"},
        "events": [],
        "preferences": [],
    }
    client.put("/v1/users/u1", json={"attributes": {"other": [1, 2]}})
    assert client.get("/v1/users/u1").json()["attributes"] == {"other": [1, 2]}


def test_deleting_a_user_erases_all(client: httpx.Client) -> None:
    post(client, an_event("u2", "item-9", event_id="a"))
    client.put("/v1/users/u2", json={"attributes": {"segment": "old"}})
    assert "item-9" not in ids(client.post("/v1/recommend", json={"user_id": "u2", "count": 200}))
    assert client.delete("/v1/users/u2").status_code == 204
    assert client.get("/v1/users/u2").status_code == 404
    assert client.delete("/v1/users/u2").status_code == 204
    assert post(client, an_event("u2", "item-9", event_id="a")).json()["accepted"] == 1


def test_ids_with_slashes_and_spaces_reach_their_user(client: httpx.Client) -> None:
    for user in ("a/b", "a b", "ä?&=", "..", "%2F"):
        quoted = "/v1/users/" + "".join(f"%{byte:02X}" for byte in user.encode())
        assert client.put(quoted, json={"attributes": {"name": user}}).status_code == 204
        assert client.get(quoted).json()["user_id"] == user
