from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data.columns import Queries
from models.data.splits import Split
from models.export.bundle import check_parity
from models.export.graphs import export_query
from models.graph import Graph
from models.training.config import QueryConfig
from models.training.query import misspelt, pairs_of, train_query, usable
from models.training.query_model import QueryModel
from retrieval.query_tower import QueryTower
from tests.unit.models.data.tiny import events_dataset, tiny_dataset

CONFIG = QueryConfig(
    buckets=2048, hidden=16, epochs=60, batch=32, dropout=0.0, word_dropout=0.0, temperature=0.07
)
GENRES = ("comedy", "western", "horror", "drama")
ITEMS = 40


def world() -> tuple[object, np.ndarray]:
    """Items of four genres, each near its genre's axis; titles are a genre's noun and a number."""
    nouns = ("laughter", "saddle", "vampire", "sorrow")
    records = [
        {"title": f"{nouns[row % 4]} {row}", "tags": [GENRES[row % 4]], "year": 1990} for row in range(ITEMS)
    ]
    rows = np.arange(ITEMS)
    dataset = replace(events_dataset(rows * 0, rows, rows), item_records=records)
    random = np.random.default_rng(0)
    directions = np.eye(4, 8)[rows % 4] + random.normal(0, 0.15, (ITEMS, 8))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return dataset, np.column_stack([directions, np.zeros(ITEMS)]).astype(np.float32)


@pytest.fixture(scope="module")
def trained() -> tuple[QueryModel, np.ndarray]:
    dataset, vectors = world()
    asked = Queries(
        ["spooky night"] * 4, np.full(4, -1, np.int32), np.array([2, 6, 10, 14], np.int32), np.arange(4)
    )
    return train_query(dataset, asked, vectors, CONFIG, 1), vectors


def best(model: QueryModel, vectors: np.ndarray, text: str, k: int) -> list[int]:
    return np.argsort(-(model.vectors([text])[0] @ vectors.T))[:k].tolist()


@pytest.mark.parametrize(
    ("text", "genre"), [*zip(GENRES, range(4), strict=True), ("spooky", 2), ("vampire", 2)]
)
def test_a_text_lies_where_its_items_are(trained, text, genre) -> None:
    assert {row % 4 for row in best(*trained, text, 5)} == {genre}


@pytest.mark.parametrize(("text", "genre"), [("wesern", 1), ("vampre", 2), ("COMÉDY", 0)])
def test_misspelt_words_lie_near_the_right_ones(trained, text, genre) -> None:
    found = [row % 4 for row in best(*trained, text, 5)]
    assert found.count(genre) >= 3


def test_the_same_seed_gives_the_same_tower() -> None:
    dataset, vectors = world()
    short = CONFIG.model_copy(update={"epochs": 1})
    one, other, third = (train_query(dataset, None, vectors, short, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.vectors(["horror"]), other.vectors(["horror"]))
    assert not np.array_equal(one.vectors(["horror"]), third.vectors(["horror"]))


def test_a_data_set_without_any_text_has_a_tower_that_has_met_nothing() -> None:
    dataset = events_dataset([0, 1], [0, 1], [1, 2])
    model = train_query(dataset, None, np.zeros((2, 5), np.float32), CONFIG, 0)
    assert not model.known.any()


def test_pairs_are_titles_attributes_and_queries() -> None:
    asked = Queries(["holiday"], np.array([0], np.int32), np.array([2], np.int32), np.array([1]))
    pairs = pairs_of(tiny_dataset(), asked)
    assert list(zip(pairs.texts, pairs.items.tolist(), pairs.sort.tolist(), strict=True)) == [
        ('Ärger "im" Paradies', 0, 0),
        ("b", 0, 1),
        ("a", 0, 1),
        ("Zwei, drei", 1, 0),
        ("holiday", 2, 2),
    ]


def test_queries_that_tell_of_held_out_events_are_left_out() -> None:
    # The events are (user 0, item 2), (1, 1), (0, 0), (0, 1) at 10, 20, 20, 30.
    asked = Queries(
        ["a", "b", "c", "d"],
        np.array([0, 0, -1, 1], np.int32),
        np.array([1, 2, 1, 2], np.int32),
        np.array([5, 6, 7, 40]),
    )
    dataset = tiny_dataset(queries=asked)
    split = Split(np.array([0, 1]), np.array([2]), np.array([3]))

    kept = usable(dataset, split, "leave-last-out")
    assert kept is not None
    assert kept.text == ["b", "c", "d"]
    kept = usable(dataset, split, "global-time")
    assert kept is not None
    assert kept.text == ["b", "c"]
    assert usable(tiny_dataset(), split, "leave-last-out") is None


def test_a_typo_is_one_letter() -> None:
    random = np.random.default_rng(0)
    found = {misspelt("vampire", random) for _ in range(200)}
    assert len(found) > 50
    assert all(abs(len(one) - 7) <= 1 for one in found)
    assert len(misspelt("", random)) <= 1


def test_serving_computes_what_training_did(trained) -> None:
    model = trained[0]
    graph = export_query(model)
    check_parity(graph)
    served = QueryTower(Graph.open(graph.onnx), model.reader)
    for text in ("horror", "laughter 8 saddle", "spooky vampre"):
        found = served.vector(text)
        assert found is not None
        np.testing.assert_allclose(found, model.vectors([text])[0], rtol=1e-4, atol=1e-4)
    assert served.vector("zzyzx qqq") is None
    assert served.vector("") is None
    assert served.vector("...") is None


def test_a_saved_model_is_the_same_when_loaded(trained, tmp_path: Path) -> None:
    model, vectors = trained
    model.save(tmp_path)
    loaded = QueryModel.load(tmp_path, CONFIG, vectors.shape[1] - 1)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.vectors(["drama"]), model.vectors(["drama"]))
    assert QueryModel.load(tmp_path / "nothing", CONFIG, 8) is None


def test_padding_and_absent_words_say_nothing(trained) -> None:
    tower = trained[0].tower
    words = torch.tensor([[3, 0, 0, 0], [3, 0, 0, 0]])
    grams = torch.tensor([[5, 6], [5, 6]])
    wide = torch.nn.functional.pad(words, (0, 9))
    torch.testing.assert_close(tower(words, grams), tower(wide, grams))
    assert torch.isfinite(tower(words * 0, grams * 0)).all()
