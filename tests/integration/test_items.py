from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.live_service import ids


def every_path(client: httpx.Client, item: str) -> dict[str, list[str]]:
    """What each kind of list returns that could return the item."""
    seen = {"include_seen": True, "count": 200}
    return {
        "recommend": ids(client.post("/v1/recommend", json=seen)),
        "personal": ids(
            client.post("/v1/recommend", json={**seen, "session": [{"item_id": item}, {"item_id": "item-2"}]})
        ),
        "search": ids(client.post("/v1/search", json={"query": "number", **seen})),
        "similar": ids(client.post("/v1/similar", json={"item_id": "item-2", "count": 200})),
    }


def put(client: httpx.Client, item: str, **body: Any) -> httpx.Response:
    return client.put(f"/v1/items/{item}", json=body)


def test_an_item_of_the_bundle_can_be_read(client: httpx.Client) -> None:
    body = client.get("/v1/items/item-10").json()
    assert (body["item_id"], body["title"], body["available"]) == ("item-10", "The horror number 10", True)
    assert body["attributes"]["genres"] == ["horror", "classic"]
    assert body["created_at"] > 0
    assert client.get("/v1/items/item-7").json()["available"] is False
    assert client.get("/v1/items/nothing").status_code == 404


def test_a_hidden_item_is_gone_on_every_path_and_comes_back(client: httpx.Client) -> None:
    shown = [path for path, items in every_path(client, "item-6").items() if "item-6" in items]
    assert len(shown) >= 2
    assert client.patch("/v1/items/item-6", json={"available": False}).json()["available"] is False
    assert [path for path, items in every_path(client, "item-6").items() if "item-6" in items] == []
    client.patch("/v1/items/item-6", json={"available": True})
    assert set(shown) <= {path for path, items in every_path(client, "item-6").items() if "item-6" in items}


def test_a_deleted_item_is_gone_and_not_found(client: httpx.Client) -> None:
    assert client.delete("/v1/items/item-9").status_code == 204
    assert client.get("/v1/items/item-9").status_code == 404
    assert client.delete("/v1/items/item-9").status_code == 404
    assert client.post("/v1/similar", json={"item_id": "item-9"}).status_code == 404
    assert all("item-9" not in items for items in every_path(client, "item-9").values())


def test_a_new_item_is_returned_by_the_next_answer(client: httpx.Client) -> None:
    rule = {"field": "year", "op": "==", "value": 2222}
    assert ids(client.post("/v1/recommend", json={"filter": rule})) == []
    attributes = {"genres": ["drama"], "year": 2222, "colour": "red"}
    body = put(client, "brand-new", title="Fresh drama", attributes=attributes).json()
    assert body["attributes"] == attributes
    assert ids(client.post("/v1/recommend", json={"filter": rule})) == ["brand-new"]
    assert ids(client.post("/v1/search", json={"query": "fresh"})) == ["brand-new"]
    assert client.get("/v1/items/brand-new").json() == body


def test_a_patch_changes_what_it_names(client: httpx.Client) -> None:
    put(client, "patched", title="A", attributes={"year": 1990, "studio": "north"}, created_at=5)
    body = client.patch("/v1/items/patched", json={"attributes": {"year": 2001, "studio": None}}).json()
    assert body == {
        "item_id": "patched",
        "title": "A",
        "attributes": {"year": 2001},
        "available": True,
        "available_from": None,
        "available_until": None,
        "created_at": 5,
        "bid_micros": None,
        "currency": None,
        "advertiser_id": None,
    }
    assert client.patch("/v1/items/nothing", json={"title": "B"}).status_code == 404


def test_of_a_batch_all_is_stored_but_what_is_wrong_and_that_is_named(client: httpx.Client) -> None:
    good = [{"item_id": f"batch-{n}", "attributes": {"year": 2300}} for n in range(20)]
    bad: list[Any] = [
        {"item_id": "bad-1", "attributes": {"year": "soon"}},
        {"item_id": "bad-2", "attributes": {"genres": {"a": 1}}, "title": 5},
        {"item_id": "bad\n3"},
        {"title": "nameless"},
        {"item_id": "bad-4", "colour": "red"},
        {"item_id": "bad-5", "available_from": 20, "available_until": 10},
        "bad-6",
        None,
    ]
    mixed = [*good[:10], *bad, *good[10:]]
    answer = client.post("/v1/items", json={"items": mixed}).json()
    assert answer["stored"] == 20
    told = {one["index"]: (one["item_id"], [e["path"] for e in one["errors"]]) for one in answer["rejected"]}
    assert told == {
        10: ("bad-1", ["items[10].attributes.year"]),
        11: ("bad-2", ["items[11].title", "items[11].attributes.genres"]),
        12: ("bad\n3", ["items[12].item_id"]),
        13: (None, ["items[13].item_id"]),
        14: ("bad-4", ["items[14].colour"]),
        15: ("bad-5", ["items[15].available_until"]),
        16: (None, ["items[16]"]),
        17: (None, ["items[17]"]),
    }
    assert all(error["message"] for one in answer["rejected"] for error in one["errors"])
    assert client.get("/v1/items/bad-1").status_code == 404
    rule = {"field": "year", "op": "==", "value": 2300}
    assert len(ids(client.post("/v1/recommend", json={"filter": rule, "count": 50}))) == 20


