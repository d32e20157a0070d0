"""Activation and rollback over HTTP: which bundle is served, who follows, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from models import artifacts
from tests.integration.test_workers import series, until, workers
from tests.support.live_service import PATIENCE_S, ids, live_service
from tests.support.processes import LIMIT_S, serving
from tests.support.tiny_bundle import reseal, write_tiny_bundle

TOKEN = "operator's own token"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three versions of the same world, the newest first served."""
    for version, created in (("v1", "2024-01-01"), ("v2", "2024-02-01"), ("v3", "2024-03-01")):
        write_tiny_bundle(tmp_path / "bundles", version, f"{created}T00:00:00Z")
    return tmp_path / "bundles"


@contextmanager
def service(folder: Path, redis_url: str, prefix: str, **settings: Any) -> Iterator[httpx.Client]:
    token = SecretStr(TOKEN)
    options = {"bundles": folder, "redis_url": redis_url, "redis_prefix": prefix, "operator_token": token}
    with live_service(**{**options, **settings}) as client:
        yield client


def activate(client: httpx.Client, version: str) -> httpx.Response:
    return client.post(f"/v1/bundles/{version}/activate", headers=OPERATOR)


def served(client: httpx.Client) -> str:
    answer = client.post("/v1/recommend", json={"count": 3})
    assert len(ids(answer)) == 3
    return str(answer.json()["bundle_version"])


def listed(client: httpx.Client) -> dict[str, Any]:
    found = client.get("/v1/bundles").json()
    return {one["version"]: one for one in found["bundles"]} | {"pinned": found["pinned"]}


def test_activate_roll_back_and_back_again(folder: Path, redis_url: str, redis_prefix: str) -> None:
    with service(folder, redis_url, redis_prefix) as client:
        assert served(client) == "v3"
        assert [(v, one["active"], one["before"]) for v, one in listed(client).items() if v != "pinned"] == [
            ("v3", True, False),
            ("v2", False, True),
            ("v1", False, False),
        ]
        answer = activate(client, "v1").json()
        assert (answer["version"], answer["before"], answer["pinned"]) == ("v1", "v3", True)
        assert served(client) == client.get("/readyz").json()["bundle_version"] == "v1"
        assert listed(client)["v3"]["before"]
        for version in ("v3", "v1"):
            assert client.post("/v1/bundles/rollback", headers=OPERATOR).json()["version"] == version
            assert served(client) == version
        # To activate what is served already keeps what was before.
        assert activate(client, "v1").json()["before"] == "v3"
        metrics = client.get("/metrics").text
        assert 'cascada_bundle_info{created="2024-01-01T00:00:00Z"' in metrics
        assert 'version="v3"' not in metrics
        assert 'cascada_bundle_swaps_total{result="activated"} 3.0' in metrics
        assert "cascada_bundle_behind 0.0" in metrics


def test_without_a_choice_the_next_older_version_is_rolled_back_to(
    folder: Path, redis_url: str, redis_prefix: str
) -> None:
    with service(folder, redis_url, redis_prefix) as client:
        assert client.post("/v1/bundles/rollback", headers=OPERATOR).json()["version"] == "v2"


def test_with_one_version_there_is_nothing_to_go_back_to(
    bundles: Path, redis_url: str, redis_prefix: str
) -> None:
    with service(bundles, redis_url, redis_prefix) as client:
        answer = client.post("/v1/bundles/rollback", headers=OPERATOR)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "no bundle to go back to" in answer.json()["detail"]


def test_a_pinned_version_outlives_a_restart_and_newer_folders_until_it_is_released(
    folder: Path, redis_url: str, redis_prefix: str
) -> None:
    with service(folder, redis_url, redis_prefix) as client:
        activate(client, "v1")
    write_tiny_bundle(folder, "v4", "2024-04-01T00:00:00Z")
    with service(folder, redis_url, redis_prefix) as client:
        assert (served(client), listed(client)["pinned"]) == ("v1", True)
        answer = activate(client, "latest").json()
        assert (answer["version"], answer["before"], answer["pinned"]) == ("v4", "v1", False)
        assert (served(client), listed(client)["pinned"]) == ("v4", False)
    write_tiny_bundle(folder, "v5", "2024-05-01T00:00:00Z")
    with service(folder, redis_url, redis_prefix) as client:
        assert served(client) == "v5"


