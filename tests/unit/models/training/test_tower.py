from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.data.splits import known_items
from models.data.vocabulary import build_schema
from models.networks.user_tower import UserTower
from models.training import tower
from models.training.batches import Batch
from models.training.config import TowerConfig
from models.training.features import Features
from models.training.judge import Judge
from models.training.timeline import Requests
from models.training.tower import Towers, started, train_towers
from tests.support.simulated import HISTORY, simulated_world
from tests.unit.models.data.tiny import events_dataset

SMALL = TowerConfig(dim=16, layers=1, heads=1, epochs=2, batch=32, learning_rate=0.01, dropout=0.1)
NOBODY = slice(0, 0)


def learn(seed: int = 0, validate: bool = True, **changes) -> Towers:
    world = simulated_world()
    validation = world.validation if validate else world.validation.at(NOBODY)
    config = TowerConfig.model_validate(SMALL.model_dump() | changes)
    return train_towers(world.features, world.split.train, validation, config, seed)


def test_without_validation_the_last_epoch_stays():
    towers = learn(validate=False)
    assert (towers.epoch, towers.best) == (SMALL.epochs, 0.0)


def test_with_validation_the_epoch_that_it_likes_best_stays(monkeypatch):
    verdicts, vectors = iter([0.2, 0.3, 0.5, 0.5, 0.1]), []

    def judged(towers: Towers, held_out: Judge) -> float:
        vectors.append(towers.item_vectors().copy())
        return next(verdicts)

    monkeypatch.setattr(tower, "_judged", judged)
    towers = learn(epochs=4)
    assert (towers.epoch, towers.best) == (2, 0.5)
    world = simulated_world()
    known = known_items(world.features.dataset, world.split.train)
    np.testing.assert_allclose(towers.item_vectors()[known], vectors[2][known], rtol=1e-5, atol=1e-6)
    assert not np.allclose(vectors[2][known], vectors[4][known], atol=1e-3)


def test_a_start_that_no_epoch_beats_stays(monkeypatch):
    verdicts = iter([0.5, 0.4, 0.3])
    monkeypatch.setattr(tower, "_judged", lambda towers, held_out: next(verdicts))
    towers = learn(start="spectral")
    assert (towers.epoch, towers.best) == (0, 0.5)
    monkeypatch.undo()
    np.testing.assert_array_equal(towers.item_vectors(), learn(start="spectral", epochs=0).item_vectors())


@pytest.mark.parametrize("validate", [True, False])
def test_a_low_pass_filter_needs_no_epoch(validate):
    world = simulated_world()
    towers = learn(
        validate=validate, epochs=0, encoder="mean", start="low-pass", length="free", graph_share=0.0
    )
    assert towers.epoch == 0
    queries = towers.user_vectors(world.features.batch(world.validation))
    found = world.ndcg(world.validation, queries, towers.item_vectors())
    assert found > 2 * world.popularity_ndcg(world.validation)


def test_what_validation_said_is_what_the_towers_do():
    world = simulated_world()
    towers = learn()
    queries = towers.user_vectors(world.features.batch(world.validation))
    # Items without a training event lose their ids afterwards, which may move the figure a little.
    found = world.ndcg(world.validation, queries, towers.item_vectors())
    assert towers.best == pytest.approx(found, abs=0.02)


def test_a_spectral_start_is_ahead_after_one_epoch():
    """At a rate at which one epoch moves little."""
    random = learn(epochs=1, learning_rate=0.002, graph_share=0.0, start="random")
    spectral = learn(epochs=1, learning_rate=0.002, graph_share=0.0, start="spectral")
    assert spectral.best > 1.15 * random.best


def test_what_the_items_start_from():
    world = simulated_world()
    config = TowerConfig(dim=16, layers=1, heads=1, start="spectral", graph_share=0.3, length="free")
    items, _ = started(world.features, world.split.train, config, 0)
    known = torch.from_numpy(known_items(world.features.dataset, world.split.train))
    assert not items.unit_length
    assert (items.id.weight[~known] == 0).all()
    assert not torch.allclose(items.identities()[known], items.id.weight[known])
    plain, _ = started(world.features, world.split.train, SMALL.model_copy(update={"graph_share": 0.0}), 0)
    assert plain.unit_length
    torch.testing.assert_close(plain.identities(), plain.id.weight)


