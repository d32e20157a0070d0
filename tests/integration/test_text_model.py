"""A text model from its folder to a search over HTTP: train, export, serve, and it is in the bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from models import artifacts
from models.artifacts import BundleError, read_manifest
from models.data.simulator import simulate
from models.export.bundle import write_bundle
from models.training.run import Trained, train
from models.training.run_folder import read_run, write_run
from service.bundle import Bundle
from tests.support.live_service import ids, live_service
from tests.support.text_model import paraphrase, title, write_text_model
from tests.support.tiny_bundle import reseal
from tests.support.trained import CONFIG, WHEN

ITEMS = 150


@dataclass(frozen=True)
class Made:
    """What was trained with a text model, and its bundle; the model's own folder is gone."""

    trained: Trained
    bundle: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("texts")
    source = write_text_model(folder / "tiny-model")
    simulated, _ = simulate(users=200, items=ITEMS, seed=11, sessions=6.0)
    records = [{**record, "title": title(row)} for row, record in enumerate(simulated.item_records)]
    query = CONFIG.query.model_copy(
        update={"text_model": str(source), "epochs": 150, "hidden": 64, "dropout": 0.0, "batch": 32}
    )
    trained = train(replace(simulated, item_records=records), CONFIG.model_copy(update={"query": query}))
    write_run(folder / "run", trained)
    shutil.rmtree(source)
    bundle = write_bundle(read_run(folder / "run"), folder / "bundles", WHEN)
    shutil.rmtree(folder / "run")
    return Made(trained, bundle)


@pytest.fixture(scope="module")
def served(made: Made, redis_url: str) -> Iterator[httpx.Client]:
    with live_service(bundles=made.bundle.parent, redis_url=redis_url, redis_prefix="text_model") as client:
        yield client


def test_a_paraphrase_without_a_common_word_finds_its_item(made: Made, served: httpx.Client) -> None:
    found = 0
    rows = range(0, ITEMS, 5)
    for row in rows:
        answer = served.post("/v1/search", json={"query": paraphrase(row), "count": 10, "explain": True})
        assert answer.json()["degraded"] == []
        proposed = {item["item_id"]: item["explain"]["sources"] for item in answer.json()["items"]}
        sources = proposed.get(made.trained.dataset.item_ids[row], [])
        found += [one["source"] for one in sources] == ["dense"]
    assert found > 0.7 * len(rows)


def test_words_still_count(made: Made, served: httpx.Client) -> None:
    best = ids(served.post("/v1/search", json={"query": title(17)}))[:3]
    assert made.trained.dataset.item_ids[17] in best
    assert ids(served.post("/v1/search", json={"query": "zzyzx"})) == []


def test_a_long_query_is_answered_by_its_beginning(served: httpx.Client) -> None:
    query = (paraphrase(20) + " ") * 1000
    answer = served.post("/v1/search", json={"query": query[:10_000], "explain": True})
    assert answer.json()["degraded"] == []
    assert ids(answer)
    assert answer.json()["timings_ms"]["hydrate.query_tower"] >= 0


def test_the_bundle_carries_the_model_and_vouches_for_it(made: Made, tmp_path: Path) -> None:
    files = {
        f"{artifacts.TEXT_MODEL}/{name}" for name in ("tokenizer.json", "onnx/model.onnx", "modules.json")
    }
    assert files <= set(read_manifest(made.bundle).files)
    bundle = Bundle.open(made.bundle)
    assert bundle.query_tower is not None
    texts = [paraphrase(3), "quick", "Ancient ships!"]
    expected = made.trained.encoders.query.vectors(texts)
    for text, row in zip(texts, expected, strict=True):
        np.testing.assert_allclose(bundle.query_tower.vector(text), row, rtol=1e-3, atol=1e-4)

    spoilt = shutil.copytree(made.bundle, tmp_path / made.bundle.name)
    (spoilt / artifacts.TEXT_MODEL / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match=r"text_model/tokenizer\.json: sha256 is"):
        Bundle.open(spoilt)


def test_another_tokenizer_than_the_trained_one_is_refused(made: Made, tmp_path: Path) -> None:
    other = shutil.copytree(made.bundle, tmp_path / made.bundle.name)
    path = other / artifacts.TEXT_MODEL / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["post_processor"] = None
    path.write_text(json.dumps(raw))
    reseal(other)
    with pytest.raises(
        BundleError, match=r"parity\.npz: text_model reads a text otherwise than was recorded"
    ):
        Bundle.open(other)
