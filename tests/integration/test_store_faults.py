"""Redis absent, killed, slow or lying: the answer comes without it and says so, and recovers by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from service.cascade.query import UserId
from service.features.embedded import EmbeddedRedis
from service.features.keys import Keys
from tests.support.live_service import ids, live_service

SESSION = [{"item_id": f"item-{2 + 4 * n}", "event": "like"} for n in range(5)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A redis-server of this test's own, with its state on disk; not started."""
    server = EmbeddedRedis(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def service(bundles: Path) -> Callable[..., Any]:
    def start(server: EmbeddedRedis, **settings: Any) -> Any:
        return live_service(
            bundles=bundles,
            redis_url=server.url,
            side_effect_queue=50,
            **settings,
        )

    return start


def kill(server: EmbeddedRedis) -> None:
    assert server._process is not None
    server._process.kill()
    server._process.wait()


def like(client: httpx.Client, item: str) -> httpx.Response:
    return client.post("/v1/events", json={"events": [{"user_id": "u", "item_id": item, "event": "like"}]})


def recommend(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/v1/recommend", json={"user_id": "u", "count": 30, **body})


def labels(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return list(answer.json()["degraded"])


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def assert_serves_without_the_store(client: httpx.Client) -> None:
    answer = recommend(client, session=SESSION)
    assert labels(answer) == ["store"]
    assert len(ids(answer)) == 30
    tastes = [int(item.removeprefix("item-")) % 4 for item in ids(answer)[:10]]
    assert tastes.count(2) >= 8
    assert labels(client.post("/v1/search", json={"query": "drama", "user_id": "u"})) == ["store"]
    assert labels(client.post("/v1/recommend", json={})) == []
    refused = like(client, "item-1")
    assert refused.status_code == 503
    interest = client.get("/v1/interests").json()["interests"][0]["id"]
    for answer in (
        client.get("/v1/users/u/interests"),
        client.patch("/v1/users/u/interests", json={"id": interest, "action": "mute"}),
        client.delete("/v1/users/u/interests"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["code"] == "store-unavailable"
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]) == (200, {"store": "unavailable"})


def test_redis_absent_at_start_and_there_later(server: EmbeddedRedis, service: Callable[..., Any]) -> None:
    with service(server) as client:
        assert_serves_without_the_store(client)
        server.start()
        assert like(client, "item-6").json()["accepted"] == 1
        answer = recommend(client)
        assert labels(answer) == []
        assert "item-6" not in ids(answer)
        assert client.get("/readyz").json()["checks"] == {"store": "ok"}


def test_redis_killed_and_restarted_loses_nothing_that_was_acknowledged(
    server: EmbeddedRedis, service: Callable[..., Any]
) -> None:
    server.start()
    with service(server) as client:
        liked = [f"item-{2 + 4 * n}" for n in range(10)]
        for item in liked:
            assert like(client, item).status_code == 202
        # The append-only file reaches the kernel with every write: a killed process loses none of it.
        kill(server)
        assert_serves_without_the_store(client)
        server.start()
        answer = recommend(client)
        assert labels(answer) == []
        assert not set(liked) & set(ids(answer))
        assert client.put("/v1/items/item-3", json={"available": False}).status_code == 200
        assert "item-3" not in ids(client.post("/v1/recommend", json={"count": 200}))


def test_changes_of_another_replica_arrive_by_themselves(
    server: EmbeddedRedis, service: Callable[..., Any]
) -> None:
    server.start()
    with service(server) as one, service(server) as other:
        one.patch("/v1/items/item-5", json={"available": False})
        until(lambda: "item-5" not in ids(other.post("/v1/recommend", json={"count": 200})))
        kill(server)
        server.start()
        one.put("/v1/items/item-5", json={"title": "back"})
        rule = {"filter": {"field": "studio", "op": "exists", "value": False}, "count": 200}
        until(lambda: "item-5" in ids(other.post("/v1/recommend", json=rule)))


def test_a_replica_that_starts_later_knows_all_changes(
    server: EmbeddedRedis, service: Callable[..., Any]
) -> None:
    server.start()
    with service(server) as client:
        client.put("/v1/items/late", json={"attributes": {"year": 2500}})
        client.delete("/v1/items/item-5")
    with service(server) as client:
        rule = {"field": "year", "op": "==", "value": 2500}
        assert ids(client.post("/v1/recommend", json={"filter": rule})) == ["late"]
        assert client.get("/v1/items/item-5").status_code == 404


def test_a_stopped_redis_costs_the_timeout_and_no_more(
    server: EmbeddedRedis, service: Callable[..., Any]
) -> None:
    server.start()
    assert server._process is not None
    with service(server, redis_read_timeout_ms=50) as client:
        like(client, "item-6")
        os.kill(server._process.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert labels(recommend(client)) == ["store"]
            assert time.monotonic() - started < 30  # half of the deadline
        finally:
            os.kill(server._process.pid, signal.SIGCONT)
        until(lambda: labels(recommend(client)) == [])


def test_a_wrong_type_under_a_users_key_is_that_users_trouble_only(
    server: EmbeddedRedis, service: Callable[..., Any]
) -> None:
    server.start()
    with service(server) as client, redis.Redis.from_url(server.url) as direct:
        direct.set(Keys().history(UserId("u")), "not a list")
        assert labels(recommend(client)) == ["store"]
        assert labels(client.post("/v1/recommend", json={"user_id": "v"})) == []
        assert like(client, "item-1").status_code == 503
        assert client.delete("/v1/users/u").status_code == 204
        assert like(client, "item-1").status_code == 202


def test_an_item_record_that_cannot_be_read_stops_nobody_else(
    server: EmbeddedRedis, service: Callable[..., Any]
) -> None:
    server.start()
    with service(server) as client, redis.Redis.from_url(server.url) as direct:
        client.put("/v1/items/odd", json={})
        direct.hset(Keys().item_records, "odd", '{"year": {"a": 1}, "genres": 5, "available": "?"}')
        direct.zincrby(Keys().item_order, 1, "odd")
        client.put("/v1/items/fine", json={"attributes": {"year": 2600}})
        rule = {"field": "year", "op": "==", "value": 2600}
        assert ids(client.post("/v1/recommend", json={"filter": rule})) == ["fine"]


def test_our_own_redis_is_started_again(bundles: Path) -> None:
    others = redis_servers()
    with live_service(bundles=bundles) as client:
        assert like(client, "item-1").status_code == 202
        (own,) = redis_servers() - others
        os.kill(own, signal.SIGKILL)
        until(lambda: bool(redis_servers() - others - {own}))
        until(lambda: like(client, "item-1").status_code == 202)


def redis_servers() -> set[int]:
    """Those that are children of this process."""
    children = [pid for pid in os.listdir("/proc") if pid.isdigit() and parent_of(pid) == os.getpid()]
    return {int(pid) for pid in children if b"redis-server" in command_of(pid)}


def parent_of(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def command_of(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
