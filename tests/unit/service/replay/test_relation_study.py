from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.data.columns import Dataset, Relations
from models.data.dataset import write_dataset
from models.plan import Plan
from models.training.config import TrainConfig
from retrieval.neighbours import top_neighbours
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Request
from service.engine import Engine
from service.replay import relation_study
from service.replay.command import main
from service.replay.relation_study import (
    RELATIONS,
    SOURCES,
    Found,
    World,
    best_weights,
    candidates,
    nearest,
    shipped,
    study,
    truth_of,
)
from service.replay.relation_tables import tell_relations
from tests.support.dual import add_dual_vectors
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import NOW_MS
from tests.unit.models.studies.worlds import CONFIG, split_world


@pytest.fixture(scope="module")
def related() -> Dataset:
    """The simulated world; what stands next is similar, what stands further on goes along."""
    world = split_world()
    rows = np.arange(world.items, dtype=np.int32)
    pairs = [(0, 1), (0, 2), (1, 2), (1, 5), (1, 6)]
    return replace(
        world,
        relations=Relations(
            np.tile(rows, len(pairs)),
            np.concatenate([(rows + step) % world.items for _, step in pairs]).astype(np.int32),
            np.repeat([kind for kind, _ in pairs], world.items).astype(np.int8),
        ),
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relation_study, "WINDOWS_DAYS", (1.0,))
    monkeypatch.setattr(relation_study, "TEMPERATURES", (0.2, 0.4))


def test_anchors_have_an_event_and_both_relations(related: Dataset) -> None:
    events = np.flatnonzero(related.event_item > 4)
    truth = truth_of(related, events)
    assert set(truth.anchors.tolist()) == set(related.event_item[events].tolist())
    row = int(np.flatnonzero(truth.anchors == 10)[0])
    assert truth.known["similar"][row].tolist() == [11, 12]
    assert truth.known["complementary"][row].tolist() == [12, 15, 16]
    assert truth.alone["similar"][row].tolist() == [11]
    assert truth.alone["complementary"][row].tolist() == [15, 16]


def test_without_relations_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relation_study, "train_dual", None)
    with pytest.raises(ValueError, match=r"no table of relations to judge by; see docs/training\.md"):
        study(split_world(), CONFIG, [0])


def test_too_few_anchors_are_counted(related: Dataset) -> None:
    few = replace(
        related, relations=Relations(*(np.zeros(0, kind) for kind in (np.int32, np.int32, np.int8)))
    )
    with pytest.raises(ValueError, match="0 items with an event have both relations, 4 are needed"):
        study(few, CONFIG, [0])


def test_nearest_leaves_the_anchor_out() -> None:
    vectors = np.eye(20, dtype=np.float32) + 0.1
    found = nearest(vectors, vectors, np.array([3, 5], np.int32))
    assert found.shape == (2, 10)
    assert 3 not in found[0]


def test_weights_are_those_whose_lists_are_best(related: Dataset) -> None:
    truth = truth_of(related, np.arange(related.events)).at(np.arange(6))
    rows = np.tile(np.arange(40, dtype=np.int32), (6, 1))
    hit = (rows[:, :, None] == truth.known["similar"][:, None, :]).any(axis=2).astype(np.float32)
    noise = np.random.default_rng(0).random(rows.shape).astype(np.float32)
    found = Found(rows, {"cosine": noise, "together": noise, "alike": noise, "company": hit})
    chosen = best_weights(found, truth, "similar")
    assert chosen["company"] > max(chosen.get(name, 0.0) for name in ("cosine", "alike"))


def test_places_without_a_candidate_stay_empty() -> None:
    rows = np.array([[4, -1, 7, -1]], np.int32)
    terms = dict.fromkeys(("cosine", "together", "alike", "company"), np.full((1, 4), 0.5, np.float32))
    best = Found(rows, terms).best({"cosine": 1.0})
    assert best[0, :2].tolist() == [4, 7]
    assert (best[0, 2:] == -1).all()


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_list_that_is_judged_is_the_one_that_is_served(tmp_path: Path, relation: str) -> None:
    bundle = Bundle.open(add_dual_vectors(write_tiny_bundle(tmp_path), unmet=(12, 16, 17)))
    plan = replace(bundle.plan, depth="retrieve")
    engine = Engine.build(bundle, NullObserver(), plan=plan)
    assert bundle.complements is not None
    none = top_neighbours([], 1)
    dual = bundle.complements
    units = bundle.item_vectors[:, :-1]
    world = World(plan, units, dual.inward, dual.outward, bundle.neighbours, none)
    anchors = np.array([0, 4, 8], np.int32)
    judged = candidates(world, anchors, SOURCES[relation]).best(shipped(plan)[relation])
    for anchor, expected in zip(anchors, judged, strict=True):
        asked = Request(kind=Kind(relation), item_id=ItemId(f"item-{anchor}"), count=10)
        outcome = engine.run(engine.hydrate(asked, None, Moment("r", NOW_MS)))
        assert outcome.rows.tolist() == expected.tolist()


def test_a_study_is_complete_plain_and_repeats(related: Dataset, small: None) -> None:
    config = CONFIG.model_copy(update={"plan": {"ranked": 30}})
    found = study(related, config, [0], fit="final")
    json.dumps(found, allow_nan=False)
    (trial,) = found["trials"]
    assert abs(trial["anchors"]["chosen on"] - trial["anchors"]["judged on"]) <= 1
    assert len(trial["window and temperature, validation NDCG@10"]) == 2
    for line in trial["methods"].values():
        for relation in RELATIONS:
            assert 0 <= line[relation] <= 1
            assert line[f"{relation} listed alone"] <= line[f"{relation} listed"] <= 1
    assert trial["methods"]["similar: the service's list"]["similar, p"] == 1
    assert study(related, config, [0], fit="final") == found
    told = tell_relations(found)
    assert "| skip-gram, in with out" in told
    assert "Weights, complementary: shipped company 1, alike -0.5" in told


def test_the_command_prints_the_tables_and_refuses_a_set_without_relations(
    related: Dataset, small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "related", related)
    write_dataset(tmp_path / "plain", split_world())
    (tmp_path / "train.toml").write_text(
        'threads = 1\n[split]\nprotocol = "given"\n[tower]\ndim = 8\nlayers = 1\nepochs = 0\n'
    )
    asked = ["--study", "relations", "--config", str(tmp_path / "train.toml"), "--fit", "final"]
    assert main([str(tmp_path / "related"), *asked, "--json", str(tmp_path / "found.json")]) == 0
    told = capsys.readouterr().out
    assert "Related items on" in told
    assert json.loads((tmp_path / "found.json").read_text())["trials"][0]["seed"] == 0
    assert main([str(tmp_path / "plain"), *asked]) == 2
    assert "no table of relations" in capsys.readouterr().err


def test_the_plan_of_the_configuration_is_what_is_judged() -> None:
    config = TrainConfig.model_validate({"plan": {"similar_weights": {"cosine": 1.0}}})
    assert shipped(config.base_plan())["similar"] == {"cosine": 1.0}
    assert shipped(Plan())["complementary"] == Plan().complementary_weights
