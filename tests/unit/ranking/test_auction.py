from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranking.auction import LARGEST_BID, award, best_of_each, by_weight, competes, ecpm, least_bid

PROBABILITIES = st.floats(2.0**-20, 1.0, width=32)
BIDS = st.one_of(st.integers(1, 50), st.integers(1, 10_000_000), st.integers(1, LARGEST_BID))


@st.composite
def auctions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Ads with many ties, a reserve and a number of slots."""
    some = draw(st.lists(PROBABILITIES, min_size=1, max_size=4))
    ads = draw(st.lists(st.tuples(st.sampled_from(some), BIDS), max_size=12))
    rows = draw(st.permutations(range(len(ads))))
    pctr = np.array([ad[0] for ad in ads], np.float32)
    bids = np.array([ad[1] for ad in ads], np.int64)
    reserve = draw(st.one_of(st.integers(0, 60), st.integers(0, 10_000_000)))
    return pctr, bids, np.array(rows, np.int32), reserve, draw(st.integers(0, 6))


def standing(pctr: np.ndarray, bids: np.ndarray, rows: np.ndarray, reserve: int) -> list[int]:
    """The order of an auction, one comparison at a time."""
    able = [i for i in range(len(bids)) if bids[i] >= max(reserve, 1)]
    return sorted(able, key=lambda i: (-float(pctr[i]) * int(bids[i]), int(rows[i])))


@given(auctions())
def test_slots_go_by_falling_ecpm_ties_by_row(given_auction) -> None:
    pctr, bids, rows, reserve, slots = given_auction
    awards = award(pctr, bids, rows, reserve, slots)
    wanted = standing(pctr, bids, rows, reserve)
    assert awards.order.tolist() == wanted
    assert awards.winners.tolist() == wanted[:slots]
    assert awards.outbid.tolist() == wanted[slots:]
    values = ecpm(pctr, bids)[awards.order]
    assert (np.diff(values) <= 0).all()


@given(auctions())
def test_a_price_is_at_least_the_reserve_and_at_most_the_own_bid(given_auction) -> None:
    pctr, bids, rows, reserve, slots = given_auction
    awards = award(pctr, bids, rows, reserve, slots)
    assert awards.prices.dtype == np.int64
    assert (awards.prices >= max(reserve, 1)).all()
    assert (awards.prices <= bids[awards.winners]).all()


@given(auctions())
def test_a_price_is_exactly_the_least_bid_that_keeps_the_slot(given_auction) -> None:
    pctr, bids, rows, reserve, slots = given_auction
    awards = award(pctr, bids, rows, reserve, slots)
    for slot, (winner, price) in enumerate(zip(awards.winners, awards.prices, strict=True)):

        def slot_with(bid: int, winner: int = winner) -> int | None:
            lowered = bids.copy()
            lowered[winner] = bid
            order = standing(pctr, lowered, rows, reserve)
            return order.index(winner) if winner in order else None

        assert slot_with(int(price)) == slot
        assert price == 1 or slot_with(int(price) - 1) != slot


@given(auctions(), st.integers(0, 11), BIDS)
def test_raising_a_bid_never_loses_a_slot(given_auction, which: int, more: int) -> None:
    pctr, bids, rows, reserve, slots = given_auction
    if len(bids) == 0:
        return
    which %= len(bids)
    before = award(pctr, bids, rows, reserve, slots).winners.tolist()
    bids[which] = min(bids[which] + more, LARGEST_BID)
    after = award(pctr, bids, rows, reserve, slots).winners.tolist()
    if which in before:
        assert after.index(which) <= before.index(which)


@given(auctions(), st.integers(0, 11))
def test_when_a_rival_leaves_nobody_pays_more(given_auction, which: int) -> None:
    """So a hold that was made at the old price is enough for the new one."""
    pctr, bids, rows, reserve, slots = given_auction
    if len(bids) == 0:
        return
    before = award(pctr, bids, rows, reserve, slots)
    stay = np.delete(np.arange(len(bids)), which % len(bids))
    after = award(pctr[stay], bids[stay], rows[stay], reserve, slots)
    paid = dict(zip(stay[after.winners].tolist(), after.prices.tolist(), strict=True))
    for winner, price in zip(before.winners.tolist(), before.prices.tolist(), strict=True):
        if winner in paid:
            # Whoever moves up a slot still stands against the same one behind.
            assert paid[winner] <= price


@given(auctions(), st.randoms(use_true_random=False))
def test_the_order_in_which_ads_come_changes_nothing(given_auction, random) -> None:
    pctr, bids, rows, reserve, slots = given_auction
    turn = np.array(random.sample(range(len(bids)), len(bids)), np.intp)
    one, other = (
        award(pctr, bids, rows, reserve, slots),
        award(pctr[turn], bids[turn], rows[turn], reserve, slots),
    )
    assert rows[one.winners].tolist() == rows[turn][other.winners].tolist()
    assert one.prices.tolist() == other.prices.tolist()


def test_an_auction_by_hand() -> None:
    pctr = np.array([0.1, 0.2, 0.05, 0.1], np.float64)
    bids = np.array([1000, 400, 1500, 90], np.int64)
    awards = award(pctr, bids, np.arange(4, dtype=np.int32), 100, 2)
    # Weights 100, 80, 75; the last bid does not meet the reserve.
    assert awards.winners.tolist() == [0, 1]
    # The first ties at 800 and stands before row 1; the second ties at 375 and stands before row 2.
    assert awards.prices.tolist() == [800, 376] if 0.2 * 375 < 75.0 else [800, 375]
    assert awards.outbid.tolist() == [2]


def test_alone_an_ad_pays_the_reserve() -> None:
    one = np.array([0.01]), np.array([5000], np.int64), np.array([3], np.int32)
    assert award(*one, 700, 3).prices.tolist() == [700]
    assert award(*one, 0, 3).prices.tolist() == [1]
    assert award(*one, 5001, 3).prices.tolist() == []


def test_what_is_no_probability_or_no_bid_does_not_compete() -> None:
    pctr = np.array([np.nan, np.inf, 0.0, -0.1, 1.5, 0.5, 0.5, 0.5, 0.5])
    bids = np.array([9, 9, 9, 9, 9, 0, -5, LARGEST_BID + 1, 9], np.int64)
    assert np.flatnonzero(competes(pctr, bids, 0)).tolist() == [8]
    assert award(pctr, bids, np.arange(9, dtype=np.int32), 0, 9).winners.tolist() == [8]


def test_no_ad_and_no_slot() -> None:
    none = np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int32)
    assert award(*none, 10, 2).winners.tolist() == []
    one = np.array([0.5]), np.array([50], np.int64), np.zeros(1, np.int32)
    assert award(*one, 10, 0).outbid.tolist() == [0]


def test_a_probability_of_nothing_wins_with_no_bid() -> None:
    one = np.array([1e-300]), np.array([0], np.int32), np.array([1e12]), np.array([1], np.int32)
    assert least_bid(*one).tolist() == [2**53]


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_only_the_best_of_each_advertiser_compete(owners: list[int], most: list[int]) -> None:
    order = np.arange(len(owners))[::-1]
    kept = best_of_each(order, np.array(owners, np.int32), np.array(most))
    left = list(most)
    for position, stays in zip(order.tolist(), kept.tolist(), strict=True):
        assert stays == (left[owners[position]] > 0)
        left[owners[position]] -= 1


def test_weights_order_like_the_auction_and_unknown_last() -> None:
    pctr = np.array([0.1, np.nan, 0.2, 0.2])
    order = by_weight(pctr, np.array([10, 10, 10, 10]), np.array([0, 1, 3, 2], np.int32))
    assert order.tolist() == [3, 2, 0, 1]