@pytest.mark.parametrize(
    "changes",
    [
        {"graph_share": 0.3},
        {"length": "free"},
        {"views_weight": 0.1},
        {"start": "spectral"},
        {"start": "low-pass", "length": "free"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_option_learns_and_repeats_with_its_seed(changes):
    world = simulated_world()
    one, same = learn(**changes), learn(**changes)
    assert one.best == same.best
    np.testing.assert_array_equal(one.item_vectors(), same.item_vectors())
    assert one.best > 2 * world.popularity_ndcg(world.validation)


def test_an_item_without_a_training_event_is_placed_by_its_content_alone():
    world = simulated_world()
    fewer = world.split.train[world.features.dataset.event_item[world.split.train] >= 5]
    known = torch.from_numpy(known_items(world.features.dataset, fewer))
    towers = train_towers(world.features, fewer, world.validation.at(NOBODY), SMALL, 0)
    vectors = torch.from_numpy(towers.item_vectors())
    with torch.no_grad():
        as_new = towers.items.new(towers.items.tokens)
    torch.testing.assert_close(vectors[~known], as_new[~known])
    assert not torch.isclose(vectors[known], as_new[known]).all(dim=1).any()


def planted_sets(seed: int = 0, users: int = 160) -> Features:
    """Users of four camps, ten events each in random order, most of the camp's twelve items; item 0 is
    everybody's."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        own = 1 + np.arange(12) * 4 + user % 4
        rows.append(rng.permutation(np.append(rng.choice(own, 9, replace=False), 0)))
    items = np.concatenate(rows)
    return features_of(events_dataset(np.repeat(np.arange(users), 10), items, np.arange(len(items))))


def features_of(dataset) -> Features:
    schema = build_schema(dataset, np.arange(dataset.events), history_length=HISTORY)
    return Features.of(dataset, schema)


def stranger(features: Features) -> Batch:
    """Somebody without any event."""
    zero = np.zeros(1, np.int64)
    asked = Requests(np.zeros(1, np.int32), np.zeros(1, np.int32), zero, np.zeros(1, np.int16), zero, zero)
    return features.batch(asked)


def test_sets_are_learned_where_order_says_nothing():
    features = planted_sets()
    dataset = features.dataset
    last = np.unique(dataset.event_user[::-1], return_index=True)[1]
    held = np.sort(dataset.events - 1 - last)
    train = np.delete(np.arange(dataset.events), held)
    requests = features.timeline.requests(held)
    config = TowerConfig.model_validate(SMALL.model_dump() | {"encoder": "mean", "epochs": 6})
    towers = train_towers(features, train, requests, config, 0)
    scores = towers.user_vectors(features.batch(requests)) @ towers.item_vectors().T
    rest = requests.target > 0
    same_camp = (np.arange(1, dataset.items)[None] - 1) % 4 == (requests.target[:, None] - 1) % 4
    best = scores[:, 1:].argsort(axis=1)[:, ::-1][:, :8]
    assert np.take_along_axis(same_camp, best, axis=1)[rest].mean() > 0.9


@pytest.mark.parametrize(("encoder", "forbidden"), [("mean", "positions"), ("hstu", "others")])
def test_only_sets_are_asked_for_each_event_from_the_others(monkeypatch, encoder, forbidden):
    """Read at its own place, an event of a set would be its own answer."""

    def never(*inputs: object) -> None:
        raise AssertionError(forbidden)

    monkeypatch.setattr(UserTower, forbidden, never)
    assert learn(validate=False, epochs=1, encoder=encoder).epoch == 1


@pytest.mark.parametrize("encoder", ["hstu", "mean"])
def test_a_stranger_is_shown_what_most_go_for(encoder):
    """Each of 160 users has item 0, and nothing else is as popular: it is among the first three of 49."""
    features = planted_sets()
    events = np.arange(features.dataset.events)
    none = features.timeline.requests(events[:1]).at(NOBODY)
    towers = train_towers(
        features, events, none, SMALL.model_copy(update={"epochs": 6, "encoder": encoder}), 0
    )
    scores = (towers.user_vectors(stranger(features)) @ towers.item_vectors().T)[0]
    assert np.isfinite(scores).all()
    assert 0 in scores.argsort()[::-1][:3]


def test_columns_that_nobody_uses_do_not_change_the_loss():
    """Short histories may be cut to the longest of their batch."""
    world = simulated_world()
    config = TowerConfig.model_validate(SMALL.model_dump() | {"dropout": 0.0, "id_dropout": 0.0})
    items, users = started(world.features, world.split.train, config, 0)
    windows = world.features.windows(world.split.train, ordered=True)
    short = np.flatnonzero(windows.history.mask.sum(axis=1) < HISTORY // 2)[:20]
    assert len(short) >= 5
    batch = Batch.of(windows.history, world.features.profiles[windows.user]).at(torch.from_numpy(short))
    target = torch.from_numpy(windows.target[short].astype(np.int64))
    table = items.all()

    def loss(batch: Batch, target: torch.Tensor) -> torch.Tensor:
        queries = users.positions(batch.events(table), batch.kind, batch.gap, batch.mask, batch.profile)
        real = target >= 0
        return F.cross_entropy(queries[real] @ table.T, target[real])

    start = HISTORY // 2
    assert (target[:, :start] < 0).all()
    torch.testing.assert_close(
        loss(batch.shortened(start), target[:, start:]), loss(batch, target), rtol=1e-5, atol=1e-5
    )
    assert not torch.isclose(
        loss(batch.shortened(start), target[:, start:]),
        loss(replace(batch, mask=torch.zeros_like(batch.mask)), target),
    )
