import numpy as np
import pytest

from models.data.columns import ABSENT
from models.data.dataset import load_dataset, write_dataset
from models.data.simulated_items import START_MS
from models.data.simulator import simulate
from models.data.truth import Truth
from retrieval.metrics import auc, copc, ece


@pytest.fixture(scope="module")
def world():
    return simulate(users=1500, items=1200, seed=7)


def test_equal_seeds_give_equal_worlds_and_others_do_not():
    first, second, other = (simulate(60, 80, seed)[0].fingerprint for seed in (1, 1, 2))
    assert first == second != other


def test_logged_clicks_follow_the_true_ctr(world):
    dataset, truth = world
    clicked = dataset.impressions.clicked
    assert copc(clicked, truth.impression_ctr) == pytest.approx(1, abs=0.02)
    assert ece(clicked, truth.impression_ctr) < 0.012


def test_the_marginal_ctr_is_the_mean_over_the_users_active_interests(world):
    dataset, truth = world
    shown = dataset.impressions
    at_top = shown.position == 0
    pairs = truth.true_ctr(shown.user[at_top], shown.item[at_top])
    # The policy shows what suits the active interest, so the log is richer in clicks than the marginal says,
    # but the marginal ranks pairs well.
    assert auc(shown.clicked[at_top], pairs) > 0.7
    one_interest = (truth.interest_weights > 0).sum(axis=1) == 1
    mono = at_top & one_interest[shown.user]
    exact = truth.true_ctr(shown.user[mono], shown.item[mono])
    np.testing.assert_allclose(exact, truth.impression_ctr[mono], rtol=1e-4)


def test_every_click_is_an_event_and_buys_are_rarer(world):
    dataset, _ = world
    clicks, buys = np.bincount(dataset.event_kind)
    assert clicks == dataset.impressions.clicked.sum()
    assert 0 < buys < clicks / 3
    assert np.all(np.isnan(dataset.event_value) == (dataset.event_kind == 0))


def test_later_positions_are_clicked_less(world):
    shown = world[0].impressions
    rate = [shown.clicked[shown.position == place].mean() for place in (0, 9)]
    assert rate[1] < 0.75 * rate[0]


def test_the_propensities_are_those_of_the_logging_policy(world):
    dataset, _ = world
    shown = dataset.impressions
    # Inverse propensity weights count the catalogue: an item that exists has expected weight 1 per position.
    old = dataset.item_created_ms < START_MS
    weight = (old[shown.item] / shown.propensity).sum() / (10 * len(shown.request_ids))
    assert weight == pytest.approx(old.sum(), rel=0.1)


def test_nothing_is_shown_before_it_exists(world):
    dataset, _ = world
    shown = dataset.impressions
    assert np.all(dataset.item_created_ms[shown.item] <= shown.time_ms)
    assert (dataset.item_created_ms > START_MS).mean() == pytest.approx(0.2, abs=0.05)


def test_won_auctions_pay_no_more_than_they_bid(world):
    dataset, _ = world
    shown = dataset.impressions
    sponsored = shown.bid_micros != ABSENT
    assert 0.02 < sponsored.mean() < 0.1
    assert np.all(shown.market_price_micros[sponsored] <= shown.bid_micros[sponsored])
    assert np.all(shown.market_price_micros[~sponsored] == ABSENT)
    assert np.all(dataset.item_bid_micros[shown.item[sponsored]] != ABSENT)


def test_interests_persist_between_sessions_and_return_by_their_weights(world):
    dataset, truth = world
    shown = dataset.impressions
    used = np.zeros_like(truth.interest_weights)
    np.add.at(used, (shown.user, truth.impression_interest), 1)
    assert np.all(used[truth.interest_weights == 0] == 0)
    several = (truth.interest_weights > 0).sum(axis=1) > 1
    heaviest = truth.interest_weights[several].argmax(axis=1)
    share = used[several][np.arange(several.sum()), heaviest].sum() / used[several].sum()
    assert share == pytest.approx(truth.interest_weights[several].max(axis=1).mean(), abs=0.06)


def test_attributes_tell_something_about_interests(world):
    dataset, truth = world
    main = truth.interest_topic[np.arange(dataset.users), truth.interest_weights.argmax(axis=1)]
    segments = np.array([int(record["segment"].split("-")[1]) for record in dataset.user_records])
    assert (segments == main % 6).mean() > 0.6
    first_genre = [record["genres"][0] for record in dataset.item_records]
    assert len({(genre, topic) for genre, topic in zip(first_genre, truth.item_topic, strict=True)}) == 32


def test_a_world_is_written_with_its_truth_and_read_back_equal(world, tmp_path):
    dataset, truth = world
    write_dataset(tmp_path / "w", dataset, beside=lambda folder: truth.save(folder, seed=7))
    assert load_dataset(tmp_path / "w").fingerprint == dataset.fingerprint
    again = Truth.load(tmp_path / "w")
    rows = np.arange(50)
    np.testing.assert_array_equal(again.true_ctr(rows, rows), truth.true_ctr(rows, rows))


@pytest.mark.parametrize("size", [(0, 100), (10, 5)])
def test_a_world_without_users_or_items_is_refused(size):
    with pytest.raises(ValueError, match="at least"):
        simulate(*size, seed=0)


def test_a_world_that_nobody_visits_is_refused():
    with pytest.raises(ValueError, match="nobody clicked"):
        simulate(1, 20, seed=0, sessions=0.0)
