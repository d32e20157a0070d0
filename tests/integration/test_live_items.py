"""Live items over two service processes and one Redis: seen within a second everywhere, gone within one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.features.embedded import EmbeddedRedis
from tests.support.dual import add_dual_vectors
from tests.support.live_service import ids, row_of
from tests.support.processes import LIMIT_S, serving
from tests.support.tiny_bundle import write_tiny_bundle

QUIET = {"CASCADA_ACCESS_LOG": "false"}
WITHIN_S = 60.0
"""It happens by itself; how soon is measured by `cascada bench freshness`, not by a test."""
LEADS_MS = (1_000, 4_000, 16_000)
"""A busy machine may not get to look before it is time: the next try leaves it more."""
HORROR = {"genres": ["horror"], "studio": "south", "year": 1990}
ODD_IDS = ["a b", "a/b/c", "..", "../up", "日本 🎬", "100%", "%2F", "{x}?q=1#f", "a+b&c=d", "interests"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One bundle of the tiny world that knows what goes with what."""
    folder = tmp_path_factory.mktemp("bundles")
    add_dual_vectors(write_tiny_bundle(folder))
    return folder


@pytest.fixture(scope="module")
def processes(bundles: Path, redis_url: str) -> Iterator[list[httpx.Client]]:
    """Clients of two processes that share one Redis."""
    variables = {**QUIET, "CASCADA_REDIS_PREFIX": "live_items", "CASCADA_REDIS_URL": redis_url}
    with (
        serving("--bundles", bundles, **variables) as (_, one),
        serving("--bundles", bundles, **variables) as (_, other),
        httpx.Client(base_url=one, timeout=LIMIT_S) as first,
        httpx.Client(base_url=other, timeout=LIMIT_S) as second,
    ):
        yield [first, second]


def path_of(item: str) -> str:
    """Every byte escaped, for a client would take ".." for a way up."""
    return "/v1/items/" + "".join(f"%{byte:02X}" for byte in item.encode())


