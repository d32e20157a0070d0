from __future__ import annotations

import numpy as np

from service.auction.eligible import earlier_ads, eligible
from service.auction.standing import Standing
from service.cascade.query import Selling
from service.features.accounts import DAY_MS, Account, Budget, Held, day_of
from service.offers import Ads, Offer

MIDNIGHT_MS = 1_700_006_400_000
NOON_MS = MIDNIGHT_MS + DAY_MS // 2
ADS = Ads.of(
    {
        2: Offer(500, "EUR", "a"),
        5: Offer(50, "EUR", "a"),
        7: Offer(500, "USD", "b"),
        8: Offer(900, "EUR", "c"),
        9: Offer(400, "EUR", "d"),
    }
)
SELLING = Selling((1, 4), 100, "EUR", per_advertiser=2, user_most=3)


def account(daily: int, used: int = 0, currency: str = "EUR", pacing: str = "asap") -> Account:
    budget = Budget(daily, currency, pacing)
    return Account(budget, day_of(NOON_MS), used, 0, used, 0, 0, 0, 0, 0)


def reasons(standing: Standing, **changes: object) -> dict[int, str]:
    known = {"shown": {}, "earlier": np.zeros(len(ADS.advertisers), np.int64), **changes}
    found = eligible(ADS, SELLING, standing.at(ADS, NOON_MS), **known)  # type: ignore[arg-type]
    fates = {row: fate.reason for fate in found.fates for row in fate.rows.tolist()}
    assert not set(fates) & set(ADS.rows[found.ads].tolist())
    assert len(fates) + len(found.ads) == len(ADS)
    return fates


def standing(**accounts: Account) -> Standing:
    made = Standing()
    made.use(accounts)
    return made


def test_the_first_rule_that_fails_is_the_reason() -> None:
    rich = standing(a=account(10_000), b=account(10_000), c=account(899), d=account(10_000, currency="USD"))
    assert reasons(rich) == {5: "reserve", 7: "currency", 8: "budget", 9: "account"}


def test_pacing_and_budget_are_told_apart() -> None:
    found = standing(a=account(10_000), c=account(1_600, pacing="even"), d=account(600, used=300))
    # By noon, an hour ahead, 13/24 of 1,600 may be used up: 866, less than the bid of 900.
    assert reasons(found) == {5: "reserve", 7: "currency", 8: "pace", 9: "budget"}


def test_who_was_refused_waits_for_the_next_reading() -> None:
    found = standing(a=account(10_000), c=account(10_000), d=account(10_000))
    assert reasons(found) == {5: "reserve", 7: "currency"}
    found.refuse("c", Held.BUDGET)
    found.refuse("d", Held.PACE)
    assert reasons(found) == {5: "reserve", 7: "currency", 8: "budget", 9: "pace"}
    found.use(dict(found.accounts))
    assert reasons(found) == {5: "reserve", 7: "currency"}


def test_a_new_day_brings_a_new_budget_before_it_is_read() -> None:
    found = standing(c=account(1_000, used=1_000))
    assert found.at(ADS, NOON_MS).remaining[2] == 0
    assert found.at(ADS, NOON_MS + DAY_MS).remaining[2] == 1_000


def test_caps_of_user_and_list_bound_how_many_may_win() -> None:
    found = standing(a=account(10_000), c=account(10_000), d=account(10_000))
    earlier = earlier_ads(ADS, np.array([8, 2, 100], np.int32))
    assert earlier.tolist() == [1, 0, 1, 0]
    columns = found.at(ADS, NOON_MS)
    able = eligible(ADS, SELLING, columns, {"d": 2, "stranger": 9}, earlier)
    assert able.most[ADS.advertiser[ADS.at(np.array([2, 8, 9], np.int32))]].tolist() == [1, 1, 1]
    assert reasons(found, shown={"d": 3})[9] == "user_cap"
    assert reasons(found, earlier=np.array([0, 0, 2, 0]))[8] == "advertiser_cap"
