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
        "created_at": 5,
    }
    assert client.patch("/v1/items/nothing", json={"title": "B"}).status_code == 404


def test_a_batch_is_stored_whole_or_not_at_all(client: httpx.Client) -> None:
    good = [{"item_id": f"batch-{n}", "attributes": {"year": 2300}} for n in range(20)]
    bad = [{"item_id": "bad-1"}, {"item_id": "bad-2", "attributes": {"year": "soon"}}]
    refused = client.post("/v1/items", json={"items": bad})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "items[1].attributes.year"
    assert client.get("/v1/items/bad-1").status_code == 404
    assert client.post("/v1/items", json={"items": good}).json() == {"stored": 20}
    rule = {"field": "year", "op": "==", "value": 2300}
    assert len(ids(client.post("/v1/recommend", json={"filter": rule, "count": 50}))) == 20


@pytest.mark.parametrize("item", ["a/b", "a b", "日本", "..", "{x}"])
def test_any_id_can_be_an_item(client: httpx.Client, item: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in item.encode())
    assert put(client, quoted, title="T").json()["item_id"] == item
    assert client.get(f"/v1/items/{quoted}").json()["title"] == "T"
