"""Sponsored slots over real HTTP and a real Redis: sold, marked, held, charged, and never beyond a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from service.errors import OperatorError
from service.features.keys import Keys
from service.placements import Placement
from service.settings import load_settings
from tests.support.live_service import live_service
from tests.support.tiny_world import TASTES

SECTION: dict[str, Any] = {"slots": [2, 5], "reserve_micros": 100, "currency": "EUR"}
PLACEMENTS: dict[str, Any] = {
    "shop": {"sponsored": SECTION},
    "many": {"sponsored": {**SECTION, "slots": [1, 3, 4, 12], "per_advertiser": 2}},
    "rare": {"sponsored": {**SECTION, "user_cap": {"impressions": 2}}},
    "dollars": {"sponsored": {**SECTION, "currency": "USD"}},
}
HOLD_S = 2.0
PATIENCE_S = 30.0
PREFIX = "auction"


@pytest.fixture(scope="module")
def client(bundles: Path, redis_url: str) -> Iterator[httpx.Client]:
    placements = {name: Placement.model_validate(one) for name, one in PLACEMENTS.items()}
    with live_service(
        bundles=bundles,
        redis_url=redis_url,
        redis_prefix=PREFIX,
        placements=placements,
        advertiser_interval_ms=50,
    ) as client:
        yield client


@pytest.fixture(autouse=True)
def _no_ads(client: httpx.Client) -> Iterator[None]:
    """Each test begins without a bid."""
    yield
    for item in client.get("/v1/items").json()["items"]:
        if item["bid_micros"] is not None:
            client.patch(f"/v1/items/{item['item_id']}", json={"bid_micros": None})


def bid(client: httpx.Client, row: int, micros: int, advertiser: str, currency: str = "EUR") -> str:
    offer = {"bid_micros": micros, "currency": currency, "advertiser_id": advertiser}
    answer = client.patch(f"/v1/items/item-{row}", json=offer)
    assert answer.status_code == 200, answer.text
    return f"item-{row}"


def fund(client: httpx.Client, advertiser: str, micros: int, **more: Any) -> dict[str, Any]:
    body = {"daily_budget_micros": micros, "currency": "EUR", "pacing": "asap", **more}
    answer = client.put(f"/v1/advertisers/{advertiser}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def shown(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/recommend", json={"placement": "shop", "count": 10, **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def sold(answer: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {one["rank"]: one | one["sponsored"] for one in answer["items"] if one.get("sponsored")}


def click(client: httpx.Client, request: str | None, item: str, **more: Any) -> dict[str, int]:
    event = {"user_id": "u", "item_id": item, "event": "click", "request_id": request, **more}
    event = {name: value for name, value in event.items() if value is not None}
    answer = client.post("/v1/events", json={"events": [event]})
    assert answer.status_code == 202, answer.text
    return dict(answer.json().get("ad_clicks") or {})


def account(client: httpx.Client, advertiser: str, **query: Any) -> dict[str, Any]:
    return dict(client.get(f"/v1/advertisers/{advertiser}", params=query).json())


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def metric(client: httpx.Client, series: str) -> float:
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{series} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_slots_are_sold_marked_and_priced(client: httpx.Client) -> None:
    fund(client, "a", 10_000_000)
    fund(client, "b", 10_000_000)
    fund(client, "c", 10_000_000)
    first, second = bid(client, 40, 5_000_000, "a"), bid(client, 41, 1_000, "b")
    third = bid(client, 42, 200, "c")
    answer = shown(client)
    items = sold(answer)
    assert set(items) == {2, 5}
    assert answer["auction"] == {"currency": "EUR", "slots": [2, 5], "sold": 2, "reason": None}
    assert answer["degraded"] == []
    assert [items[2]["item_id"], items[5]["item_id"]] == [first, second]
    assert (items[2]["advertiser_id"], items[2]["bid_micros"]) == ("a", 5_000_000)
    assert 100 <= items[2]["price_micros"] <= 5_000_000
    # What each pays is what the next would have paid for its place, by the laws of the auction.
    beaten = items[5]["pctr"] * 1_000 / items[2]["pctr"]
    assert abs(items[2]["price_micros"] - max(100, beaten)) <= 1
    assert third not in [item["item_id"] for item in items.values()]
    assert len(ids_of(answer)) == 10
    assert account(client, "a")["reserved_micros"] == items[2]["price_micros"]


def ids_of(answer: dict[str, Any]) -> list[str]:
    found = [item["item_id"] for item in answer["items"]]
    assert len(set(found)) == len(found)
    return found


def test_the_organic_list_is_as_before(client: httpx.Client) -> None:
    fund(client, "a", 10_000_000)
    ad = bid(client, 90, 1_000_000, "a")
    plain, mixed = ids_of(shown(client, sponsored=False)), shown(client)
    assert "auction" not in shown(client, sponsored=False)
    assert ids_of(mixed)[1] == ad
    rest = [item for item in ids_of(mixed) if item != ad]
    assert rest == [item for item in plain if item != ad][: len(rest)]


def test_where_nothing_is_sold_there_is_no_auction(client: httpx.Client) -> None:
    before = metric(client, "cascada_auction_seconds_count")
    assert "auction" not in client.post("/v1/recommend", json={}).json()
    asked = client.post("/v1/recommend", json={"sponsored": True}).json()
    assert asked["degraded"] == ["sponsored"]
    assert asked["auction"] == {"slots": [], "sold": 0, "reason": "placement"}
    assert metric(client, "cascada_auction_seconds_count") == before


def test_without_ads_the_slots_are_organic(client: httpx.Client) -> None:
    answer = shown(client)
    assert (answer["auction"]["sold"], answer["auction"]["reason"]) == (0, None)
    assert answer["degraded"] == []
    assert len(ids_of(answer)) == 10


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"currency": "USD"}, "currency"),
        ({"micros": 99}, "reserve"),
        ({"advertiser": "stranger"}, "account"),
        ({"advertiser": "poor"}, "budget"),
        ({"advertiser": "paced"}, "pace"),
    ],
)
def test_who_may_not_compete_is_told_apart(client: httpx.Client, change: dict[str, Any], reason: str) -> None:
    fund(client, "rich", 10_000_000)
    fund(client, "poor", 499)
    # An hour's share of it is below the bid until the last second of the day.
    fund(client, "paced", 500, pacing="even")
    offer = {"micros": 500, "advertiser": "rich", **change}
    bid(client, 40, offer.pop("micros"), offer.pop("advertiser"), **offer)
    answer = shown(client, explain=True)
    if reason == "pace" and time.gmtime().tm_hour == 23:
        return
    assert sold(answer) == {}
    assert answer["auction"]["ended"] == {reason: 1}


def test_the_auction_explains_itself(client: httpx.Client) -> None:
    for name in "abc":
        fund(client, name, 10_000_000)
    bid(client, 40, 5_000, "a")
    bid(client, 41, 4_000, "b")
    bid(client, 42, 3_000, "c")
    bid(client, 43, 2_999, "c")
    answer = shown(client, explain=True)
    competitors = answer["auction"]["competitors"]
    assert answer["auction"]["ended"] == {"sold": 2, "outbid": 1, "advertiser_cap": 1}
    assert [one["ecpm_micros"] for one in competitors] == sorted(
        (one["ecpm_micros"] for one in competitors), reverse=True
    )
    winners = {one["item_id"]: one["price_micros"] for one in competitors[:2]}
    assert winners == {one["item_id"]: one["price_micros"] for one in sold(answer).values()}
    loser = competitors[2]
    assert loser["price_micros"] == 0
    assert loser["to_win_micros"] > loser["bid_micros"]
    # With that bid, and not with a micro less, it would have won.
    row = int(loser["item_id"].removeprefix("item-"))
    bid(client, row, loser["to_win_micros"] - 1, "a" if row == 40 else "b" if row == 41 else "c")
    assert loser["item_id"] not in [one["item_id"] for one in sold(shown(client)).values()]
    bid(client, row, loser["to_win_micros"], "a" if row == 40 else "b" if row == 41 else "c")
    assert loser["item_id"] in [one["item_id"] for one in sold(shown(client)).values()]


def test_a_click_is_charged_once(client: httpx.Client) -> None:
    fund(client, "clicked", 10_000_000)
    ad = bid(client, 40, 700_000, "clicked")
    answer = shown(client)
    price = sold(answer)[2]["price_micros"]
    assert click(client, answer["request_id"], ad) == {"charged": 1}
    assert click(client, answer["request_id"], ad) == {"repeated": 1}
    now = account(client, "clicked", charges=10)
    assert (now["spent_micros"], now["reserved_micros"], now["clicks"]) == (price, 0, 1)
    assert now["remaining_micros"] == 10_000_000 - price
    (charge,) = now["charges"]
    assert (charge["request_id"], charge["item_id"], charge["micros"]) == (answer["request_id"], ad, price)


def test_two_clicks_of_one_call_charge_once(client: httpx.Client) -> None:
    fund(client, "twice", 10_000_000)
    ad = bid(client, 40, 700_000, "twice")
    request = shown(client)["request_id"]
    event = {"user_id": "u", "item_id": ad, "event": "click", "request_id": request}
    answer = client.post("/v1/events", json={"events": [event, event]}).json()
    assert answer["ad_clicks"] == {"charged": 1, "repeated": 1}


def test_clicks_that_cannot_be_are_counted_and_harm_nobody(client: httpx.Client, redis_url: str) -> None:
    fund(client, "odd", 10_000_000)
    ad = bid(client, 40, 700_000, "odd")
    before = account(client, "odd")["total_micros"]
    assert click(client, "never-answered", ad) == {"unsold": 1}
    assert click(client, None, ad) == {"unsold": 1}
    assert click(client, "never-answered", "item-1") == {}
    assert click(client, "never-answered", "no such item") == {}
    request = shown(client)["request_id"]
    assert click(client, request, ad, event="like") == {}
    long_ago = int(time.time() * 1000) - 3_600_000
    assert click(client, request, ad, timestamp=long_ago) == {"early": 1}
    Redis.from_url(redis_url).hset(Keys(PREFIX).sold(request), ad, '{"price": -5}')
    assert click(client, request, ad) == {"corrupt": 1}
    assert account(client, "odd")["total_micros"] == before
    assert metric(client, 'cascada_ad_clicks_total{result="corrupt"}') >= 1
    assert metric(client, 'cascada_ad_clicks_total{result="unsold"}') >= 2


def test_an_advertiser_that_cannot_pay_is_out_and_sets_no_price(client: httpx.Client) -> None:
    fund(client, "rich", 10_000_000)
    fund(client, "empty", 999)
    ad = bid(client, 40, 1_000, "rich")
    bid(client, 41, 1_000_000, "empty")
    items = sold(shown(client))
    assert {one["item_id"]: one["price_micros"] for one in items.values()} == {ad: 100}


def test_a_budget_ends_and_is_never_passed(client: httpx.Client) -> None:
    """Every price is the reserve, 100: eleven slots fit into 1,150."""
    fund(client, "small", 1_150)
    ad = bid(client, 40, 150, "small")
    served = [shown(client) for _ in range(14)]
    requests = [one["request_id"] for one in served if sold(one)]
    # The last ones could pay a price of 100, but not their bid.
    assert len(requests) == 11
    assert account(client, "small")["reserved_micros"] == 1_100
    for request in requests:
        assert click(client, request, ad) == {"charged": 1}
    now = account(client, "small")
    assert (now["spent_micros"], now["reserved_micros"], now["remaining_micros"]) == (1_100, 0, 50)
    fund(client, "small", 1_250)
    assert len(sold(shown(client))) == 1


def test_at_most_so_many_ads_of_an_advertiser_in_a_list_over_its_pages(client: httpx.Client) -> None:
    fund(client, "wide", 10_000_000)
    fund(client, "other", 10_000_000)
    mine = {bid(client, row, 1_000_000 + row, "wide") for row in range(40, 48)}
    answer = shown(client, placement="many", count=5)
    assert set(sold(answer)) == {1, 3}
    other = bid(client, 60, 500, "other")
    answer = shown(client, placement="many", count=5)
    items = sold(answer)
    assert set(items) == {1, 3, 4}
    assert items[4]["item_id"] == other
    first = ids_of(answer)
    page = shown(client, placement="many", count=9, cursor=answer["next_cursor"])
    assert page["auction"]["slots"] == [12]
    # Both places of "wide" are taken, and the only ad of "other" was shown.
    assert sold(page) == {}
    assert not set(first) & set(ids_of(page))
    assert mine & set(first)


def test_pages_keep_the_places_lawful(client: httpx.Client) -> None:
    for name in "abcd":
        fund(client, name, 10_000_000)
    for number, name in enumerate("abcd"):
        bid(client, 40 + number, 1_000_000, name)
    seen: list[str] = []
    ranks: set[int] = set()
    cursor: dict[str, str] = {}
    for _ in range(5):
        answer = shown(client, placement="many", count=3, **cursor)
        assert [item["rank"] for item in answer["items"]] == list(range(len(seen) + 1, len(seen) + 4))
        seen += ids_of(answer)
        ranks |= set(sold(answer))
        cursor = {"cursor": answer["next_cursor"]}
    assert len(set(seen)) == len(seen)
    assert ranks == {1, 3, 4, 12}


def test_a_user_sees_an_advertiser_only_so_often(client: httpx.Client) -> None:
    fund(client, "pushy", 10_000_000)
    bid(client, 40, 1_000_000, "pushy")
    counts = [len(sold(shown(client, placement="rare", user_id="tired"))) for _ in range(4)]
    assert counts == [1, 1, 0, 0]
    assert len(sold(shown(client, placement="rare", user_id="fresh"))) == 1
    last = shown(client, placement="rare", user_id="tired", explain=True)
    assert last["auction"]["ended"] == {"user_cap": 1}
    client.delete("/v1/users/tired")
    assert len(sold(shown(client, placement="rare", user_id="tired"))) == 1


def test_ads_keep_the_rules_of_the_list(client: httpx.Client) -> None:
    fund(client, "ruled", 10_000_000)
    ad = bid(client, 40, 1_000_000, "ruled")
    taste = TASTES[40 % len(TASTES)]
    rule = {"field": "genres", "op": "has", "value": taste}
    assert sold(shown(client, filter=rule))[2]["item_id"] == ad
    assert sold(shown(client, filter={"not": rule})) == {}
    assert sold(shown(client, exclude_items=[ad])) == {}
    event = {"user_id": "owner of it", "item_id": ad, "event": "like"}
    client.post("/v1/events", json={"events": [event]})
    assert sold(shown(client, user_id="owner of it")) == {}
    client.patch(f"/v1/items/{ad}", json={"available": False})
    assert sold(shown(client)) == {}
    client.patch(f"/v1/items/{ad}", json={"available": True})


def test_caps_hold_over_sold_places_too(client: httpx.Client) -> None:
    fund(client, "capped", 10_000_000)
    ad = bid(client, 40, 1_000_000, "capped")
    caps = [{"field": "genres", "most": 1, "window": 3}]
    answer = shown(client, caps=caps, explain=True)
    found = ids_of(answer)
    assert answer["auction"]["sold"] or answer["auction"]["ended"] == {"caps": 1}
    tastes = [int(item.removeprefix("item-")) % len(TASTES) for item in found]
    assert all(len(set(tastes[i : i + 3])) == len(tastes[i : i + 3]) for i in range(len(tastes)))
    if ad in found:
        assert found.count(ad) == 1


def test_a_search_sells_only_what_it_found(client: httpx.Client) -> None:
    fund(client, "sought", 10_000_000)
    ad = bid(client, 41, 1_000_000, "sought")
    word = TASTES[41 % len(TASTES)]
    other = TASTES[(41 + 1) % len(TASTES)]

    def search(query: str) -> dict[str, Any]:
        body = {"query": query, "placement": "shop", "count": 10, "explain": True}
        return dict(client.post("/v1/search", json=body).json())

    assert sold(search(word))[2]["item_id"] == ad
    missed = search(other)
    assert sold(missed) == {}
    assert missed["auction"]["ended"] == {"unmatched": 1}


def test_a_new_ad_and_a_withdrawn_one_count_at_once(client: httpx.Client) -> None:
    fund(client, "live", 10_000_000)
    record = {"title": "Fresh ad", "attributes": {"genres": ["horror"]}}
    offer = {"bid_micros": 900_000, "currency": "EUR", "advertiser_id": "live"}
    assert client.put("/v1/items/ad-now", json={**record, **offer}).status_code == 200
    assert sold(shown(client))[2]["item_id"] == "ad-now"
    client.put("/v1/items/ad-now", json=record)
    assert sold(shown(client)) == {}
    client.delete("/v1/items/ad-now")


def test_what_was_sold_is_in_the_log_of_answers(client: httpx.Client, redis_url: str) -> None:
    fund(client, "logged", 10_000_000)
    ad = bid(client, 40, 1_000_000, "logged")
    request = shown(client)["request_id"]
    redis = Redis.from_url(redis_url)

    def lines() -> list[bytes]:
        entries: Any = redis.xrevrange(Keys(PREFIX).impression_log, count=50)
        return [fields[b"json"] for _, fields in entries if request.encode() in fields[b"json"]]

    eventually(lambda: bool(lines()))
    assert f'"item":"{ad}","advertiser":"logged"'.encode() in lines()[0]
    assert b'"price_micros":100' in lines()[0]


def test_accounts_are_read_and_refused_by_name(client: httpx.Client) -> None:
    assert client.get("/v1/advertisers/nobody").status_code == 404
    made = fund(client, "plain/with slash", 24_000, pacing="even")
    assert made["advertiser_id"] == "plain/with slash"
    assert made["remaining_micros"] == 24_000
    assert 0 < made["available_micros"] <= 24_000
    for body, path in [
        ({"currency": "EUR"}, "daily_budget_micros"),
        ({"daily_budget_micros": -1, "currency": "EUR"}, "daily_budget_micros"),
        ({"daily_budget_micros": 5}, "currency"),
        ({"daily_budget_micros": 5, "currency": "eur"}, "currency"),
        ({"daily_budget_micros": 5, "currency": "EUR", "pacing": "fast"}, "pacing"),
    ]:
        refused = client.put("/v1/advertisers/x", json=body)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["path"] == path
    fund(client, "moved", 10_000_000)
    bid(client, 40, 1_000, "moved")
    assert sold(shown(client))
    changed = client.put("/v1/advertisers/moved", json={"daily_budget_micros": 5, "currency": "USD"})
    assert changed.status_code == 422
    assert changed.json()["errors"][0]["path"] == "currency"


@pytest.mark.parametrize("missing", ["slots", "reserve_micros", "currency"])
def test_a_placement_that_sells_by_halves_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    section = {name: value for name, value in SECTION.items() if name != missing}
    with pytest.raises(OperatorError, match=rf"placements\.shop\.sponsored\.{missing}"):
        load_settings(placements={"shop": {"sponsored": section}})


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"slots": []}, "slots"),
        ({"slots": [3, 2]}, "slots"),
        ({"slots": [0]}, "slots"),
        ({"reserve_micros": 0}, "reserve_micros"),
        ({"currency": "euro"}, "currency"),
        ({"user_cap": {"impressions": 0}}, "user_cap"),
    ],
)
def test_a_section_that_cannot_be_is_refused_at_the_start(change: dict[str, Any], where: str) -> None:
    with pytest.raises(OperatorError, match=rf"placements\.shop\.sponsored\.{where}"):
        load_settings(placements={"shop": {"sponsored": {**SECTION, **change}}})


def test_a_plan_without_click_probabilities_cannot_sell(bundles: Path, redis_url: str) -> None:
    placements = {"shop": Placement.model_validate({"sponsored": SECTION, "plan": {"depth": "prerank"}})}
    with (
        pytest.raises(OperatorError, match=r"placements\.shop\.sponsored: the plan ends at 'prerank'"),
        live_service(bundles=bundles, redis_url=redis_url, redis_prefix="halfway", placements=placements),
    ):
        pass