def put(client: httpx.Client, item: str, **body: Any) -> dict[str, Any]:
    answer = client.put(path_of(item), json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def walk(client: httpx.Client, path: str, body: Mapping[str, Any]) -> list[str]:
    """All items of a list, page by page."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.post(path, json={**body, **cursor})
        found += ids(answer)
        following = answer.json()["next_cursor"]
        if following is None:
            return found
        cursor = {"cursor": following}


SEEN = {"include_seen": True, "count": 200}
COMPLEMENTS = {"item_id": "item-1", "relation": "complementary"}
"""What goes with item 1 is horror."""
LISTS: dict[str, tuple[str, dict[str, Any]]] = {
    "recommend to nobody": ("/v1/recommend", SEEN),
    "recommend to a user": ("/v1/recommend", {"user_id": "fan", **SEEN}),
    "recommend in a session": ("/v1/recommend", {"session": [{"item_id": "item-2"}], **SEEN}),
    "recommend elsewhere": ("/v1/recommend", {"user_id": "fan", "placement": "home", **SEEN}),
    "recommend diversely": ("/v1/recommend", {"user_id": "fan", "diversity": 1.0, **SEEN}),
    "recommend under a rule": (
        "/v1/recommend",
        {"filter": {"field": "genres", "op": "has", "value": "horror"}, **SEEN},
    ),
    "recommend page by page": ("/v1/recommend", {"user_id": "fan", **SEEN, "count": 20}),
    "search": ("/v1/search", {"query": "horror number", "count": 200}),
    "search as a user": ("/v1/search", {"query": "horror number", "user_id": "fan", "count": 200}),
    "search under a rule": (
        "/v1/search",
        {"query": "horror", "filter": {"field": "year", "op": ">", "value": 0}, "count": 200},
    ),
    "search page by page": ("/v1/search", {"query": "horror number", "count": 20}),
    "search without words": ("/v1/search", {"query": "", "user_id": "fan", **SEEN}),
    "similar": ("/v1/similar", {"item_id": "item-2", "count": 200}),
    "similar for a user": ("/v1/similar", {"item_id": "item-2", "user_id": "fan", "count": 200}),
    "similar under a rule": (
        "/v1/similar",
        {"item_id": "item-2", "filter": {"field": "year", "op": ">", "value": 0}, "count": 200},
    ),
    "similar page by page": ("/v1/similar", {"item_id": "item-2", "count": 20}),
    "complementary": ("/v1/similar", {**COMPLEMENTS, "count": 200}),
    "complementary for a user": ("/v1/similar", {**COMPLEMENTS, "user_id": "fan", "count": 200}),
    "complementary under a rule": (
        "/v1/similar",
        {**COMPLEMENTS, "filter": {"field": "year", "op": ">", "value": 0}, "count": 200},
    ),
    "complementary page by page": ("/v1/similar", {**COMPLEMENTS, "count": 20}),
}


def on_paths(client: httpx.Client, item: str) -> set[str]:
    """Where the item can be met: the lists, and what interests show of their items."""
    met = {name for name, (path, body) in LISTS.items() if item in walk(client, path, body)}
    for name in ("/v1/interests", "/v1/users/fan/interests"):
        shown = client.get(name).json()["interests"]
        met |= {name for one in shown for typical in one["items"] if typical["item_id"] == item}
    return met


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def shows(client: httpx.Client, item: str) -> bool:
    """A quick look, for the clock: the item alone can match."""
    rule = {"field": "year", "op": "==", "value": 1990}
    return item in ids(client.post("/v1/recommend", json={"filter": rule, **SEEN}))


def test_every_list_of_the_api_is_walked(processes: list[httpx.Client]) -> None:
    """Whoever adds a way to get items adds it to `LISTS`."""
    paths = processes[0].get("/openapi.json").json()["paths"]
    ok = {
        path: calls["post"]["responses"].get("200", {}).get("content", {}).get("application/json", {})
        for path, calls in paths.items()
        if "post" in calls
    }
    lists = {path for path, content in ok.items() if "List" in str(content.get("schema", {}).get("$ref"))}
    assert {"/v1/recommend", "/v1/search", "/v1/similar"} <= lists
    assert lists == {path for path, _ in LISTS.values()}


BOTH = {"hidden", "expired", "deleted"}
"""Ways to go that are tried with an item of the bundle and with a new one; the others with one of them."""
HIDDEN: dict[str, Callable[[httpx.Client, str], httpx.Response]] = {
    "hidden": lambda client, item: client.patch(path_of(item), json={"available": False}),
    "expired": lambda client, item: client.patch(
        path_of(item), json={"available_until": round(time.time() * 1000) + 200}
    ),
    "not yet there": lambda client, item: client.patch(
        path_of(item), json={"available_from": round(time.time() * 1000) + 3_600_000}
    ),
    "replaced": lambda client, item: client.put(path_of(item), json={"available": False}),
    "hidden in a batch": lambda client, item: client.post(
        "/v1/items", json={"items": [{"item_id": item, "available": False}]}
    ),
    "deleted": lambda client, item: client.delete(path_of(item)),
}


@pytest.mark.parametrize(
    ("item", "how"),
    [*((item, how) for how in HIDDEN for item in ("item-6", "a new one") if how in BOTH or item == "item-6")],
)
def test_what_may_not_be_shown_is_gone_on_every_path(
    processes: list[httpx.Client], item: str, how: str
) -> None:
    """On both processes, cursors that were handed out before included; and what comes back is back."""
    here, there = processes
    here.post("/v1/events", json={"events": [{"user_id": "fan", "item_id": "item-2", "event": "like"}]})
    body = {"title": "The horror number 6", "attributes": HORROR, "created_at": round(time.time() * 1000)}
    put(here, item, **body)
    soon(lambda: shows(there, item))
    before = on_paths(here, item)
    assert len(before) >= len(LISTS) - 1, set(LISTS) - before
    assert on_paths(there, item) == before
    pages = {
        name: there.post(path, json={**kind, "count": 1, "exclude_items": [item]}).json()["next_cursor"]
        for name, (path, kind) in LISTS.items()
    }

    assert HIDDEN[how](here, item).is_success
    soon(lambda: not shows(here, item) and not shows(there, item))

    for client in processes:
        assert on_paths(client, item) == set()
    for name, (path, kind) in LISTS.items():
        assert pages[name] is not None
        assert item not in ids(there.post(path, json={**kind, "count": 1, "cursor": pages[name]}))
        rest = {**kind, "count": 200} if "count" in kind else kind
        assert item not in ids(there.post(path, json={**rest, "cursor": pages[name]}))

    put(there, item, **body)
    soon(lambda: shows(here, item))
    assert on_paths(here, item) == before


def test_a_scheduled_item_comes_and_goes_on_time_without_any_call(processes: list[httpx.Client]) -> None:
    def looks_until(shown: bool, moment_ms: int) -> int:
        """Both show it, or do not, but not before the moment; how many looks there were before it."""
        early, waiting = 0, list(processes)
        deadline = time.monotonic() + WITHIN_S
        while waiting:
            assert time.monotonic() < deadline, "it never happened"
            for client in list(waiting):
                if shows(client, "scheduled") is shown:
                    assert time.time() * 1000 >= moment_ms
                    waiting.remove(client)
                else:
                    early += time.time() * 1000 < moment_ms
            time.sleep(0.01)
        return early

    for lead_ms in LEADS_MS:
        processes[0].delete(path_of("scheduled"))
        soon(lambda: not any(shows(client, "scheduled") for client in processes))
        opens = round(time.time() * 1000) + lead_ms
        stored = put(processes[0], "scheduled", title="T", attributes=HORROR, available_from=opens)
        assert stored["available_from"] == opens
        if looks := looks_until(True, opens):
            break
    assert looks, "nobody looked before it was time"
    for lead_ms in LEADS_MS:
        body = {"title": "T", "attributes": HORROR, "available_from": opens}
        put(processes[0], "scheduled", **body)
        soon(lambda: all(shows(client, "scheduled") for client in processes))
        closes = round(time.time() * 1000) + lead_ms
        assert put(processes[0], "scheduled", **body, available_until=closes)["available_until"] == closes
        if looks := looks_until(False, closes):
            break
    assert looks, "nobody looked before it was time"


@pytest.mark.parametrize("item", ODD_IDS)
def test_any_id_works_everywhere(processes: list[httpx.Client], item: str) -> None:
    here, there = processes
    body = {"title": "The horror number 6", "attributes": HORROR, "created_at": round(time.time() * 1000)}
    assert put(here, item, **body)["item_id"] == item
    soon(lambda: shows(there, item))
    assert there.get(path_of(item)).json()["item_id"] == item
    assert len(on_paths(there, item)) >= len(LISTS) - 1
    assert item not in ids(there.post("/v1/similar", json={"item_id": item}))
    assert ids(there.post("/v1/similar", json={"item_id": item}))
    complements = there.post("/v1/similar", json={"item_id": item, "relation": "complementary"})
    assert complements.json()["degraded"] == []
    assert row_of(ids(complements)[0]) % 4 == 3, "westerns go with horror"
    assert there.post("/v1/recommend", json={"session": [{"item_id": item}]}).status_code == 200
    event = {"user_id": item, "item_id": item, "event": "like"}
    assert there.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
    assert item not in walk(there, "/v1/recommend", {"user_id": item})
    assert item not in walk(there, "/v1/recommend", {"exclude_items": [item]})
    assert there.patch(path_of(item), json={"title": "Else"}).json()["title"] == "Else"
    assert there.delete(path_of(item)).status_code == 204
    soon(lambda: here.get(path_of(item)).status_code == 404)


@pytest.mark.parametrize("item", ["nobody", "no/body 🎬"])
def test_an_unknown_item_is_named(processes: list[httpx.Client], item: str) -> None:
    client = processes[0]
    for answer in (
        client.get(path_of(item)),
        client.patch(path_of(item), json={"title": "T"}),
        client.delete(path_of(item)),
        client.post("/v1/similar", json={"item_id": item}),
    ):
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"there is no item {item!r}"


@contextmanager
def worker(bundles: Path, url: str, **variables: str) -> Iterator[tuple[Any, httpx.Client]]:
    settings = {**QUIET, "CASCADA_REDIS_URL": url, **variables}
    with (
        serving("--bundles", bundles, **settings) as (process, address),
        httpx.Client(base_url=address, timeout=LIMIT_S) as client,
    ):
        yield process, client


def test_a_worker_that_was_away_catches_up_and_changes_survive_restarts(
    bundles: Path, tmp_path: Path
) -> None:
    """The stream remembers a hundred changes or so; far more are made while one worker is stopped."""
    variables = {"CASCADA_ITEM_LOG_LIMIT": "100"}
    store = EmbeddedRedis(tmp_path / "redis")
    store.start()
    rule = {"field": "year", "op": "==", "value": 2500}

    def live(client: httpx.Client) -> set[str]:
        return set(walk(client, "/v1/recommend", {"filter": rule, "count": 10}))

    try:
        with (
            worker(bundles, store.url, **variables) as (_, here),
            worker(bundles, store.url, **variables) as (process, away),
        ):
            put(here, "first", attributes={"year": 2500})
            soon(lambda: live(away) == {"first"})
            os.kill(process.pid, signal.SIGSTOP)
            for start in range(0, 1500, 500):
                years = [2500 if n % 50 == 0 else 1 for n in range(500)]
                batch = [
                    {"item_id": f"n-{start + n}", "attributes": {"year": year}}
                    for n, year in enumerate(years)
                ]
                assert here.post("/v1/items", json={"items": batch}).json()["stored"] == 500
            here.delete(path_of("first"))
            here.patch(path_of("n-50"), json={"available": False})
            wanted = {f"n-{n}" for n in range(0, 1500, 50)} - {"n-50"}
            assert live(here) == wanted
            os.kill(process.pid, signal.SIGCONT)
            soon(lambda: "cascada_live_items 1500.0" in away.get("/metrics").text)
            soon(lambda: live(away) == wanted)
        # Every process has ended, and Redis too: what changed is on disk.
        store.stop()
        store.start()
        with worker(bundles, store.url, **variables) as (_, restarted):
            assert live(restarted) == wanted
            assert restarted.get(path_of("first")).status_code == 404
            assert restarted.get(path_of("n-50")).json()["available"] is False
    finally:
        store.stop()


def test_a_full_catalogue_refuses_new_items_and_still_hides(bundles: Path, tmp_path: Path) -> None:
    store = EmbeddedRedis(tmp_path / "redis")
    store.start()
    try:
        with worker(bundles, store.url, CASCADA_LIVE_ITEM_LIMIT="3") as (_, client):
            batch = [{"item_id": f"n-{n}", "title": "T", "attributes": HORROR} for n in range(5)]
            answer = client.post("/v1/items", json={"items": batch}).json()
            assert answer["stored"] == 3
            assert [(one["index"], one["item_id"]) for one in answer["rejected"]] == [(3, "n-3"), (4, "n-4")]
            assert "CASCADA_LIVE_ITEM_LIMIT" in answer["rejected"][0]["errors"][0]["message"]
            refused = client.put(path_of("n-9"), json={})
            assert (refused.status_code, refused.json()["code"]) == (507, "operator")
            assert client.get(path_of("n-9")).status_code == 404
            assert put(client, "n-1", title="Other", attributes=HORROR)["title"] == "Other"
            assert client.patch(path_of("item-6"), json={"available": False}).status_code == 200
            assert not shows(client, "item-6")
            assert "item-6" not in walk(client, "/v1/recommend", SEEN)
            lines = client.get("/metrics").text.splitlines()
            assert "cascada_live_items 3.0" in lines
            assert "cascada_live_item_limit 3.0" in lines
            # What had no room, the record of item-6, takes the first place that is free.
            for gone in ("n-0", "n-2"):
                assert client.delete(path_of(gone)).status_code == 204
            soon(lambda: "cascada_live_items 2.0" in client.get("/metrics").text.splitlines())
            put(client, "n-9", attributes=HORROR)
            assert shows(client, "n-9")
            assert not shows(client, "item-6")
    finally:
        store.stop()
