"""`cascada serve` and `cascada load` as processes."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.live_redis import Proxy
from tests.support.live_service import ids, live_service
from tests.support.processes import LIMIT_S, cascada, serving
from tests.support.tiny_dataset import write_tiny_dataset


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    return result.stderr.strip().splitlines()[-1]


def test_no_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    result = cascada("serve", "--bundles", tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        f"cascada serve: no bundle in {tmp_path}: make one with `cascada export RUN --out {tmp_path}`\n"
    )


def test_a_flipped_bit_is_refused_with_the_file_and_both_hashes(bundles: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(bundles / "tiny-1", tmp_path / "broken")
    content = bytearray((broken / "item_vectors.npy").read_bytes())
    content[-1] ^= 1
    (broken / "item_vectors.npy").write_bytes(content)
    result = cascada("serve", "--bundle", broken, "--port", "0")
    assert result.returncode == 1
    assert "item_vectors.npy" in last_line(result)
    assert len(re.findall(r"\b[0-9a-f]{64}\b", last_line(result))) == 2
    assert "Traceback" not in result.stderr


def test_a_busy_port_is_one_sentence(bundles: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = cascada("serve", "--bundles", bundles, "--port", str(port))
    assert result.returncode == 1
    assert last_line(result) == (
        f"cascada serve: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another with --port or CASCADA_PORT"
    )


@pytest.mark.parametrize(
    ("variables", "words"),
    [({"CASCADA_PROT": "1"}, "did you mean CASCADA_PORT?"), ({"CASCADA_PERMITS": "0"}, "CASCADA_PERMITS")],
)
def test_a_wrong_setting_is_one_line(bundles: Path, variables: dict[str, str], words: str) -> None:
    result = cascada("serve", "--bundles", bundles, **variables)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_a_redis_that_cannot_start_ends_the_service(bundles: Path, tmp_path: Path) -> None:
    fake = tmp_path / "redis-server"
    fake.write_text("#!/bin/sh\necho 'no memory for you'\nexit 1\n")
    fake.chmod(0o755)
    result = cascada("serve", "--bundles", bundles, "--port", "0", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert result.returncode == 1
    assert "no memory for you" in last_line(result)


def test_it_serves_with_a_redis_of_its_own_and_leaves_nothing(bundles: Path) -> None:
    with serving("--bundles", bundles) as (process, url):
        answer = httpx.post(f"{url}/v1/recommend", json={"user_id": "u"}, timeout=LIMIT_S)
        assert len(ids(answer)) == 20
        assert answer.json()["degraded"] == []
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert child
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in child)


def test_an_interrupt_ends_it_with_130(bundles: Path, redis_url: str) -> None:
    with serving("--bundles", bundles, "--redis-url", redis_url) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130


def test_asked_by_a_signal_it_says_what_it_does_and_goes_on(bundles: Path, redis_url: str) -> None:
    with serving("--bundles", bundles, "--redis-url", redis_url) as (process, url):
        assert process.stderr is not None
        process.send_signal(signal.SIGUSR1)
        told: list[str] = []
        while not any("service/follower.py" in line for line in told):
            assert len(told) < 1000, told
            told.append(process.stderr.readline())
        assert any(line.startswith("Current thread") for line in told)
        assert any(line.startswith("Task ") for line in told)
        assert len(ids(httpx.post(f"{url}/v1/recommend", json={}, timeout=LIMIT_S))) == 20
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def test_a_call_in_progress_is_finished_before_the_end(bundles: Path, redis_url: str, tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = Proxy(tmp_path, redis_url)
    running = proxy.running()

    def on_loop(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(LIMIT_S)

    on_loop(running.__aenter__())
    try:
        with serving("--bundles", bundles, "--redis-url", proxy.url) as (process, url):
            proxy.holding = True
            answers: list[httpx.Response] = []
            call = threading.Thread(
                target=lambda: answers.append(
                    httpx.post(f"{url}/v1/recommend", json={"user_id": "u"}, timeout=LIMIT_S)
                )
            )
            call.start()
            deadline = time.monotonic() + LIMIT_S
            while "\ncascada_in_progress 1.0\n" not in httpx.get(f"{url}/metrics", timeout=LIMIT_S).text:
                assert time.monotonic() < deadline, "the call never came"
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)  # it hears the signal before the call has what it waits for
            proxy.holding = False
            call.join(LIMIT_S)
            assert len(ids(answers[0])) == 20
            assert answers[0].json()["degraded"] == []
            assert process.wait(LIMIT_S) == 0
    finally:
        proxy.holding = False
        on_loop(running.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


def test_load_brings_users_and_events_and_nothing_twice(
    client: httpx.Client, dataset: Path, redis_url: str
) -> None:
    from models.data.dataset import load_dataset

    data = load_dataset(dataset)
    url = str(client.base_url)
    first = cascada("load", dataset, "--url", url)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(
        f"loaded {data.users:,} users and {data.events:,} events of {data.name} in "
    )
    assert first.stderr == ""
    user = data.user_ids[0]
    mine = [data.item_ids[row] for row in data.event_item[data.event_user == 0]]
    shown = client.get(f"/v1/users/{user}").json()
    assert [event["item_id"] for event in shown["events"]][::-1] == mine
    assert shown["attributes"] == data.user_records[0]
    again = cascada("load", dataset, "--url", url)
    assert f"({data.events:,} were there already)" in again.stdout
    assert len(client.get(f"/v1/users/{user}").json()["events"]) == len(mine)
    direct = cascada("load", dataset, "--redis-url", redis_url, CASCADA_REDIS_PREFIX="test_serve")
    assert f"({data.events:,} were there already)" in direct.stdout


def test_load_presents_a_key(bundles: Path, dataset: Path, redis_url: str) -> None:
    from pydantic import SecretStr

    keys = (SecretStr("s3cret"),)
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix="load_key", api_keys=keys) as client:
        url = str(client.base_url)
        refused = cascada("load", dataset, "--url", url)
        assert refused.returncode == 1
        assert "401" in refused.stderr
        assert cascada("load", dataset, "--url", url, CASCADA_API_KEYS="s3cret").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/nowhere"], "/nowhere: no dataset.toml"),
        (["DATASET", "--url", "http://127.0.0.1:1"], "no service at http://127.0.0.1:1"),
        (["DATASET", "--redis-url", "unix:///nowhere.sock"], "cascada load: "),
    ],
)
def test_load_says_in_one_line_what_is_wrong(dataset: Path, words: list[str], said: str) -> None:
    result = cascada("load", *(str(dataset) if word == "DATASET" else word for word in words))
    assert result.returncode == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
