"""Whatever is sent: a 4xx problem that names the field, never a 5xx."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

LIST = "/v1/recommend"
WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "a\x00b",
    "a\nb",
    "x" * 300,
    [],
    [1],
    {},
    {"a": 1},
]

FIELDS: dict[str, dict[str, list[Any]]] = {
    # field: values that are fine after all
    "/v1/recommend": {
        "user_id": [None, "x"],
        "session": [[]],
        "count": [],
        "placement": ["x"],
        "filter": [None],
        "boost": [[]],
        "exclude_items": [[]],
        "exclude_own": [None],
        "caps": [[]],
        "include_seen": [None, True],
        "diversity": [None, 0],
        "sponsored": [None, True],
        "cursor": [None],
        "deadline_ms": [None],
        "explain": [True],
    },
    "/v1/search": {"query": ["", "x", "a\x00b", "a\nb", "x" * 300], "facets": [[]]},
    "/v1/similar": {"item_id": []},
}
REQUIRED: dict[str, dict[str, Any]] = {
    "/v1/recommend": {},
    "/v1/search": {"query": "x"},
    "/v1/similar": {"item_id": "item-1"},
}
EVENT = {"user_id": "u", "item_id": "i", "event": "view"}
EVENT_FIELDS = {
    "event_id": [None, "x"],
    "user_id": ["x"],
    "item_id": ["x"],
    "event": ["x"],
    "timestamp": [None, 0],
    "value": [None, 0, -1, 1.5, 10**30],
    "request_id": [None, "x"],
}


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def cases() -> list[tuple[str, str, Any]]:
    return [
        (path, field, value)
        for path, fields in FIELDS.items()
        for field, fine in fields.items()
        for value in WRONG
        if not any(same(value, one) for one in fine)
    ]


def refused(answer: httpx.Response, status: int = 422) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert {"type", "title", "detail", "code", "errors"} <= set(body)
    return body


@pytest.mark.parametrize(("path", "field", "value"), cases())
def test_a_wrong_value_names_its_field(client: httpx.Client, path: str, field: str, value: Any) -> None:
    body = refused(
        client.post(path, json={**REQUIRED[path], field: value}), expected_status(path, field, value)
    )
    if body["status"] == 422:
        assert body["errors"][0]["path"].startswith(field)


def expected_status(path: str, field: str, value: Any) -> int:
    valid_id = isinstance(value, str) and value == "x"
    return 404 if (path, field) == ("/v1/similar", "item_id") and valid_id else 422


@pytest.mark.parametrize("field", EVENT_FIELDS)
def test_a_wrong_event_names_its_place_and_nothing_is_stored(client: httpx.Client, field: str) -> None:
    for value in WRONG:
        if any(same(value, one) for one in EVENT_FIELDS[field]):
            continue
        events = [{**EVENT, "user_id": "never stored"}, {**EVENT, field: value}]
        body = refused(client.post("/v1/events", json={"events": events}))
        assert body["errors"][0]["path"].startswith(f"events[1].{field}"), (field, value)
    assert client.get("/v1/users/never stored").status_code == 404


@pytest.mark.parametrize("path", [*REQUIRED, "/v1/events", "/v1/items"])
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"x"', 422),
        (b'{"count": NaN}', 400),
        (b'{"count": Infinity}', 400),
        (b'{"count": 1e999}', 400),
        (b'{"user_id": "\\ud800"}', 400),
        (b'{"user_id": "\xff"}', 400),
        (b"[" * 5000 + b"]" * 5000, 400),
        (b'{"nobody knows": 1}', 422),
    ],
)
def test_a_body_that_is_no_request(client: httpx.Client, path: str, content: bytes, status: int) -> None:
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    refused(answer, status)


def nested(depth: int) -> Any:
    rule: Any = {"field": "year", "op": ">", "value": 1}
    for _ in range(depth):
        rule = {"not": rule}
    return rule


BAD_RULES: list[tuple[Any, str]] = [
    ({"field": "nothing", "op": "==", "value": 1}, "filter.field"),
    ({"field": "year", "op": "has", "value": 1}, "filter.op"),
    ({"field": "year", "op": ">", "value": "1990"}, "filter.value"),
    ({"field": "year", "op": ">"}, "filter.value"),
    ({"field": "genres", "op": "has", "value": ["drama"]}, "filter.value"),
    ({"all": [{"field": "year", "op": ">", "value": 1}, {"field": "x"}]}, "filter.all[1].field"),
    ({"all": []}, "filter.all"),
    ({"any": {"field": "year"}}, "filter.any"),
    ({"all": [], "any": []}, "filter"),
    ({"field": ["year"], "op": ">", "value": 1}, "filter.field"),
    ({"field": "year", "op": {}, "value": 1}, "filter.op"),
    ({"field": "year", "op": "in", "value": [[1]]}, "filter"),
    (nested(20), "filter"),
    (nested(200), "filter"),
    (nested(900), "filter"),
    ({"any": [{"field": "year", "op": ">", "value": n} for n in range(100)]}, "filter"),
]


@pytest.mark.parametrize(("rule", "path"), BAD_RULES)
@pytest.mark.parametrize("call", [{}, {"cursor": "made-up"}])
def test_a_bad_filter_names_its_part(
    client: httpx.Client, rule: Any, path: str, call: dict[str, Any]
) -> None:
    body = refused(client.post(LIST, json={"filter": rule, **call}))
    assert body["errors"][0]["path"].startswith(path.split(".")[0] if call else path) or call


def test_an_unknown_field_is_named(client: httpx.Client) -> None:
    body = refused(client.post(LIST, json={"cuont": 3, "session": [{"item_id": "i", "when": 1}]}))
    assert {error["path"] for error in body["errors"]} == {"cuont", "session[0].when"}


def test_a_flood_of_errors_is_cut(client: httpx.Client) -> None:
    body = refused(client.post("/v1/events", json={"events": [{}] * 10_000}))
    assert len(body["errors"]) == 20
    assert "30000 fields" in body["detail"]


@pytest.mark.parametrize(
    "cursor", ["x", "!!!", "AAAA", "A" * 8192, "bm90IG91cnM", "é", "AQAAAAAAAAAAAAAAAAAAAAAAAAAA"]
)
def test_a_cursor_of_somebody_else(client: httpx.Client, cursor: str) -> None:
    assert refused(client.post(LIST, json={"cursor": cursor}))["errors"][0]["path"] == "cursor"


def test_a_cursor_of_another_list(client: httpx.Client) -> None:
    cursor = client.post(LIST, json={"count": 5}).json()["next_cursor"]
    assert (
        refused(client.post(LIST, json={"user_id": "x", "cursor": cursor}))["errors"][0]["path"] == "cursor"
    )
    altered = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    refused(client.post(LIST, json={"count": 5, "cursor": altered}))


@pytest.mark.parametrize(
    "path", ["/v1/items/%00", "/v1/users/a%09b", "/v1/items/" + "x" * 257, "/v1/users/%1F"]
)
def test_ids_in_paths_obey_the_same_rules(client: httpx.Client, path: str) -> None:
    body = refused(client.put(path, json={}))
    assert body["errors"][0]["path"] in ("item_id", "user_id")


@pytest.mark.parametrize(
    "attributes",
    [
        {"a": {"b": 1}},
        {"a": [[1]]},
        {"": 1},
        {"a\x00": 1},
        {"a": "x" * 10_001},
        {"a": ["x"] * 1001},
        {f"a{n}": 1 for n in range(257)},
        [],
        {"year": "soon"},
        {"title": "x"},
    ],
)
def test_attributes_that_cannot_be(client: httpx.Client, attributes: Any) -> None:
    body = refused(client.put("/v1/items/i", json={"attributes": attributes}))
    assert body["errors"][0]["path"].startswith("attributes")


def test_what_is_not_json_is_415(client: httpx.Client) -> None:
    refused(client.post(LIST, content=b'{"count": 1}', headers={"content-type": "text/plain"}), 415)
    refused(client.post(LIST, data={"count": "1"}), 415)


@pytest.mark.parametrize(("path", "size"), [(LIST, 1_000_001), ("/v1/events", 5_000_001)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(client: httpx.Client, path: str, size: int, chunked: bool) -> None:
    content: Any = (b"x" * 100_000 for _ in range(size // 100_000 + 1)) if chunked else b"x" * size
    refused(client.post(path, content=content, headers={"content-type": "application/json"}), 413)


def test_events_may_be_larger_than_requests(client: httpx.Client) -> None:
    events = [{**EVENT, "user_id": f"{n:0256d}"} for n in range(5000)]
    assert len(json.dumps(events)) > 1_500_000
    assert client.post("/v1/events", json={"events": events}).json()["accepted"] == 5000


def test_no_such_path_or_method(client: httpx.Client) -> None:
    refused(client.get("/nothing"), 404)
    refused(client.get("/v1/nothing"), 404)
    assert "POST" in client.get(LIST).headers["allow"]
    refused(client.get(LIST), 405)
    refused(client.post("/healthz"), 405)


def test_the_service_is_unharmed(client: httpx.Client) -> None:
    assert client.get("/readyz").status_code == 200
    lines = client.get("/metrics").text.splitlines()
    assert [line for line in lines if 'status="5' in line and "/readyz" not in line] == []
