"""A list is continued by another process, with another bundle, while things change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.live_service import ids
from tests.support.processes import LIMIT_S, serving
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS

CLUSTERS = 6
"""Of the newer bundle; the older one has 4."""
LISTS: dict[str, tuple[str, dict[str, Any]]] = {
    "anonymous": ("/v1/recommend", {}),
    "session": (
        "/v1/recommend",
        {"session": [{"item_id": f"item-{row}", "event": "like"} for row in (2, 6)]},
    ),
    "user": ("/v1/recommend", {"user_id": "reader"}),
    "search": ("/v1/search", {"query": "number", "user_id": "reader"}),
    "similar": ("/v1/similar", {"item_id": "item-2"}),
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[list[httpx.Client]]:
    """Two processes over one Redis; the second serves a newer bundle."""
    folder = tmp_path_factory.mktemp("two")
    bundles = [
        write_tiny_bundle(folder / "old", "old"),
        write_tiny_bundle(folder / "new", "new", clusters=CLUSTERS),
    ]
    with ExitStack() as stack:
        clients = []
        for bundle in bundles:
            words = ["--bundle", bundle, "--redis-url", redis_url]
            _, url = stack.enter_context(serving(*words, CASCADA_REDIS_PREFIX="pages"))
            clients.append(stack.enter_context(httpx.Client(base_url=url, timeout=LIMIT_S)))
        yield clients


def walk(clients: list[httpx.Client], path: str, body: dict[str, Any], count: int) -> list[str]:
    """All pages, each from the next process."""
    items: list[str] = []
    cursor = None
    versions = set()
    for page in range(100):
        client = clients[page % len(clients)]
        answer = client.post(path, json={**body, "count": count, **({"cursor": cursor} if cursor else {})})
        found = ids(answer)
        assert [item["rank"] for item in answer.json()["items"]] == list(
            range(len(items) + 1, len(items) + 1 + len(found))
        )
        items += found
        versions.add(answer.json()["bundle_version"])
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    assert versions == {"old", "new"}
    return items


@pytest.mark.parametrize("name", LISTS)
def test_pages_go_on_in_another_process_with_another_bundle(processes: list[httpx.Client], name: str) -> None:
    """Nothing comes twice; nothing is missing that one long page of either process has."""
    path, body = LISTS[name]
    items = walk(processes, path, body, 7)
    assert len(items) == len(set(items))
    for client in processes:
        whole = ids(client.post(path, json={**body, "count": 200}))
        assert set(whole) <= set(items)
    assert len(items) >= 30


def test_a_list_of_everything_has_no_gap(processes: list[httpx.Client]) -> None:
    rule = {"field": "genres", "op": "has", "value": "horror"}
    items = walk(processes, "/v1/recommend", {"filter": rule}, 4)
    assert len(items) == len(set(items))
    assert set(items) == {f"item-{row}" for row in range(2, ITEMS, 4)}


def test_what_happens_between_two_pages_neither_repeats_nor_hides(processes: list[httpx.Client]) -> None:
    here, there = processes
    rule = {"field": "genres", "op": "has", "value": "drama"}
    body = {"user_id": "changing", "filter": rule, "include_seen": True, "count": 5}
    first = here.post("/v1/recommend", json=body)
    liked = ids(first)[0]
    events = [{"user_id": "changing", "item_id": liked, "event": "like"}]
    assert there.post("/v1/events", json={"events": events}).json()["accepted"] == 1
    record = {"title": "New", "attributes": {"genres": ["drama"]}}
    assert there.put("/v1/items/new-drama", json=record).is_success
    rest: list[str] = []
    cursor = first.json()["next_cursor"]
    while cursor is not None:
        page = there.post("/v1/recommend", json={**body, "cursor": cursor})
        rest += ids(page)
        cursor = page.json()["next_cursor"]
    every = ids(first) + rest
    assert len(every) == len(set(every))
    # The hidden one is a western, so all thirty dramas and the new one come.
    assert set(every) == {*(f"item-{row}" for row in range(1, ITEMS, 4)), "new-drama"}


def test_a_process_with_another_key_refuses(
    processes: list[httpx.Client], bundles: Path, redis_url: str
) -> None:
    cursor = processes[0].post("/v1/recommend", json={"count": 3}).json()["next_cursor"]
    words = ["--bundles", bundles, "--redis-url", redis_url]
    with serving(*words, CASCADA_CURSOR_KEY="another") as (_, url):
        refused = httpx.post(f"{url}/v1/recommend", json={"count": 3, "cursor": cursor}, timeout=LIMIT_S)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "cursor"