def test_a_pinned_version_that_is_gone_is_no_reason_not_to_serve(
    folder: Path, redis_url: str, redis_prefix: str
) -> None:
    with service(folder, redis_url, redis_prefix) as client:
        activate(client, "v1")
    shutil.move(folder / "v1", folder.parent / "v1")
    with service(folder, redis_url, redis_prefix) as client:
        assert served(client) == "v3"
        until(lambda: "cascada_bundle_behind 1.0" in client.get("/metrics").text, "it says that it is behind")


@pytest.mark.parametrize("harm", ["hash", "parity", "placement"])
def test_a_bad_bundle_is_refused_and_the_old_one_goes_on(
    folder: Path, redis_url: str, redis_prefix: str, harm: str
) -> None:
    bad, settings = folder / "v1", {}
    if harm == "hash":
        (bad / artifacts.RANKER).write_bytes(b"no graph")
    elif harm == "parity":
        shutil.copy(bad / artifacts.PRERANKER, bad / artifacts.RANKER)
        reseal(bad)
    else:
        schema = json.loads((bad / artifacts.SCHEMA).read_bytes())
        schema["event_kinds"] = []
        artifacts.write_json(bad / artifacts.SCHEMA, schema)
        reseal(bad)
    with service(folder, redis_url, redis_prefix, **settings) as client:
        answer = activate(client, "v1")
        assert (answer.status_code, answer.json()["code"]) == (409, "bad-bundle")
        assert answer.json()["detail"].startswith("v1/"), "without the folder's path"
        assert served(client) == "v3"
        assert listed(client)["v1"]["refused"] == answer.json()["detail"]
        assert 'cascada_bundle_swaps_total{result="refused"} 1.0' in client.get("/metrics").text
        assert activate(client, "v2").status_code == 200


def test_an_unknown_version_and_a_broken_folder_are_named(
    folder: Path, redis_url: str, redis_prefix: str
) -> None:
    (folder / "v2" / artifacts.MANIFEST).write_text("{")
    with service(folder, redis_url, redis_prefix) as client:
        answer = activate(client, "v2")
        assert answer.status_code == 404
        assert "has v3, v1" in answer.json()["detail"]
        (broken,) = client.get("/v1/bundles").json()["broken"]
        assert broken["folder"] == "v2"
        assert broken["reason"].startswith("v2/manifest.json")


def test_only_the_operator_may(folder: Path, redis_url: str, redis_prefix: str) -> None:
    keys = (SecretStr("a caller's key"),)
    with service(folder, redis_url, redis_prefix, api_keys=keys) as client:
        for path in ("/v1/bundles/v1/activate", "/v1/bundles/rollback"):
            for given, status in (("wrong", 401), ("a caller's key", 403)):
                answer = client.post(path, headers={"Authorization": f"Bearer {given}"})
                assert answer.status_code == status
                assert TOKEN not in answer.text
        assert client.get("/v1/bundles").status_code == 401
        assert client.get("/v1/bundles", headers=OPERATOR).status_code == 200
        assert activate(client, "v1").status_code == 200


def test_without_a_token_nobody_may(folder: Path, redis_url: str, redis_prefix: str) -> None:
    with service(folder, redis_url, redis_prefix, operator_token=None) as client:
        answer = activate(client, "v1")
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
        assert "CASCADA_OPERATOR_TOKEN" in answer.json()["detail"]
        assert served(client) == "v3"


def test_where_the_settings_name_the_bundle_none_is_chosen(
    folder: Path, redis_url: str, redis_prefix: str
) -> None:
    with service(folder, redis_url, redis_prefix) as client:
        activate(client, "v1")
    with service(folder, redis_url, redis_prefix, bundle=folder / "v2") as client:
        assert served(client) == "v2"
        answer = activate(client, "v3")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "CASCADA_BUNDLE" in answer.json()["detail"]


