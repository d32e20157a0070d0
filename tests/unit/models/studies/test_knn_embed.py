import json
from dataclasses import replace

import numpy as np
import pytest

from models.studies import knn_embed
from models.studies.knn_embed import (
    SINGLES,
    VARIANTS,
    VECTOR,
    Unseen,
    World,
    judged,
    pairwise_distance,
    prepared,
    study,
)
from models.studies.towers import run
from models.training.config import TrainConfig
from retrieval.clusters import unit
from tests.unit.models.studies.worlds import CONFIG, split_world

SMALL = 30
DEPTHS = (10, 20, 30)
CLUSTERS = 12
TINY = TrainConfig.model_validate(
    CONFIG.model_dump() | {"retrieval": {"clusters": CLUSTERS}, "plan": {"interests": 4, "neighbours": 10}}
)


@pytest.fixture(scope="module")
def world() -> World:
    return prepared(run(split_world(), TINY, 0, "validate"), TINY)


def seen_of(world: World, r: int) -> np.ndarray:
    return world.trial.features.timeline.item[world.requests.begin[r] : world.requests.end[r]]


class TestUnseen:
    VECTORS = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    QUERIES = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    SEEN = np.array([3, 7, 7, 39], np.int32)
    CELLS = (np.arange(40) % 4).astype(np.int32)

    def expected(self, q: int, allowed: np.ndarray) -> list[int]:
        scores = self.VECTORS @ self.QUERIES[q]
        return sorted(np.flatnonzero(allowed).tolist(), key=lambda row: -scores[row])

    def test_it_finds_the_exact_best_that_were_not_seen(self):
        scores, rows = Unseen(self.VECTORS, self.SEEN).search(self.QUERIES, 10)
        allowed = ~np.isin(np.arange(40), self.SEEN)
        for q in range(3):
            assert rows[q].tolist() == self.expected(q, allowed)[:10]
            np.testing.assert_allclose(scores[q], self.VECTORS[rows[q]] @ self.QUERIES[q], rtol=1e-5)

    def test_beyond_what_there_is_are_pads(self):
        _, rows = Unseen(self.VECTORS, self.SEEN).search(self.QUERIES, 40)
        assert (rows[:, :37] >= 0).all()
        assert (rows[:, 37:] == -1).all()

    def test_each_query_keeps_to_its_cluster_and_one_without_any_is_free(self):
        index = Unseen(self.VECTORS, self.SEEN, self.CELLS)
        index.only = np.array([2, -1, 3], np.int32)
        _, rows = index.search(self.QUERIES, 40)
        unseen = ~np.isin(np.arange(40), self.SEEN)
        for q, cluster in enumerate([2, -1, 3]):
            allowed = unseen & ((cluster == self.CELLS) | (cluster < 0))
            assert rows[q][rows[q] >= 0].tolist() == self.expected(q, allowed)

    def test_without_clusters_nobody_is_restricted(self):
        index = Unseen(self.VECTORS, self.SEEN)
        index.only = np.array([2, 2, 2], np.int32)
        assert (index.search(self.QUERIES, 30)[1] >= 0).all()


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_distance_is_the_mean_over_pairs(count):
    units = unit(np.random.default_rng(count).normal(size=(count, 6)).astype(np.float32))
    pairs = [1 - float(units[i] @ units[j]) for i in range(count) for j in range(i)]
    assert pairwise_distance(units) == pytest.approx(np.mean(pairs) if pairs else 0.0, abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_every_variant_proposes_so_many_unseen_items(world, variant, monkeypatch):
    monkeypatch.setattr(knn_embed, "CANDIDATES", SMALL)
    proposed = []

    def kept(index, interests, wanted):
        found = knn_embed_retrieve(index, interests, wanted)
        proposed.append(found.rows)
        assert wanted == SMALL
        return found

    knn_embed_retrieve = knn_embed.retrieve
    monkeypatch.setattr(knn_embed, "retrieve", kept)
    found = judged(world, variant)
    assert len(proposed) == len(world.requests) > 20
    items = world.trial.features.dataset.items
    for r, rows in enumerate(proposed):
        seen = seen_of(world, r)
        assert not np.isin(rows, seen).any()
        assert len(np.unique(rows)) == len(rows)
        everything = min(SMALL, items - len(np.unique(seen)))
        assert len(rows) <= everything if variant.restricted else len(rows) == everything
        assert found["clusters"][r] == len(np.unique(world.assignments["learned"][rows]))
    assert set(np.flatnonzero(found["items"])) == set(np.concatenate(proposed).tolist())


def test_restricted_interests_stay_in_few_clusters_and_random_clusters_are_of_the_same_sizes(
    world, monkeypatch
):
    monkeypatch.setattr(knn_embed, "CANDIDATES", SMALL)
    by_name = {variant.name: judged(world, variant) for variant in VARIANTS if "each" in variant.name}
    assert by_name["both, each in its cluster only"]["clusters"].max() <= world.plan.interests
    learned, random = (np.bincount(world.assignments[name]) for name in ("learned", "random"))
    np.testing.assert_array_equal(learned, random)
    assert (world.assignments["learned"] != world.assignments["random"]).any()


def test_the_users_own_vector_alone_is_the_exact_search(world, monkeypatch):
    monkeypatch.setattr(knn_embed, "CANDIDATES", SMALL)
    monkeypatch.setattr(knn_embed, "DEPTHS", DEPTHS)
    found = judged(world, next(variant for variant in VARIANTS if variant.name == VECTOR))
    for r in range(0, len(world.requests), 7):
        scores = world.space.vectors @ world.vectors[r]
        scores[seen_of(world, r)] = -np.inf
        best = np.argsort(-scores, kind="stable")
        relevant = world.requests.relevant[r][world.requests.relevant[r] >= 0]
        for depth in DEPTHS:
            assert found[f"recall@{depth}"][r] == np.isin(relevant, best[:depth]).mean()


def test_the_mean_of_the_history_weighs_kinds_of_events(world):
    rows = np.array([10, 20], np.int32)
    asked = knn_embed.alone(world, "history", 0, rows, np.array([1, 3], np.float32))
    direction = unit((world.space.vectors[10, :-1] + 3 * world.space.vectors[20, :-1])[None])[0]
    np.testing.assert_allclose(unit(asked.queries[:, :-1])[0], direction, atol=1e-5)
    assert np.linalg.norm(asked.queries[0, :-1]) == pytest.approx(
        np.linalg.norm(world.vectors[0, :-1]), rel=1e-4
    )
    assert asked.queries[0, -1] == world.vectors[0, -1]


@pytest.mark.parametrize("name", [SINGLES[0], "mixture, no smoothing (lam 1)"])
def test_the_plans_weights_of_event_kinds_are_used(world, name, monkeypatch):
    monkeypatch.setattr(knn_embed, "CANDIDATES", SMALL)
    variant = next(variant for variant in VARIANTS if variant.name == name)
    heavy = replace(world, plan=replace(world.plan, event_weights={"buy": 20.0}))
    assert (judged(world, variant)["distance"] != judged(heavy, variant)["distance"]).any()


def test_the_figures_of_a_study_are_complete_plain_and_repeat(monkeypatch):
    monkeypatch.setattr(knn_embed, "CANDIDATES", SMALL)
    monkeypatch.setattr(knn_embed, "VARIANTS", VARIANTS[:3] + VARIANTS[-3:-2])
    monkeypatch.setattr(knn_embed, "USERS", 40)
    found = study(split_world(), TINY, [0], fit="validate")
    assert set(found) == {"dataset", "protocol", "config", "candidates", "clusters", "trials"}
    assert (found["candidates"], found["clusters"]) == (SMALL, CLUSTERS)
    trial = found["trials"][0]
    assert set(trial) == {"seed", "seconds", "users", "variants", "by length"}
    assert trial["users"] == 40
    assert len(trial["variants"]) == 4
    figures = {*(f"recall@{depth}" for depth in knn_embed.DEPTHS), "distance", "clusters", "items"}
    for other in SINGLES:
        figures |= {f"{key} against {other}{p}" for key in ("recall@500", "distance") for p in ("", ", p")}
    assert all(set(line) == figures for line in trial["variants"].values())
    assert trial["variants"][VECTOR][f"recall@500 against {VECTOR}"] == 0
    assert sum(each["users"] for each in trial["by length"].values()) == 40
    json.dumps(found, allow_nan=False)
    again = study(split_world(), TINY, [0], fit="validate")
    assert again["trials"][0]["variants"] == trial["variants"]


def test_a_user_with_one_event_is_in_the_shortest_bucket(world):
    one = replace(
        world, requests=replace(world.requests, begin=world.requests.end - 1, end=world.requests.end)
    )
    nothing = {"recall@500": np.zeros(len(one.requests)), "distance": np.zeros(len(one.requests))}
    told = knn_embed.compared(one, dict.fromkeys((*SINGLES, "other"), nothing))
    assert list(told["by length"]) == ["1-5"]
