"""More calls than can be answered, over real HTTP, with a ranker that is made slow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cascade.scorers.rank import Rank
from tests.support.live_service import ids, live_service

PATIENCE_S = 60.0


class SlowRanker:
    """Takes `seconds` a candidate; while `gate` is closed the first call waits for it to open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.calls = 0
        plain = Rank.score

        def score(stage: Rank, query: Any, batch: Any) -> Any:
            self.calls += 1
            self.entered.set()
            assert self.gate.wait(PATIENCE_S)
            time.sleep(self.seconds * len(batch))
            return plain(stage, query, batch)

        monkeypatch.setattr(Rank, "score", score)

    def stop(self) -> None:
        self.entered.clear()
        self.gate.clear()


@pytest.fixture
def ranker(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowRanker]:
    slow = SlowRanker(monkeypatch)
    yield slow
    slow.gate.set()


def call(url: str, sent: threading.Semaphore | None = None, **body: object) -> httpx.Response:
    """One call on a connection of its own; `sent` is released once the kernel has all of it."""

    def on_event(name: str, _: object) -> None:
        if sent is not None and name == "http11.send_request_body.complete":
            sent.release()

    with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        return client.post("/v1/recommend", json=body, extensions={"trace": on_event})


def metric(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics", timeout=PATIENCE_S).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_too_many_are_refused_with_a_problem_and_the_others_answered(
    bundles: Path, redis_url: str, ranker: SlowRanker
) -> None:
    settings: dict[str, Any] = {"redis_prefix": "shed", "latency_target_ms": 100.0, "least_quality": 1.0}
    with live_service(bundles=bundles, redis_url=redis_url, **settings) as client:
        url = str(client.base_url).rstrip("/")
        ranker.seconds = 0.002  # 60 ms for 30 candidates, however slow the machine is besides
        for _ in range(5):
            assert len(ids(call(url))) == 20
        ranker.stop()
        with ThreadPoolExecutor(41) as pool:
            first = pool.submit(call, url)
            assert ranker.entered.wait(PATIENCE_S)
            # The event loop computes: the others wait in the kernel, and all come at once.
            sent = threading.Semaphore(0)
            others = [pool.submit(call, url, sent) for _ in range(40)]
            assert all(sent.acquire(timeout=PATIENCE_S) for _ in others)
            ranker.gate.set()
            answers = [one.result() for one in (first, *others)]
        served = [one for one in answers if one.status_code == 200]
        refused = [one for one in answers if one.status_code == 503]
        assert len(served) + len(refused) == 41
        assert served
        assert refused
        assert all(len(ids(one)) == 20 for one in served)
        for one in refused:
            assert one.headers["content-type"] == "application/problem+json"
            assert int(one.headers["retry-after"]) >= 1
            assert one.json()["code"] == "overloaded"
            assert one.json()["request_id"] == one.headers["x-request-id"]
        assert metric(url, "cascada_shed_total") == len(refused)
        assert metric(url, 'cascada_requests_total{route="/v1/recommend",status="503"}') == len(refused)
        # What needs no turn is never refused for the sake of lists.
        assert client.get("/v1/users/nobody").status_code == 404
        # It is over, and everybody is served again.
        ranker.seconds = 0.0
        for _ in range(10):
            assert len(ids(call(url))) == 20


def test_a_refusal_on_a_kept_connection_does_not_disturb_what_comes_after(
    bundles: Path, redis_url: str, ranker: SlowRanker
) -> None:
    settings: dict[str, Any] = {"redis_prefix": "kept", "latency_target_ms": 0.001}
    with live_service(bundles=bundles, redis_url=redis_url, **settings) as client:
        url = str(client.base_url).rstrip("/")
        for _ in range(3):
            call(url)
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as kept, ThreadPoolExecutor(20) as pool:
            ranker.seconds = 0.001
            noise = [pool.submit(call, url) for _ in range(400)]
            headers = {"X-Request-Id": "mine-1"}
            seen = set()
            while not all(one.done() for one in noise):
                answer = kept.post("/v1/recommend", json={"count": 3}, headers=headers)
                assert answer.headers["x-request-id"] == "mine-1"
                assert answer.status_code in (200, 503)
                if answer.status_code == 200:
                    assert len(ids(answer)) == 3
                seen.add(answer.status_code)
                assert kept.get("/healthz").json() == {"status": "alive"}
            assert 503 in seen
        ranker.seconds = 0.0
        assert len(ids(call(url))) == 20


