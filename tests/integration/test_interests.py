"""A user sees the mixture, changes it, and the next answer obeys: over HTTP, kept in a real Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from retrieval.interests import InterestModel
from tests.integration.test_bad_input import refused
from tests.support.live_service import ids, live_service, row_of
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import PER_TASTE, TASTES

HORROR = TASTES.index("horror")
WESTERN = TASTES.index("western")


def path(user: str) -> str:
    return f"/v1/users/{user}/interests"


def likes(client: httpx.Client, user: str, *rows: int) -> None:
    events = [
        {"user_id": user, "item_id": f"item-{row}", "event": "like", "timestamp": 1_700_000_000_000 + at}
        for at, row in enumerate(rows)
    ]
    assert client.post("/v1/events", json={"events": events}).json()["accepted"] == len(rows)


def listed(client: httpx.Client, user: str) -> dict[str, Any]:
    answer = client.get(path(user))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["user_id"] == user
    assert sum(one["share"] for one in body["interests"]) == pytest.approx(1, abs=1e-4)
    assert len({one["id"] for one in body["interests"]}) == len(body["interests"])
    return body


def of_taste(client: httpx.Client, taste: int) -> str:
    """The interest of the catalogue whose typical items are mostly of a taste."""
    found = client.get("/v1/interests").json()["interests"]
    return str(
        max(found, key=lambda one: len([i for i in one["items"] if _taste(i["item_id"]) == taste]))["id"]
    )


def by_id(body: dict[str, Any], interest: str) -> dict[str, Any]:
    one: dict[str, Any] = next(one for one in body["interests"] if one["id"] == interest)
    return one


def change(client: httpx.Client, user: str, interest: str, action: str) -> dict[str, Any]:
    answer = client.patch(path(user), json={"id": interest, "action": action})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["interests"] == listed(client, user)["interests"]
    return body


def tastes(client: httpx.Client, user: str, count: int = 20, **more: Any) -> list[int]:
    answer = client.post("/v1/recommend", json={"user_id": user, "count": count, **more})
    assert answer.json()["degraded"] == []
    return [_taste(item) for item in ids(answer)]


def _taste(item: str) -> int:
    return row_of(item) % len(TASTES)


def test_the_mixture_has_labels_shares_and_the_events_behind_it(client: httpx.Client) -> None:
    likes(client, "m1", 2, 6, 3, 10)
    body = listed(client, "m1")
    assert body["known"] is True
    assert body["bundle_version"] == "tiny-1"
    assert body["lambda"] == pytest.approx(4 / 9, abs=1e-6)
    own, *interests = body["interests"]
    assert (own["id"], own["label"], own["share"]) == ("own", "Your taste overall", 0.5)
    assert (own["events"], own["preference"], own["items"]) == ([], None, [])

    horror = by_id(body, of_taste(client, HORROR))
    assert interests[0] == horror
    assert horror["label"].startswith("horror")
    assert horror["label"].count("The horror number") == 2
    assert horror["attributes"][0] == "horror"
    assert [event["item_id"] for event in horror["events"]] == ["item-10", "item-6", "item-2"]
    assert horror["events"][0] == {"item_id": "item-10", "event": "like", "timestamp": 1_700_000_000_003}
    assert horror["event_count"] == 3
    assert 0 < horror["own_part"] <= 1
    assert horror["items"][0]["title"] == f"The horror number {row_of(horror['items'][0]['item_id'])}"
    assert sum(one["event_count"] for one in body["interests"]) == 4
    assert body["unplaced"] == {"events": 0, "preferences": 0}


def test_every_item_names_the_interest_that_found_it(client: httpx.Client) -> None:
    likes(client, "m2", 2, 6, 3)
    known = {one["id"]: one["label"] for one in listed(client, "m2")["interests"]}
    answer = client.post("/v1/recommend", json={"user_id": "m2", "count": 50, "explain": True}).json()
    found = {"own": 0, "other": 0, "none": 0}
    for item in answer["items"]:
        assert (item["interest"] is not None) == ("interests" in item["sources"])
        if item["interest"] is None:
            found["none"] += 1
            continue
        assert known[item["interest"]["id"]] == item["interest"]["label"]
        found["own" if item["interest"]["id"] == "own" else "other"] += 1
    assert found["own"]
    assert found["other"]
    for path_, body in (("/v1/search", {"query": "horror"}), ("/v1/similar", {"item_id": "item-2"})):
        items = client.post(path_, json={"user_id": "m2", **body}).json()["items"]
        assert items
        assert {item["interest"] for item in items} == {None}


def test_the_next_answer_obeys_a_mute_on_every_page_and_a_reset_forgets_it(client: httpx.Client) -> None:
    likes(client, "m3", 2, 6, 10, 14)
    before = tastes(client, "m3")
    assert before.count(HORROR) > 10
    horror = of_taste(client, HORROR)

    body = change(client, "m3", horror, "mute")
    muted = by_id(body, horror)
    assert (muted["share"], muted["preference"], muted["event_count"]) == (0, "mute", 4)
    first = client.post("/v1/recommend", json={"user_id": "m3", "count": 20, "explain": True}).json()
    assert len(first["items"]) == 20
    assert first["funnel"].get("returned") == 20
    second = client.post(
        "/v1/recommend", json={"user_id": "m3", "count": 20, "explain": True, "cursor": first["next_cursor"]}
    ).json()
    shown = first["items"] + second["items"]
    assert len(shown) == 40
    assert not [item for item in shown if horror == (item["interest"] or {}).get("id")]
    horrors = [item for item in shown if _taste(item["item_id"]) == HORROR]
    # The planted taste and the learned cluster may differ by an item or two.
    assert len(horrors) <= 2

    # What is asked for in words, or by an item, is answered.
    words = client.post("/v1/search", json={"user_id": "m3", "query": "horror", "count": 20})
    assert len([item for item in ids(words) if _taste(item) == HORROR]) == 20
    alike = client.post("/v1/similar", json={"user_id": "m3", "item_id": "item-2", "count": 5})
    assert {_taste(item) for item in ids(alike)} == {HORROR}

    body = change(client, "m3", horror, "reset")
    assert by_id(body, horror)["preference"] is None
    assert tastes(client, "m3") == before


def test_a_pin_needs_no_event_and_shows_in_the_answer(client: httpx.Client) -> None:
    likes(client, "m4", 2, 6, 10, 14)
    western = of_taste(client, WESTERN)
    before = tastes(client, "m4", 12).count(WESTERN)
    body = change(client, "m4", western, "pin")
    pinned = by_id(body, western)
    assert pinned["preference"] == "pin"
    assert pinned["share"] >= 0.5 / 3 - 1e-6
    assert before == 0
    cursor = None
    for _ in range(3):
        page = {"user_id": "m4", "count": 12, "cursor": cursor}
        answer = client.post("/v1/recommend", json=page).json()
        assert len(answer["items"]) == 12
        assert len([item for item in answer["items"] if _taste(item["item_id"]) == WESTERN]) >= 2
        assert western in {(item["interest"] or {}).get("id") for item in answer["items"]}
        cursor = answer["next_cursor"]
    # A mute takes the place of a pin.
    assert by_id(change(client, "m4", western, "mute"), western)["preference"] == "mute"
    assert len(client.get("/v1/users/m4").json()["preferences"]) == 1


def test_a_search_by_words_is_not_a_pins_place(client: httpx.Client) -> None:
    change(client, "m14", of_taste(client, WESTERN), "pin")
    found = client.post("/v1/search", json={"user_id": "m14", "query": "drama", "count": 10})
    assert WESTERN not in {_taste(item) for item in ids(found)}


def test_an_unknown_user_has_everybodys_mixture_and_may_change_it(client: httpx.Client) -> None:
    body = listed(client, "m5")
    assert (body["known"], body["lambda"]) == (False, 0)
    assert len(body["interests"]) == 4
    assert all(one["events"] == [] for one in body["interests"])
    first = body["interests"][1]["id"]
    body = change(client, "m5", first, "mute")
    assert body["known"] is True
    assert by_id(body, first)["share"] == 0
    assert client.get("/v1/users/m5").json()["preferences"][0]["kind"] == "mute"


def test_one_event_is_behind_one_interest(client: httpx.Client) -> None:
    likes(client, "m6", 3)
    body = listed(client, "m6")
    assert body["lambda"] == pytest.approx(1 / 6, abs=1e-6)
    assert [one["event_count"] for one in body["interests"] if one["event_count"]] == [1]


def test_of_ten_thousand_events_those_kept_are_counted_and_few_are_listed(client: httpx.Client) -> None:
    likes(client, "m7", *[2 + 4 * (n % PER_TASTE) for n in range(9_000)], *[3] * 1_000)
    body = listed(client, "m7")
    counted = sum(one["event_count"] for one in body["interests"]) + body["unplaced"]["events"]
    assert counted == len(client.get("/v1/users/m7").json()["events"]) == 1000
    assert max(len(one["events"]) for one in body["interests"]) == 20
    western = by_id(body, of_taste(client, WESTERN))
    assert western["event_count"] == 1000
    body = change(client, "m7", western["id"], "mute")
    stored = client.get("/v1/users/m7").json()["preferences"][0]["items"]
    assert stored[0] == "item-3"
    assert len(stored) == len(set(stored)) == 10


def test_events_on_deleted_items_still_tell_but_no_deleted_title_is_shown(
    bundles: Path, redis_url: str
) -> None:
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix="interests-deleted") as client:
        interest = of_taste(client, HORROR)
        typical = [row_of(one["item_id"]) for one in by_id(_everything(client), interest)["items"]]
        likes(client, "d1", *typical)
        label = by_id(_everything(client), interest)["label"]
        for row in typical:
            assert client.delete(f"/v1/items/item-{row}").status_code == 204
        body = listed(client, "d1")
        horror = by_id(body, interest)
        assert horror["event_count"] == len(typical)
        assert body["interests"][1] == horror
        assert not {one["item_id"] for one in horror["items"]} & {f"item-{row}" for row in typical}
        assert horror["label"] != label
        assert "number" in horror["label"]
        assert change(client, "d1", interest, "mute")["unplaced"] == {"events": 0, "preferences": 0}


def _everything(client: httpx.Client) -> dict[str, Any]:
    body: dict[str, Any] = client.get("/v1/interests").json()
    assert body["bundle_version"] == "tiny-1"
    assert len({one["label"] for one in body["interests"]}) == 4
    return body


def test_events_that_this_bundle_cannot_place_are_said(client: httpx.Client) -> None:
    event = {"user_id": "m8", "item_id": "from another catalogue", "event": "view"}
    client.post("/v1/events", json={"events": [event]})
    body = listed(client, "m8")
    assert (body["known"], body["lambda"]) == (True, 0)
    assert body["unplaced"] == {"events": 1, "preferences": 0}


def test_a_mute_holds_for_items_that_come_later(client: httpx.Client) -> None:
    likes(client, "m9", 2, 6, 10)
    new = {"title": "The horror of tomorrow", "attributes": {"genres": ["horror"]}}
    assert client.put("/v1/items/tomorrow", json=new).status_code == 200
    horror = of_taste(client, HORROR)
    body = {"user_id": "m9", "count": 100}
    assert "tomorrow" in ids(client.post("/v1/recommend", json=body))
    change(client, "m9", horror, "mute")
    assert "tomorrow" not in ids(client.post("/v1/recommend", json=body))
    client.delete("/v1/items/tomorrow")


def test_a_mute_holds_even_where_the_interest_model_fails(
    bundles: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix="interests-broken") as client:
        likes(client, "b1", 2, 6, 10, 14)
        horror = of_taste(client, HORROR)
        change(client, "b1", horror, "mute")

        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(InterestModel, "interests", broken)
        answer = client.post("/v1/recommend", json={"user_id": "b1", "count": 60})
        assert "user_interests" in answer.json()["degraded"]
        shown = ids(answer)
        assert len(shown) > 5
        assert len([item for item in shown if _taste(item) == HORROR]) <= 2
        assert {item["interest"] for item in answer.json()["items"]} == {None}
        assert refused(client.get(path("b1")), 503)["code"] == "part-unavailable"


def test_a_preference_survives_a_bundle_of_another_clustering(tmp_path: Path, redis_url: str) -> None:
    settings: dict[str, Any] = {"redis_url": redis_url, "redis_prefix": "interests-swap"}
    write_tiny_bundle(tmp_path / "old")
    write_tiny_bundle(tmp_path / "new", "tiny-2", clusters=7)
    with live_service(bundles=tmp_path / "old", **settings) as client:
        likes(client, "s1", 2, 6, 10, 14)
        old = of_taste(client, HORROR)
        change(client, "s1", old, "mute")
        change(client, "s1", of_taste(client, WESTERN), "pin")
        assert tastes(client, "s1").count(HORROR) <= 1
    with live_service(bundles=tmp_path / "new", **settings) as client:
        body = listed(client, "s1")
        assert body["bundle_version"] == "tiny-2"
        assert len(client.get("/v1/interests").json()["interests"]) == 7
        muted, pinned = (
            next(one for one in body["interests"] if one["preference"] == kind) for kind in ("mute", "pin")
        )
        assert muted["label"].startswith("horror")
        assert pinned["label"].startswith("western")
        assert pinned["share"] > 0
        items = client.post("/v1/recommend", json={"user_id": "s1", "count": 40}).json()["items"]
        assert not [item for item in items if (item["interest"] or {}).get("id") == muted["id"]]
        # An id of the other clustering is unknown here, not something else.
        refused(client.patch(path("s1"), json={"id": old, "action": "reset"}))
        assert change(client, "s1", muted["id"], "reset")["unplaced"]["preferences"] == 0
        assert len(client.get("/v1/users/s1").json()["preferences"]) == 1


def test_deleting_a_user_erases_pins_and_mutes(client: httpx.Client) -> None:
    horror = of_taste(client, HORROR)
    change(client, "m10", horror, "mute")
    assert client.delete("/v1/users/m10").status_code == 204
    body = listed(client, "m10")
    assert body["known"] is False
    assert all(one["preference"] is None for one in body["interests"])
    assert client.get("/v1/users/m10").status_code == 404


def test_all_preferences_are_reset_at_once(client: httpx.Client) -> None:
    likes(client, "m11", 2)
    before = listed(client, "m11")["interests"]
    change(client, "m11", of_taste(client, HORROR), "mute")
    change(client, "m11", of_taste(client, WESTERN), "pin")
    assert client.delete(path("m11")).status_code == 204
    assert client.delete(path("m11")).status_code == 204
    assert [one["id"] for one in listed(client, "m11")["interests"]] == [one["id"] for one in before]
    assert len(client.get("/v1/users/m11").json()["events"]) == 1


def test_all_muted_leaves_what_is_of_no_interest(client: httpx.Client) -> None:
    for one in client.get("/v1/interests").json()["interests"]:
        change(client, "m12", one["id"], "mute")
    body = listed(client, "m12")
    assert [one["share"] for one in body["interests"]] == [1, 0, 0, 0, 0]
    answer = client.post("/v1/recommend", json={"user_id": "m12"})
    assert ids(answer) == []
    assert answer.json()["next_cursor"] is None


def test_pins_are_as_many_as_the_mixture_has_places(client: httpx.Client) -> None:
    every = [one["id"] for one in client.get("/v1/interests").json()["interests"]]
    for one in every[:3]:
        change(client, "m13", one, "pin")
    problem = refused(client.patch(path("m13"), json={"id": every[3], "action": "pin"}))
    assert problem["errors"][0]["path"] == "action"
    assert "3 interests are pinned" in problem["detail"]
    change(client, "m13", every[0], "pin")
    change(client, "m13", every[0], "mute")
    change(client, "m13", every[3], "pin")


@pytest.mark.parametrize(
    ("body", "path_"),
    [
        ({"id": "0123456789ab", "action": "mute"}, "id"),
        ({"id": "own", "action": "mute"}, "id"),
        ({"id": "", "action": "mute"}, "id"),
        ({"id": 3, "action": "mute"}, "id"),
        ({"action": "mute"}, "id"),
        ({"id": "0123456789ab", "action": "love"}, "action"),
        ({"id": "0123456789ab"}, "action"),
        ({"id": "0123456789ab", "action": "mute", "share": 1}, "share"),
        ([], ""),
    ],
)
def test_a_change_that_cannot_be_names_its_field(client: httpx.Client, body: Any, path_: str) -> None:
    problem = refused(client.patch(path("never"), json=body))
    assert problem["errors"][0]["path"] == path_
    assert listed(client, "never")["known"] is False


def test_ids_with_slashes_reach_their_own_user(client: httpx.Client) -> None:
    horror = of_taste(client, HORROR)
    for user in ("a/b", "a/interests", "interests", "..", "ä ?"):
        quoted = "".join(f"%{byte:02X}" for byte in user.encode())
        answer = client.patch(path(quoted), json={"id": horror, "action": "mute"})
        assert answer.json()["user_id"] == user
        assert client.get(f"/v1/users/{quoted}").json()["user_id"] == user
        assert client.delete(f"/v1/users/{quoted}").status_code == 204
        assert client.get(path(quoted)).json()["known"] is False
    refused(client.get(path("%00")))
    refused(client.get("/v1/users/nobody%2Finterests"), 404)


def test_the_calls_are_documented(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths["/v1/users/{user_id}/interests"]) == {"get", "patch", "delete"}
    assert "get" in paths["/v1/interests"]
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert "lambda" in schemas["UserInterestsOut"]["properties"]
    assert "interest" in schemas["ItemOut"]["properties"]