def test_live_items_are_in_the_other_bundle_at_once(folder: Path, redis_url: str, redis_prefix: str) -> None:
    with service(folder, redis_url, redis_prefix) as client:
        body = {"title": "Brand new", "attributes": {"genres": ["drama"]}}
        assert client.put("/v1/items/brand-new", json=body).is_success
        assert client.delete("/v1/items/item-3").is_success
        activate(client, "v1")
        assert "brand-new" in ids(client.post("/v1/search", json={"query": "brand new", "count": 3}))
        assert client.post("/v1/similar", json={"item_id": "item-3"}).status_code == 404


def test_two_replicas_follow_one_another(folder: Path, redis_url: str, redis_prefix: str) -> None:
    with (
        service(folder, redis_url, redis_prefix) as one,
        service(folder, redis_url, redis_prefix) as other,
    ):
        activate(one, "v1")
        until(lambda: served(other) == "v1", "the other replica follows")
        until(lambda: listed(one)["v1"]["workers"] == 2, "both tell what they serve")
        assert other.post("/v1/bundles/rollback", headers=OPERATOR).json()["version"] == "v3"
        until(lambda: served(one) == "v3", "the first replica follows")


def test_two_workers_follow_under_load_and_no_call_is_lost(folder: Path) -> None:
    variables = {"CASCADA_OPERATOR_TOKEN": TOKEN, "CASCADA_ACCESS_LOG": "false"}
    with serving("--workers", "2", "--bundles", folder, **variables) as (process, url):
        until(lambda: series(url)["cascada_ready"] == 2, "two workers are ready")
        seen, stop = Counter[tuple[int, str]](), threading.Event()

        def call() -> None:
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
                while not stop.is_set():
                    answer = client.post("/v1/recommend", json={"user_id": "u1", "count": 5})
                    seen[answer.status_code, str(answer.json().get("bundle_version"))] += 1

        callers = [threading.Thread(target=call) for _ in range(6)]
        for caller in callers:
            caller.start()
        try:
            until(lambda: (200, "v3") in seen, "calls come")
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
                for version in ("v1", "v2", "v1"):
                    assert activate(client, version).json()["version"] == version
                    until(lambda v=version: listed(client)[v]["workers"] == 2, "both workers serve it")
                    until(lambda v=version: (200, v) in seen, "a call was answered from it")
        finally:
            stop.set()
            for caller in callers:
                caller.join(LIMIT_S)
        assert all(status == 200 for status, _ in seen), seen
        assert {version for _, version in seen} == {"v1", "v2", "v3"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def test_a_worker_that_is_replaced_serves_what_was_activated(folder: Path) -> None:
    variables = {"CASCADA_OPERATOR_TOKEN": TOKEN, "CASCADA_ACCESS_LOG": "false"}
    with serving("--workers", "2", "--bundles", folder, **variables) as (process, url):
        until(lambda: series(url)["cascada_ready"] == 2, "two workers are ready")
        for version, pinned in (("v1", True), ("latest", False)):
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
                write_tiny_bundle(folder, f"newer-{version}", "2025-01-01T00:00:00Z")
                chosen = activate(client, version).json()
                assert chosen["pinned"] is pinned
                until(lambda: listed(client)[chosen["version"]]["workers"] == 2, "both serve it")  # noqa: B023
            restarts = series(url)["cascada_worker_restarts_total"]
            os.kill(workers(process.pid)[0], signal.SIGKILL)
            write_tiny_bundle(folder, f"newest-{version}", "2026-01-01T00:00:00Z")
            until(lambda n=restarts + 1: series(url)["cascada_worker_restarts_total"] == n, "it is replaced")
            until(lambda: series(url)["cascada_ready"] == 2, "the replacement is ready")
            for _ in range(10):  # each on a connection of its own
                assert (
                    httpx.get(f"{url}/readyz", timeout=LIMIT_S).json()["bundle_version"] == chosen["version"]
                )