def test_a_deadline_that_cannot_hold_all_candidates_ranks_fewer_and_says_so(
    bundles: Path, redis_url: str, ranker: SlowRanker
) -> None:
    placements = {"hurried": {"deadline_ms": 2_400, "count": 5}}
    settings: dict[str, Any] = {"redis_prefix": "widths", "placements": placements, "least_quality": 0.1}
    with live_service(bundles=bundles, redis_url=redis_url, **settings) as client:
        url = str(client.base_url).rstrip("/")
        ranker.seconds = 0.12  # 3.6 s for all 30: a busy machine may keep a call waiting for a second
        full = call(url, count=5)
        assert full.json()["degraded"] == []
        narrow = call(url, placement="hurried")
        assert len(ids(narrow)) == 5
        assert "width:rank" in narrow.json()["degraded"]
        assert "rank" not in narrow.json()["degraded"]
        # The caller's own deadline goes before the placement's.
        assert call(url, placement="hurried", deadline_ms=60_000).json()["degraded"] == []
        assert metric(url, 'cascada_degraded_total{cascade="recommend",part="width:rank"}') == 1


def test_late_answers_narrow_the_next_ones_until_they_are_in_time(
    bundles: Path, redis_url: str, ranker: SlowRanker
) -> None:
    settings: dict[str, Any] = {"redis_prefix": "late", "latency_target_ms": 50.0, "least_quality": 0.25}
    with live_service(bundles=bundles, redis_url=redis_url, **settings) as client:
        url = str(client.base_url).rstrip("/")
        ranker.seconds = 0.005  # 150 ms for all 30
        labels = [tuple(call(url, count=5).json()["degraded"]) for _ in range(12)]
        assert labels[0] == ()
        assert "width:rank" in labels[-1]
        assert metric(url, "cascada_quality ") < 1.0


def test_a_call_that_waited_in_the_line_beyond_its_deadline_is_refused(
    bundles: Path, redis_url: str, ranker: SlowRanker
) -> None:
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix="aged") as client:
        url = str(client.base_url).rstrip("/")
        ranker.stop()
        before = ranker.calls
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(call, url)
            assert ranker.entered.wait(PATIENCE_S)
            # The event loop computes: these wait in the kernel, where nobody sees them.
            sent = threading.Semaphore(0)
            late = [pool.submit(call, url, sent, deadline_ms=50) for _ in range(2)]
            assert all(sent.acquire(timeout=PATIENCE_S) for _ in late)
            time.sleep(0.5)
            ranker.gate.set()
            assert len(ids(first.result(PATIENCE_S))) == 20
            answers = [one.result(PATIENCE_S) for one in late]
        assert [one.status_code for one in answers] == [503, 503]
        assert all("deadline" in one.json()["detail"] for one in answers)
        assert ranker.calls == before + 1


def test_nothing_is_computed_for_a_client_who_left(bundles: Path, redis_url: str, ranker: SlowRanker) -> None:
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix="gone") as client:
        url = str(client.base_url).rstrip("/")
        host, port = client.base_url.host, client.base_url.port
        ranker.stop()
        body = b'{"count":5}'
        head = b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        raw = head + b"content-length: %d\r\n\r\n" % len(body) + body
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(call, url)
            assert ranker.entered.wait(PATIENCE_S)
            for _ in range(10):
                with socket.create_connection((host, port)) as leaver:
                    leaver.sendall(raw)
            calls = ranker.calls
            ranker.gate.set()
            first.result(PATIENCE_S)
        assert len(ids(call(url))) == 20
        assert ranker.calls == calls + 1
        assert metric(url, "cascada_client_gone_total") == 10
        assert metric(url, "cascada_in_progress") == 0
