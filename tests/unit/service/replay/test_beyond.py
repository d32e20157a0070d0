"""`cascada evaluate --bundle`: what lists are beyond accuracy, and along the diversity knob."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data.dataset import write_dataset
from models.data.splits import leave_last_out
from models.training.held_out import held_out
from models.training.timeline import Timeline
from service.bundle import Bundle
from service.replay.beyond import COLUMNS, DEPTH, Yardstick
from service.replay.command import main
from service.replay.knob import STRENGTHS
from tests.support.trained import TrainedWorld, train_tiny


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TrainedWorld:
    return train_tiny(tmp_path_factory.getbasetemp() / "trained")


@pytest.fixture(scope="module")
def evaluated(world: TrainedWorld, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The figures, and the folder of the picture `knob.svg`."""
    folder = tmp_path_factory.mktemp("evaluated")
    write_dataset(folder / "world", world.dataset)
    options = ["--baselines", "popularity", "--against", "thompson=1", "--knob"]
    files = ["--json", str(folder / "found.json"), "--picture", str(folder / "knob.svg")]
    assert main([str(folder / "world"), "--bundle", str(world.bundle), *options, *files]) == 0
    return json.loads((folder / "found.json").read_text()), folder


def test_every_list_has_every_figure(evaluated: tuple[dict[str, Any], Path]) -> None:
    found, _ = evaluated
    assert (
        set(found["beyond"]) == set(found["lists"]) >= {"final list", "final list, thompson=1", "popularity"}
    )
    for name, each in found["beyond"].items():
        assert set(each) == set(COLUMNS), name
        assert all(
            0 <= each[column] <= 1 for column in COLUMNS if column not in ("novelty", "DPFR", "diversity")
        )
    final, popular = found["beyond"]["final list"], found["beyond"]["popularity"]
    assert final["novelty"] > popular["novelty"]
    assert final["Gini"] < popular["Gini"]
    assert popular["serendipity"] < final["serendipity"]
    assert popular["DPFR"] > final["DPFR"]


def test_the_knob_trades_likeness_for_distance_by_both_methods(
    evaluated: tuple[dict[str, Any], Path],
) -> None:
    found, folder = evaluated
    lines = found["knob"]
    assert [(line["method"], line["strength"]) for line in lines] == [
        ("none", 0.0),
        *((method, strength) for method in ("dpp", "mmr") for strength in STRENGTHS),
    ]
    for method in ("dpp", "mmr"):
        distance = [line["diversity"] for line in lines if line["method"] in ("none", method)]
        assert distance == sorted(distance)
        assert distance[-1] > distance[0] + 0.05
    assert lines[0]["NDCG@10"] == pytest.approx(found["lists"]["final list"]["NDCG@10"])
    assert "<svg" in (folder / "knob.svg").read_text()


def test_a_picture_of_another_form_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["world", "--bundle", "bundles", "--picture", "knob.gif"])
    assert "draws .png and .svg" in capsys.readouterr().err


def test_lists_of_the_most_popular_unseen_items_are_what_was_expected(world: TrainedWorld) -> None:
    dataset, split = world.dataset, leave_last_out(world.dataset)
    timeline = Timeline(dataset)
    requests = held_out(timeline, split.test)
    vectors = np.asarray(Bundle.open(world.bundle).item_vectors)[:, :-1]
    yardstick = Yardstick.of(dataset, timeline, split, requests, vectors)
    found = yardstick.measure(yardstick.expected)
    assert yardstick.expected.shape == (len(requests), DEPTH)
    assert found["serendipity"] == 0
    for row in range(0, len(requests), 17):
        known = timeline.item[requests.begin[row] : requests.end[row]]
        mine = yardstick.expected[row]
        assert not np.isin(mine, known).any()
        left = np.setdiff1d(np.arange(dataset.items), [*known, *mine])
        assert yardstick.counts[left].max() <= yardstick.counts[mine].min()


def test_training_leaves_a_posterior_that_serving_can_explore_by(world: TrainedWorld) -> None:
    posterior = Bundle.open(world.bundle).posterior
    assert posterior == world.trained.posterior
    assert posterior is not None
    assert posterior.prior > 0
