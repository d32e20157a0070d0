"""`cascada serve --workers N`: one address, several processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.live_service import ids
from tests.support.processes import LIMIT_S, cascada, serving
from tests.support.tiny_bundle import write_tiny_bundle

WORKER = "service.workers.worker"


@contextmanager
def team_of_two(*words: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Two workers, both ready. Nobody reads their log, so they do not log calls."""
    with serving("--workers", "2", *words, CASCADA_ACCESS_LOG="false") as (process, url):
        until(lambda: series(url)["cascada_ready"] == 2, "two workers are ready")
        yield process, url


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while True:
        with suppress(httpx.TransportError):  # a worker that was just killed took the call with it
            if true():
                return
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(pid: int) -> list[int]:
    return [child for child in children(pid) if WORKER in command(child)]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sockets(pid: int) -> set[str]:
    """Inodes of the sockets that a process has open."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.add(os.readlink(link))
    return {name.removeprefix("socket:[").removesuffix("]") for name in found if name.startswith("socket:")}


def accepted(listening: int, callers: set[int]) -> set[str]:
    """Inodes of the connections to a port of this machine that came from these ports and were accepted."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [(*(int(word.rpartition(":")[2], 16) for word in row[1:3]), row[9]) for row in rows]
    return {inode for here, there, inode in ends if here == listening and there in callers and inode != "0"}


def series(url: str) -> dict[str, float]:
    """Sums over labels."""
    found: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=LIMIT_S).text):
        for sample in family.samples:
            found[sample.name] += sample.value
    return found


def recommend(url: str, **body: object) -> httpx.Response:
    return httpx.post(f"{url}/v1/recommend", json=body, timeout=LIMIT_S)


@pytest.fixture(scope="module")
def team(bundles: Path) -> Iterator[tuple[int, str]]:
    """Two workers with a redis-server of the parent's."""
    with team_of_two("--bundles", bundles) as (process, url):
        yield process.pid, url
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def test_one_redis_and_two_workers_that_both_take_connections_of_a_burst(team: tuple[int, str]) -> None:
    parent, url = team
    both = workers(parent)
    assert len(both) == 2
    assert len([child for child in children(parent) if "redis-server" in command(child)]) == 1
    address = httpx.URL(url).host, httpx.URL(url).port
    with ExitStack() as stack:
        # They say nothing, so that no worker closes one of them because it said nothing more.
        burst = [stack.enter_context(socket.create_connection(address, LIMIT_S)) for _ in range(40)]
        ports = {one.getsockname()[1] for one in burst}

        def taken() -> list[int]:
            ours = accepted(address[1], ports)
            return [len(ours & sockets(pid)) for pid in both]

        until(lambda: sum(taken()) == 40, "all are taken")
        # How many each takes is up to who gets a core: see tests/unit/service/test_acceptor.py.
        assert min(taken()) >= 1, taken()


def test_one_scrape_has_the_calls_of_all(team: tuple[int, str]) -> None:
    _, url = team
    before = series(url)["cascada_answers_total"]
    for _ in range(30):
        assert len(ids(recommend(url, user_id="counted"))) == 20
    # A worker that is slow to tell is counted as it was known before.
    until(lambda: series(url)["cascada_answers_total"] == before + 30, "all are counted")


def test_an_item_s_change_reaches_every_worker(team: tuple[int, str]) -> None:
    _, url = team
    shown = ids(recommend(url, count=5))[0]
    answer = httpx.patch(f"{url}/v1/items/{shown}", json={"available": False}, timeout=LIMIT_S)
    assert answer.status_code == 200, answer.text

    def gone_everywhere() -> bool:
        # Each call is a connection of its own, so that it meets either worker.
        return all(shown not in ids(recommend(url, count=5)) for _ in range(20))

    until(gone_everywhere, "the hidden item is gone from both workers")


def test_a_worker_that_dies_is_replaced_and_nothing_that_was_counted_is_lost(team: tuple[int, str]) -> None:
    parent, url = team
    recommend(url)
    before = series(url)
    victim, other = workers(parent)
    os.kill(victim, signal.SIGKILL)
    until(lambda: not alive(victim), "the worker is dead")
    for _ in range(10):
        assert len(ids(recommend(url))) == 20
    answers = before["cascada_answers_total"] + 10
    until(lambda: series(url)["cascada_answers_total"] == answers, "all are counted")
    restarts = before["cascada_worker_restarts_total"] + 1
    until(lambda: series(url)["cascada_worker_restarts_total"] == restarts, "it is replaced")
    until(lambda: series(url)["cascada_ready"] == 2, "the replacement is ready")
    assert other in workers(parent)
    assert victim not in workers(parent)
    until(lambda: series(url)["cascada_answers_total"] == answers, "all are counted still")


def test_the_end_is_everybody_s(bundles: Path) -> None:
    with team_of_two("--bundles", bundles) as (process, _):
        family = children(process.pid)
        assert len(family) == 3
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130
        assert not any(alive(pid) for pid in family)


def test_workers_do_not_outlive_a_parent_that_is_killed(bundles: Path) -> None:
    with team_of_two("--bundles", bundles) as (process, _):
        family = children(process.pid)
        process.kill()
        process.wait(LIMIT_S)
        until(lambda: not any(alive(pid) for pid in family), "all children are gone")


def test_workers_that_cannot_start_end_the_service_with_one_line(bundles: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(bundles / "tiny-1", tmp_path / "broken")
    content = bytearray((broken / "item_vectors.npy").read_bytes())
    content[-1] ^= 1
    (broken / "item_vectors.npy").write_bytes(content)
    result = cascada("serve", "--bundle", broken, "--port", "0", "--workers", "2")
    assert result.returncode == 1
    said = [line for line in result.stderr.splitlines() if line.startswith("cascada serve: ")]
    assert len(said) == 1
    assert "item_vectors.npy" in said[0]
    assert "Traceback" not in result.stderr


def test_a_replacement_serves_what_the_others_serve(tmp_path: Path, redis_url: str) -> None:
    write_tiny_bundle(tmp_path, "first", "2024-01-01T00:00:00Z")
    with team_of_two("--bundles", tmp_path, "--redis-url", redis_url) as (process, url):
        write_tiny_bundle(tmp_path, "second", "2025-01-01T00:00:00Z")
        for victim in workers(process.pid):
            os.kill(victim, signal.SIGKILL)
        until(lambda: series(url)["cascada_worker_restarts_total"] == 2, "both are replaced")
        until(lambda: series(url)["cascada_ready"] == 2, "both are ready")
        assert {recommend(url).json()["bundle_version"] for _ in range(10)} == {"first"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
