from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import artifacts
from models.data.columns import Dataset
from models.export.bundle import check_parity
from models.export.graphs import TEXTS, export_query
from models.graph import Graph
from models.training.config import ConfigError, QueryConfig
from models.training.query import train_query
from models.training.query_model import EncodedQuery, QueryModel, text_model
from retrieval.query_tower import QueryTower
from retrieval.text_encoder import TextEncoder
from tests.support.text_model import NOUNS, paraphrase, title, write_text_model
from tests.unit.models.data.tiny import events_dataset

ITEMS = 60
CONFIG = QueryConfig(hidden=64, epochs=150, batch=32, dropout=0.0, buckets=2048)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_model(tmp_path_factory.mktemp("models") / "tiny")


def world() -> tuple[Dataset, np.ndarray]:
    """Items anywhere in the space, each with a title of two words."""
    rows = np.arange(ITEMS)
    records = [{"title": title(row), "tags": [NOUNS[row % len(NOUNS)][0]]} for row in range(ITEMS)]
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = np.column_stack([vectors, np.zeros(ITEMS)]).astype(np.float32)
    return replace(events_dataset(rows * 0, rows, rows), item_records=records), table


@pytest.fixture(scope="module")
def trained(folder: Path) -> tuple[QueryModel, np.ndarray]:
    dataset, vectors = world()
    return train_query(dataset, None, vectors, CONFIG, 1, TextEncoder.open(folder)), vectors


def hits(model: QueryModel, vectors: np.ndarray, texts: list[str]) -> float:
    """Share of texts, one per item in order, that find their item among the best three."""
    scores = model.vectors(texts) @ vectors.T
    better = (scores > np.diag(scores)[:, None]).sum(axis=1)
    return float((better < 3).mean())


def test_a_paraphrase_without_a_common_word_finds_its_item(trained: tuple[QueryModel, np.ndarray]) -> None:
    dataset, vectors = world()
    texts = [paraphrase(row) for row in range(ITEMS)]
    assert hits(*trained, texts) > 0.8
    assert hits(*trained, [title(row) for row in range(ITEMS)]) > 0.8
    hashed = train_query(dataset, None, vectors, CONFIG.model_copy(update={"epochs": 20}), 1)
    assert hits(hashed, vectors, texts) < 0.3


def test_serving_computes_what_training_did(trained: tuple[QueryModel, np.ndarray]) -> None:
    model = trained[0]
    graph = export_query(model)
    check_parity(graph)
    served = QueryTower(Graph.open(graph.onnx), model.reader)
    for text in ("quick car", "merry ocean of the thief", "Rapid AUTOMOBILE!", "car " * 2500):
        found = served.vector(text)
        assert found is not None
        np.testing.assert_allclose(found, model.vectors([text])[0], rtol=1e-4, atol=1e-4)
    assert served.vector("zzyzx") is None
    assert served.vector("") is None


def test_a_saved_model_is_the_same_when_loaded_without_its_source(
    trained: tuple[QueryModel, np.ndarray], tmp_path: Path
) -> None:
    model, vectors = trained
    model.save(tmp_path)
    loaded = QueryModel.load(tmp_path, CONFIG.model_copy(update={"text_model": "gone"}), vectors.shape[1] - 1)
    assert isinstance(loaded, EncodedQuery)
    np.testing.assert_array_equal(loaded.vectors(["big ship"]), model.vectors(["big ship"]))
    kept = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {
        "query_tower.safetensors",
        *(f"{artifacts.TEXT_MODEL}/{name}" for name in ("tokenizer.json", "modules.json", "onnx/model.onnx")),
        f"{artifacts.TEXT_MODEL}/sentence_bert_config.json",
        f"{artifacts.TEXT_MODEL}/1_Pooling/config.json",
    }


def test_the_same_seed_gives_the_same_tower(folder: Path) -> None:
    dataset, vectors = world()
    short = CONFIG.model_copy(update={"epochs": 1, "dropout": 0.2})
    encoder = TextEncoder.open(folder)
    one, other, third = (train_query(dataset, None, vectors, short, seed, encoder) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.vectors(["car"]), other.vectors(["car"]))
    assert not np.array_equal(one.vectors(["car"]), third.vectors(["car"]))


def test_probes_are_the_texts_and_their_vectors(trained: tuple[QueryModel, np.ndarray], folder: Path) -> None:
    found = trained[0].probes(TEXTS)
    assert found["text_model/texts"].tolist() == list(TEXTS)
    np.testing.assert_allclose(found["text_model/vectors"], TextEncoder.open(folder).encode(TEXTS), rtol=1e-5)


def test_a_configured_folder_that_is_none_is_refused_by_its_key(tmp_path: Path) -> None:
    assert text_model(QueryConfig(), 1) is None
    with pytest.raises(ConfigError, match=r"query\.text_model: .*nowhere: no such folder"):
        text_model(QueryConfig(text_model=str(tmp_path / "nowhere")), 1)
