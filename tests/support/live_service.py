"""The whole service in a thread of this process, over real HTTP and a real Redis."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from pydantic import SecretStr

from service.app import create_app
from service.process import Server, configuration
from service.settings import Settings

PATIENCE_S = 60.0
PATIENT = {
    "redis_read_timeout_ms": 10_000,
    "redis_write_timeout_ms": 10_000,
    "deadline_ms": 60_000,
    "latency_target_ms": 60_000,
}
"""Limits that no machine, however busy, makes an answer go without something; tests of limits set theirs."""


@contextmanager
def live_service(**settings: Any) -> Iterator[httpx.Client]:
    """A ready service; the client speaks to it."""
    defaults: dict[str, Any] = {
        "access_log": False,
        "follow_interval_ms": 20,
        "warmup_requests": 4,
        **PATIENT,
    }
    if isinstance(url := settings.get("redis_url"), str):
        settings["redis_url"] = SecretStr(url)
    failures: list[BaseException] = []
    app_settings = Settings(**{**defaults, **settings})
    app = create_app(app_settings, failures.append)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(configuration(app, app_settings), listener)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=base_url, timeout=PATIENCE_S) as client:
                _wait(client, failures)
                yield client
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "the service did not stop"


def _wait(client: httpx.Client, failures: list[BaseException]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if failures:
            raise failures[0]
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.01)
    raise TimeoutError("the service was not ready in time")


def ids(answer: httpx.Response) -> list[str]:
    """The item ids of a list."""
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def row_of(item_id: str) -> int:
    """The row of an item of the tiny world."""
    return int(item_id.removeprefix("item-"))
