from dataclasses import replace

import numpy as np
import pytest

from models.data.simulator import simulate
from models.training.complements import learn_complements, train_dual, windowed
from models.training.config import ComplementConfig
from retrieval.index import IndexSettings
from tests.unit.models.data.tiny import tiny_dataset

DAY = 86_400_000
CONFIG = ComplementConfig(dim=16, epochs=8, batch=256, learning_rate=0.02, negatives=64)


def of_events(rows, order="time"):
    """A data set of (user, item, day) in order of time."""
    users, items, days = (np.array(column) for column in zip(*rows, strict=True))
    zeros = np.zeros(len(rows), np.int16)
    return tiny_dataset(
        item_ids=[str(row) for row in range(int(items.max()) + 1)],
        item_records=[{} for _ in range(int(items.max()) + 1)],
        item_created_ms=np.zeros(int(items.max()) + 1, np.int64),
        item_available=np.ones(int(items.max()) + 1, bool),
        item_bid_micros=np.full(int(items.max()) + 1, -1),
        user_ids=[str(row) for row in range(int(users.max()) + 1)],
        user_records=[{} for _ in range(int(users.max()) + 1)],
        event_user=users.astype(np.int32),
        event_item=items.astype(np.int32),
        event_kind=zeros,
        event_time_ms=(days * DAY).astype(np.int64),
        event_value=np.full(len(rows), np.nan, np.float32),
        event_placement=zeros,
        event_session=np.full(len(rows), -1, np.int32),
        session_ids=[],
        impressions=None,
        order=order,
    )


def baskets(count=600, seed=0):
    """Even items 2k come with odd ones 2k + 1; each of the pair has a twin that users take instead."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(count):
        pair = int(random.integers(10))
        rows += [(user, 4 * pair + int(random.integers(2)), user), (user, 4 * pair + 2, user)]
        rows += [(user, int(random.integers(40)), user + 400)]
    return of_events(sorted(rows, key=lambda row: row[2]))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ComplementConfig(), {(0, 1), (1, 0), (2, 3), (3, 2)}),
        (ComplementConfig(window_days=5), {(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1), (2, 3), (3, 2)}),
        (ComplementConfig(window_days=5, window=1), {(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)}),
    ],
)
def test_only_what_a_user_takes_within_the_window_goes_together(config, expected):
    dataset = of_events([(0, 0, 0), (0, 1, 1), (0, 2, 4), (1, 2, 9), (1, 3, 9), (1, 3, 9)])
    one, other, _ = windowed(dataset, np.arange(dataset.events), config)
    assert set(zip(one.tolist(), other.tolist(), strict=True)) == expected


def test_made_up_times_do_not_bound_the_window():
    dataset = of_events([(0, 0, 0), (0, 1, 100)], order="sequence")
    assert len(windowed(dataset, np.arange(2), ComplementConfig())[0]) == 2


def test_all_pairs_of_a_user_weigh_as_much_as_those_of_another():
    dataset = of_events([(0, item, 0) for item in range(6)] + [(1, 0, 1), (1, 1, 1)])
    one, other, weight = windowed(dataset, np.arange(dataset.events), ComplementConfig())
    assert len(one) == 32
    assert np.unique(weight).tolist() == pytest.approx([1 / 15, 1])
    assert {(one[i], other[i]) for i in np.flatnonzero(weight == 1)} == {(0, 1), (1, 0)}


def test_the_company_of_an_item_is_told_from_what_replaces_it():
    """Twins 4k and 4k + 1 never come together, but both with 4k + 2."""
    dataset = baskets()
    inward, outward = train_dual(dataset, np.arange(dataset.events), CONFIG, seed=0)
    for pair in range(10):
        anchor, twin, company = 4 * pair, 4 * pair + 1, 4 * pair + 2
        assert inward[anchor] @ outward[company] > inward[anchor] @ outward[twin] + 0.2
        alike = inward[anchor] @ inward.T
        alike[anchor] = -1
        assert alike.argmax() == twin


def test_lists_repeat_with_their_seed_and_an_item_without_events_has_no_vector():
    dataset = baskets()
    events = np.flatnonzero(dataset.event_item != 7)
    found, again = (
        learn_complements(dataset, events, CONFIG, IndexSettings("flat"), seed=3, threads=1) for _ in range(2)
    )
    np.testing.assert_array_equal(found.outward, again.outward)
    assert found.knows(np.array([6, 7, 99], np.int32)).tolist() == [True, False, False]
    assert not found.inward[7].any()
    rows, scores = found.search(found.query(np.array([0], np.int32), np.ones(1, np.float32)), 5)
    np.testing.assert_allclose(scores, found.outward[rows] @ found.inward[0], atol=1e-5)
    assert 2 in rows[:3]


def test_without_any_pair_the_start_remains_and_zero_epochs_want_none():
    dataset = of_events([(0, 0, 0), (1, 1, 0), (2, 2, 0), (2, 0, 50)])
    inward, outward = train_dual(dataset, np.arange(4), CONFIG, seed=0)
    np.testing.assert_array_equal(inward, outward)
    none = ComplementConfig(epochs=0)
    assert learn_complements(dataset, np.arange(4), none, IndexSettings("flat"), 0, 1) is None


def test_a_simulated_world_trains_with_few_pairs_per_epoch():
    dataset, _ = simulate(users=50, items=40, seed=1)
    config = CONFIG.model_copy(update={"pairs": 100, "epochs": 1})
    inward, _ = train_dual(replace(dataset), np.arange(dataset.events), config, seed=0)
    assert np.isfinite(inward).all()