def test_a_wrong_type_names_the_field(client: httpx.Client) -> None:
    refused = put(client, "wrong", attributes={"year": "soon"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "attributes.year"
    window = {"available_from": 20, "available_until": 20}
    assert put(client, "wrong", **window).json()["errors"][0]["path"] == "available_until"
    put(client, "right", available_until=20)
    late = client.patch("/v1/items/right", json={"available_from": 30})
    assert late.json()["errors"][0]["path"] == "available_until"
    assert client.get("/v1/items/wrong").status_code == 404


def test_an_item_keeps_the_moment_of_its_creation(client: httpx.Client) -> None:
    first = put(client, "aged", title="T").json()["created_at"]
    assert first > 0
    assert put(client, "aged", title="U").json()["created_at"] == first
    client.post("/v1/items", json={"items": [{"item_id": "aged", "title": "V"}]})
    assert client.get("/v1/items/aged").json()["created_at"] == first


def test_all_changes_can_be_read_page_by_page(client: httpx.Client) -> None:
    put(client, "listed", title="T", attributes={"year": 7})
    put(client, "listed then gone")
    client.delete("/v1/items/listed then gone")
    after, items, deleted = "0", {}, set()
    while after is not None:
        page = client.get("/v1/items", params={"after": after, "count": 3}).json()
        items |= {one["item_id"]: one for one in page["items"]}
        deleted |= {one["item_id"] for one in page["deleted"]}
        after = page["next"]
    assert items["listed"]["attributes"] == {"year": 7}
    assert "listed then gone" in deleted
    assert client.get("/v1/items", params={"after": "x"}).status_code == 422


@pytest.mark.parametrize("item", ["a/b", "a b", "日本", "..", "{x}"])
def test_any_id_can_be_an_item(client: httpx.Client, item: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in item.encode())
    assert put(client, quoted, title="T").json()["item_id"] == item
    assert client.get(f"/v1/items/{quoted}").json()["title"] == "T"


OFFER = {"bid_micros": 250_000, "currency": "EUR", "advertiser_id": "acme"}


def test_an_offer_is_kept_changed_and_withdrawn(client: httpx.Client) -> None:
    assert put(client, "ad", title="An ad", **OFFER).status_code == 200
    assert client.get("/v1/items/ad").json() | OFFER == client.get("/v1/items/ad").json()
    assert client.patch("/v1/items/ad", json={"bid_micros": 9}).json()["bid_micros"] == 9
    gone = client.patch("/v1/items/ad", json={"bid_micros": None}).json()
    assert (gone["bid_micros"], gone["currency"]) == (None, "EUR")
    patched = client.patch("/v1/items/item-11", json=OFFER).json()
    assert patched | OFFER == patched


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"bid_micros": -1}, "bid_micros"),
        ({"bid_micros": 0}, "bid_micros"),
        ({"bid_micros": 1.5}, "bid_micros"),
        ({"bid_micros": 10**12 + 1}, "bid_micros"),
        ({"currency": None}, "currency"),
        ({"currency": "euro"}, "currency"),
        ({"advertiser_id": None}, "advertiser_id"),
        ({"advertiser_id": ""}, "advertiser_id"),
    ],
)
def test_an_offer_that_cannot_be_is_refused_by_name(
    client: httpx.Client, change: dict[str, Any], path: str
) -> None:
    refused = put(client, "wrong", **{**OFFER, **change})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == path
    batch = client.post("/v1/items", json={"items": [{"item_id": "wrong", **OFFER, **change}]}).json()
    assert batch["stored"] == 0
    assert batch["rejected"][0]["errors"][0]["path"] == f"items[0].{path}"
    assert client.get("/v1/items/wrong").status_code == 404
