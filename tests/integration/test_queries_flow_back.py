"""From a search and a click over real HTTP, through real Redis, to rows that training reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from models.data.columns import ABSENT
from models.data.dataset import load_dataset
from service import command
from tests.support.live_service import PATIENCE_S, ids, live_service
from tests.support.tiny_dataset import write_tiny_dataset

PREFIX = "flow-back"


@pytest.fixture(scope="module")
def client(bundles: Path, redis_url: str) -> Iterator[httpx.Client]:
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix=PREFIX) as client:
        yield client


def search(client: httpx.Client, query: str, user: str | None) -> tuple[str, list[str]]:
    answer = client.post("/v1/search", json={"query": query, "user_id": user})
    return answer.json()["request_id"], ids(answer)


def click(client: httpx.Client, user: str, item: str, request_id: str | None, kind: str = "like") -> None:
    event = {"user_id": user, "item_id": item, "event": kind, "request_id": request_id}
    assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1


def taken(redis_url: str, folder: Path, *more: str) -> list[list[str]]:
    """The rows that the command writes, once the log of answers is written."""
    out = folder / "queries.csv"
    call = ["queries", "--redis-url", redis_url, "--redis-prefix", PREFIX, "--out", str(out), *more]
    assert command.main(call) == 0
    return [line.split(",")[:3] for line in out.read_text().splitlines()[1:]]


def test_a_click_after_a_search_becomes_a_training_pair(
    client: httpx.Client, redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id, items = search(client, "Western, 1970", "3")
    click(client, "3", items[2], request_id)
    click(client, "3", items[2], request_id)  # again: counts once
    click(client, "3", items[4], request_id, "view")
    click(client, "3", "item-7", request_id)  # was not in the answer
    click(client, "3", items[0], None)  # did not come of a search
    click(client, "4", items[0], request_id)  # somebody else
    stranger, found = search(client, "日本 horror", None)
    click(client, "5", found[0], stranger)
    listed = client.post("/v1/recommend", json={"user_id": "3"}).json()
    click(client, "3", listed["items"][0]["item_id"], listed["request_id"])
    deadline = time.monotonic() + PATIENCE_S
    while len(taken(redis_url, tmp_path)) < 3:
        assert time.monotonic() < deadline, "the searches were not logged in time"
        time.sleep(0.1)

    folder = write_tiny_dataset(tmp_path / "data")
    (tmp_path / "queries.csv").rename(folder / "queries.csv")
    dataset = load_dataset(folder)
    assert dataset.queries is not None
    loaded = [
        (dataset.user_ids[user], text, dataset.item_ids[item])
        for user, text, item in zip(
            dataset.queries.user, dataset.queries.text, dataset.queries.item, strict=True
        )
    ]
    assert sorted(loaded) == sorted(
        [("3", "Western, 1970", items[2]), ("3", "Western, 1970", items[4]), ("5", "日本 horror", found[0])]
    )
    assert ABSENT not in dataset.queries.user
    assert "3 items taken after 2 searches" in capsys.readouterr().out

    assert len(taken(redis_url, tmp_path, "--event", "view")) == 1


def test_a_deleted_user_leaves_no_pair(client: httpx.Client, redis_url: str, tmp_path: Path) -> None:
    request_id, items = search(client, "drama", "to-be-gone")
    click(client, "to-be-gone", items[0], request_id)
    deadline = time.monotonic() + PATIENCE_S
    while not any(row[0] == "to-be-gone" for row in taken(redis_url, tmp_path)):
        assert time.monotonic() < deadline, "the search was not logged in time"
        time.sleep(0.1)
    assert client.delete("/v1/users/to-be-gone").status_code == 204
    assert not any(row[0] == "to-be-gone" for row in taken(redis_url, tmp_path))


def test_a_redis_that_is_not_there_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "queries.csv"
    call = ["queries", "--redis-url", f"unix://{tmp_path}/nothing.sock", "--out", str(out)]
    assert command.main(call) == 2
    assert capsys.readouterr().err.startswith("cascada queries: ")
    assert not out.exists()
    assert command.main(["queries", "--redis-url", "nonsense", "--out", str(out)]) == 2
