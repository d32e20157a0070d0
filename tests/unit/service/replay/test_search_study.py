from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.data.columns import Dataset, Queries
from models.data.dataset import write_dataset
from models.data.simulator import simulate
from service import command
from service.replay import search_study
from service.replay.search_study import STEPS, asks, before, compared, padded

TOML = """
threads = 1
history_length = 10
[tower]
dim = 8
layers = 1
epochs = 1
learning_rate = 0.01
[query]
buckets = 512
hidden = 8
epochs = 4
[retrieval]
clusters = 6
[preranker]
dim = 8
interests = 2
iterations = 1
epochs = 1
[ranker]
dim = 8
experts = 2
hidden = [8, 8]
activation = 8
candidates = 10
epochs = 1
[plan]
candidates = 40
ranked = 20
"""


@cache
def world() -> Dataset:
    """A simulated world in which every fifth event came of a search for a genre or a word of the title."""
    dataset, _ = simulate(users=80, items=90, seed=4, sessions=6.0)
    rows = np.arange(0, dataset.events, 5)
    texts = []
    for n, row in enumerate(rows.tolist()):
        record = dataset.item_records[dataset.event_item[row]]
        texts.append(record["genres"][0] if n % 2 else record["title"].split()[0])
    queries = Queries(
        texts, dataset.event_user[rows], dataset.event_item[rows], dataset.event_time_ms[rows] + 1
    )
    return replace(dataset, queries=queries)


def test_the_study_judges_every_step_and_prints_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "world", world())
    (tmp_path / "train.toml").write_text(TOML)
    call = [
        "evaluate",
        str(tmp_path / "world"),
        "--study",
        "search",
        "--config",
        str(tmp_path / "train.toml"),
    ]
    assert command.main([*call, "--json", str(tmp_path / "found.json")]) == 0
    (trial,) = json.loads((tmp_path / "found.json").read_text())["trials"]
    told = capsys.readouterr().out

    assert trial["degraded"] == 0
    assert trial["requests"] == trial["all"]["requests"] > 20
    steps = STEPS[:4]
    assert all(0 < trial["all"][step]["NDCG@10"] <= 1 for step in steps)
    assert all("p" in trial["all"][step] for step in steps[1:])
    # Words name the very item or its genre, so that a search by words must find something.
    assert trial["all"]["lexical"]["HR@10"] > 0.3
    assert trial["all"]["fused and personalised"]["NDCG@10"] > 0.5 * trial["all"]["lexical"]["NDCG@10"]
    (weights,) = trial["search"]
    assert set(weights) == set(search_study.FEATURES)
    assert all(f"| {step} " in told for step in steps)
    validated = trial["validated"]
    assert validated["searches"] > 20
    kept = validated["search_ndcg@10"] > validated["search_ndcg@10_unread"]
    assert (STEPS[4] in trial["all"]) == kept


def test_a_data_set_without_queries_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path / "world", replace(world(), queries=None))
    assert command.main(["evaluate", str(tmp_path / "world"), "--study", "search"]) == 2
    assert "wants a table of queries" in capsys.readouterr().err


def test_the_past_has_nothing_of_the_future() -> None:
    dataset = world()
    moment = int(dataset.event_time_ms[dataset.events // 2])
    past = before(dataset, moment)
    assert past.queries is not None
    assert past.event_time_ms.max() < moment
    assert past.queries.time_ms.max() < moment
    assert past.item_ids == dataset.item_ids
    assert len(past.event_placement) == len(past.event_session) == past.events


def test_a_request_has_all_that_was_taken_and_a_history_without_it() -> None:
    dataset = world()
    user, item, other = 0, int(dataset.event_item[dataset.event_user == 0][0]), 5
    late = int(dataset.event_time_ms.max()) + 1
    asked = Queries(
        ["Dark film", "dark FILM", "...", "dark film"],
        np.array([user, user, user, -1]),
        np.array([item, other, other, other]),
        np.array([late, late + 5, late, late]),
    )
    (ask,) = asks(dataset, asked)
    assert sorted(ask.relevant.tolist()) == sorted({item, other})
    assert ask.now_ms == late
    mine = dataset.event_item[dataset.event_user == user]
    kept = [dataset.item_ids[row] for row in mine.tolist() if row not in (item, other)]
    assert sorted(ask.record.item_ids) == sorted(kept)
    (early,) = asks(dataset, Queries(["x"], np.array([user]), np.array([other]), np.array([0])))
    assert list(early.record.item_ids) == []


def test_steps_are_compared_with_the_step_before() -> None:
    dataset = world()
    chosen = [
        search_study.Ask("x", np.array([row], np.int32), 0, search_study.UserId("u"), None)  # type: ignore[arg-type]
        for row in range(4)
    ]
    right = padded([ask.relevant for ask in chosen])
    wrong = right + dataset.items
    found = compared(
        {"lexical": wrong, "dense": right, "fused": right, "fused and personalised": wrong}, chosen
    )
    assert (found["lexical"]["NDCG@10"], found["dense"]["NDCG@10"]) == (0.0, 1.0)
    assert found["dense"]["better by"] == 1.0
    assert found["fused"]["p"] == 1.0
    assert found["fused and personalised"]["better by"] == -1.0
