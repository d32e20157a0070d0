"""Live items become part of the next bundle, and a worker that loads it lays only the rest over it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from models.data.dataset import load_dataset, write_dataset
from models.export.bundle import write_bundle
from models.training.run import train
from models.training.run_folder import read_run, write_run
from tests.support.live_service import ids, live_service
from tests.support.one_thread import one_thread
from tests.support.processes import cascada
from tests.support.trained import CONFIG, TrainedWorld, trained_world

__all__ = ["one_thread", "trained_world"]


def laid_over(client: httpx.Client) -> int:
    lines = client.get("/metrics").text.splitlines()
    return round(float(next(line.split()[1] for line in lines if line.startswith("cascada_live_items "))))


def test_live_items_are_folded_into_the_next_bundle(
    trained_world: TrainedWorld,
    redis_url: str,
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path / "data", trained_world.dataset)
    settings = {"redis_url": redis_url, "redis_prefix": "fold"}
    used = trained_world.dataset.item_ids[int(trained_world.dataset.event_item[0])]
    other = next(one for one in trained_world.dataset.item_ids if one != used)
    with live_service(bundle=trained_world.bundle, **settings) as client:
        same = {
            k: v for k, v in client.get(f"/v1/items/{other}").json().items() if k in ("title", "attributes")
        }
        client.put("/v1/items/a/new one", json={**same, "title": "Zyzzyva"}).raise_for_status()
        client.patch(f"/v1/items/{other}", json={"title": "Quokka"}).raise_for_status()
        client.delete(f"/v1/items/{used}").raise_for_status()
        assert laid_over(client) == 2
        told = cascada("fold", tmp_path / "data", "--url", str(client.base_url), "--out", tmp_path / "folded")
        assert told.returncode == 0, told.stderr
        assert "; 1 added, 1 changed, 1 deleted; " in told.stdout
        again = cascada(
            "fold", tmp_path / "data", "--url", str(client.base_url), "--out", tmp_path / "folded"
        )
        assert (again.returncode, "exists already" in again.stderr) == (1, True)
        variables = {"CASCADA_REDIS_PREFIX": "fold"}
        direct = cascada(
            "fold", tmp_path / "data", "--redis-url", redis_url, "--out", tmp_path / "direct", **variables
        )
        assert direct.stdout.rpartition(" ")[2] == told.stdout.rpartition(" ")[2]

    write_run(tmp_path / "run", train(load_dataset(tmp_path / "folded"), CONFIG))
    bundle = write_bundle(read_run(tmp_path / "run"), tmp_path / "bundles", datetime(2025, 1, 1, tzinfo=UTC))
    with live_service(bundle=bundle, **settings) as client:
        assert laid_over(client) == 0
        assert "a/new one" in ids(client.post("/v1/search", json={"query": "zyzzyva"}))
        assert other in ids(client.post("/v1/search", json={"query": "quokka"}))
        assert client.get(f"/v1/items/{used}").status_code == 404
        assert used not in ids(client.post("/v1/recommend", json={"count": 200}))
        client.patch("/v1/items/a/new one", json={"title": "Axolotl"}).raise_for_status()
        assert laid_over(client) == 1
        assert "a/new one" in ids(client.post("/v1/search", json={"query": "axolotl"}))
        assert ids(client.post("/v1/search", json={"query": "zyzzyva"})) != ["a/new one"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/nowhere", "--out", "OUT"], "/nowhere: no dataset.toml"),
        (["DATA", "--url", "http://127.0.0.1:1", "--out", "OUT"], "no service at http://127.0.0.1:1"),
        (["DATA", "--redis-url", "unix:///nowhere.sock", "--out", "OUT"], "cascada fold: "),
    ],
)
def test_fold_says_in_one_line_what_is_wrong(
    trained_world: TrainedWorld,
    tmp_path: Path,
    words: list[str],
    said: str,
) -> None:
    write_dataset(tmp_path / "data", trained_world.dataset)
    names = {"DATA": str(tmp_path / "data"), "OUT": str(tmp_path / "out")}
    result = cascada("fold", *(names.get(word, word) for word in words))
    assert result.returncode == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
