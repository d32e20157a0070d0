"""From answers and clicks over real HTTP, through the logs in real Redis, to a bundle with honest chances."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from models.data.dataset import load_dataset, write_dataset
from service import command
from service.bundle import Bundle
from tests.support.live_service import PATIENCE_S, live_service
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_dataset import write_tiny_dataset

TOKEN = "operator's own token"
ANSWERS = 120
SHIFT = -1.0
"""Users click less than the bundle thinks, by so much in log-odds."""


def asked(client: httpx.Client, number: int) -> dict[str, object]:
    body = {"user_id": f"u{number}", "session": [{"item_id": f"item-{number}", "event": "view"}], "count": 20}
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def clicked(client: httpx.Client, seed: int) -> int:
    """Ask, and click as often as the shifted chances say."""
    rng, clicks = np.random.default_rng(seed), 0
    for number in range(ANSWERS):
        answer = asked(client, number)
        events = []
        for item in answer["items"]:  # type: ignore[attr-defined]
            odds = np.log(item["pctr"] / (1 - item["pctr"])) + SHIFT
            if rng.random() < 1 / (1 + np.exp(-odds)):
                event = {"user_id": f"u{number}", "item_id": item["item_id"], "event": "like"}
                events.append({**event, "request_id": answer["request_id"]})
        if events:
            told = client.post("/v1/events", json={"events": events}).json()
            assert told["accepted"] == len(events)
        clicks += len(events)
    return clicks


def test_from_logs_to_answers_with_honest_chances(
    tmp_path: Path, redis_url: str, redis_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles, version = tmp_path / "bundles", "20240101T000000Z-0badcafe"
    bundle = write_tiny_bundle(bundles, version)
    settings = {
        "bundles": bundles,
        "redis_url": redis_url,
        "redis_prefix": redis_prefix,
        "operator_token": SecretStr(TOKEN),
    }
    with live_service(**settings) as client:
        clicks = clicked(client, seed=3)
        assert clicks >= 200
        folder, table = write_tiny_dataset(tmp_path / "data"), tmp_path / "impressions.csv"
        call = ["impressions", "--redis-url", redis_url, "--redis-prefix", redis_prefix, "--event", "like"]
        deadline = time.monotonic() + PATIENCE_S
        wanted = f"{20 * ANSWERS:,} impressions, {clicks:,} clicked"
        while wanted not in capsys.readouterr().out:  # the log of answers is written after them
            assert time.monotonic() < deadline, wanted
            assert command.main([*call, "--delay-seconds", "0", "--out", str(table)]) == 0
        table.rename(folder / "impressions.csv")

        assert command.main(["calibrate", str(bundle), str(folder), "--kind", "platt"]) == 0
        told = capsys.readouterr().out
        assert f"{clicks:,} clicks" in told
        (written,) = (path for path in bundles.iterdir() if path.name != version)
        before = asked(client, 3)
        assert before["bundle_version"] == version, "a new folder changes nothing by itself"
        answer = client.post(
            f"/v1/bundles/{written.name}/activate", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert answer.status_code == 200, answer.text
        after = asked(client, 3)
        assert after["bundle_version"] == written.name
    new, old = Bundle.open(written).calibrator, Bundle.open(bundle).calibrator
    assert new.previous is not None
    assert new.previous.to_json() == old.to_json()
    chances = {one["item_id"]: one["pctr"] for one in before["items"]}  # type: ignore[attr-defined]
    for one in after["items"]:  # type: ignore[attr-defined]
        if one["item_id"] in chances:
            was = chances[one["item_id"]]
            logit = np.array([np.log(was / (1 - was))])  # the former calibrator is the identity
            assert one["pctr"] == pytest.approx(new.at("default")(logit)[0], rel=1e-3)
    assert {one["item_id"] for one in after["items"]} & set(chances)  # type: ignore[attr-defined]
    mean = np.mean([one["pctr"] for one in after["items"]])  # type: ignore[attr-defined]
    assert mean < np.mean(list(chances.values()))


def test_a_data_set_without_the_bundle_s_answers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, folder = write_tiny_bundle(tmp_path / "bundles"), write_tiny_dataset(tmp_path / "data")
    assert command.main(["calibrate", str(bundle), str(folder)]) == 2
    assert "no impressions; `cascada impressions` makes them" in capsys.readouterr().err
    head = "request_id,user_id,item_id,position,timestamp,clicked,pctr,bundle_version"
    (folder / "impressions.csv").write_text(f"{head}\nr1,3,item-1,0,1700000000000,true,0.5,another\n")
    assert command.main(["calibrate", str(bundle), str(folder)]) == 2
    assert "no impression was answered by bundle tiny-1; the versions there are another" in (
        capsys.readouterr().err
    )
    # The canonical form keeps both columns.
    dataset = load_dataset(folder)
    write_dataset(tmp_path / "again", dataset)
    again = load_dataset(tmp_path / "again")
    assert again.fingerprint == dataset.fingerprint
    assert again.impressions is not None
    assert again.impressions.pctr is not None
    assert again.impressions.bundle_versions == ["", "another"]
