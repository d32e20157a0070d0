from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from service.cascade.query import ItemId, UserId
from service.features.account_scripts import LEAD_MS
from service.features.accounts import (
    DAY_MS,
    AccountLimits,
    Accounts,
    Budget,
    Charged,
    Held,
    Slot,
    day_of,
)
from service.features.connection import RedisConnection
from service.features.keys import CorruptValue, Keys
from service.features.redis import RedisStore
from service.ledger import faults
from tests.support.live_redis import redis_prefix, redis_url

__all__ = ["redis_prefix", "redis_url"]

MIDNIGHT_MS = 1_700_006_400_000
"""15 November 2023, 00:00 UTC."""
NOON_MS = MIDNIGHT_MS + DAY_MS // 2
LIMITS = AccountLimits(hold_s=60, click_s=600, ledger=1000)


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOON_MS

    def __call__(self) -> float:
        return self.now_ms / 1000

    def forward(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture(loop_scope="function")
async def accounts(redis_url: str, redis_prefix: str, clock: Clock) -> AsyncIterator[Accounts]:
    made = _accounts(redis_url, redis_prefix, clock)
    yield made
    for advertiser in await made.advertisers():
        books = await made.books(advertiser)
        assert books is not None
        assert faults(books) == [], advertiser
    await made.close()


def _accounts(url: str, prefix: str, clock: Clock, limits: AccountLimits = LIMITS) -> Accounts:
    return Accounts(RedisConnection(url, 20, 10.0, 10.0), Keys(prefix), limits, clock)


def slot(number: int, price: int = 100, advertiser: str = "acme", served_ms: int = NOON_MS) -> Slot:
    return Slot(f"request-{number}", ItemId("item"), advertiser, "EUR", 2 * price, price, served_ms)


async def spend(accounts: Accounts, advertiser: str = "acme") -> tuple[int, int]:
    account = (await accounts.read([advertiser]))[advertiser]
    return account.spent_micros, account.reserved_micros


async def test_who_has_no_account_cannot_sell(accounts: Accounts) -> None:
    assert await accounts.read(["acme"]) == {}
    assert await accounts.hold([slot(1)]) == [Held.NO_ACCOUNT]
    assert await accounts.charge([slot(1)]) == [(Charged.NO_ACCOUNT, 0)]
    assert await accounts.books("acme") is None


async def test_a_slot_is_held_then_charged_once(accounts: Accounts) -> None:
    assert await accounts.put("acme", Budget(1000, "EUR", "asap"))
    assert await accounts.hold([slot(1)]) == [Held.YES]
    assert await spend(accounts) == (0, 100)
    assert await accounts.charge([slot(1)]) == [(Charged.YES, 100)]
    assert await accounts.charge([slot(1)]) == [(Charged.REPEATED, 0)]
    assert await spend(accounts) == (100, 0)
    (entry,) = await accounts.ledger("acme", 10)
    assert (entry.request_id, entry.item_id, entry.micros) == ("request-1", "item", 100)


async def test_an_impression_of_the_same_request_id_is_another_one(accounts: Accounts) -> None:
    await accounts.put("acme", Budget(1000, "EUR", "asap"))
    again = replace(slot(1), served_ms=NOON_MS + 5)
    await accounts.hold([slot(1), again])
    assert [code for code, _ in await accounts.charge([slot(1), again, again])] == [
        Charged.YES,
        Charged.YES,
        Charged.REPEATED,
    ]


async def test_a_budget_is_never_held_beyond_its_end(accounts: Accounts) -> None:
    await accounts.put("acme", Budget(250, "EUR", "asap"))
    assert await accounts.hold([slot(i) for i in range(4)]) == [Held.YES, Held.YES, Held.BUDGET, Held.BUDGET]
    assert await accounts.hold([slot(9, 50)]) == [Held.YES]
    assert await spend(accounts) == (0, 250)


async def test_a_second_hold_of_a_slot_changes_its_price(accounts: Accounts) -> None:
    await accounts.put("acme", Budget(250, "EUR", "asap"))
    await accounts.hold([slot(1, 200)])
    assert await accounts.hold([slot(1, 150)]) == [Held.YES]
    assert await spend(accounts) == (0, 150)
    assert await accounts.hold([slot(1, 251)]) == [Held.BUDGET]
    assert await spend(accounts) == (0, 150)


async def test_holds_of_a_worker_that_was_killed_end_by_themselves(accounts: Accounts, clock: Clock) -> None:
    await accounts.put("acme", Budget(250, "EUR", "asap"))
    await accounts.hold([slot(1), slot(2)])
    clock.forward(61)
    assert await accounts.hold([slot(3, 250)]) == [Held.YES]
    assert await spend(accounts) == (0, 250)


async def test_a_late_click_is_paid_from_what_is_left_or_not_at_all(accounts: Accounts, clock: Clock) -> None:
    await accounts.put("acme", Budget(250, "EUR", "asap"))
    await accounts.hold([slot(1), slot(2)])
    clock.forward(61)
    await accounts.hold([slot(3, 150)])
    assert await accounts.charge([slot(1), slot(2)]) == [(Charged.YES, 100), (Charged.UNFUNDED, 0)]
    assert await accounts.charge([slot(3, 150)]) == [(Charged.YES, 150)]
    assert await accounts.charge([slot(2)]) == [(Charged.REPEATED, 0)]
    account = (await accounts.read(["acme"]))["acme"]
    assert (account.spent_micros, account.clicks, account.unfunded) == (250, 2, 1)


async def test_a_hold_is_given_up(accounts: Accounts) -> None:
    await accounts.put("acme", Budget(250, "EUR", "asap"))
    await accounts.hold([slot(1), slot(2)])
    await accounts.release([slot(1), slot(7)])
    assert await spend(accounts) == (0, 100)


async def test_even_pacing_lets_a_line_be_spent_over_the_day(accounts: Accounts, clock: Clock) -> None:
    await accounts.put("acme", Budget(24_000, "EUR"))
    clock.now_ms = MIDNIGHT_MS
    assert LEAD_MS == 3_600_000
    assert await accounts.hold([slot(1, 1000)]) == [Held.YES]
    assert await accounts.hold([slot(2, 1)]) == [Held.PACE]
    clock.now_ms = MIDNIGHT_MS + 3_600_000
    # The first hold is over by now.
    assert await accounts.hold([slot(3, 2001)]) == [Held.PACE]
    assert await accounts.hold([slot(3, 2000)]) == [Held.YES]
    clock.now_ms = MIDNIGHT_MS + 23 * 3_600_000
    assert await accounts.hold([slot(4, 24_000)]) == [Held.YES]
    assert await accounts.hold([slot(5, 1)]) == [Held.BUDGET]


async def test_what_an_account_says_is_what_its_holds_obey(accounts: Accounts, clock: Clock) -> None:
    await accounts.put("acme", Budget(9_999_999, "EUR"))
    chance = random.Random(3)
    for number in range(60):
        clock.now_ms = MIDNIGHT_MS + number * DAY_MS // 60
        account = (await accounts.read(["acme"]))["acme"]
        available = account.available_micros(clock.now_ms)
        assert await accounts.hold([slot(number, available + 1)]) != [Held.YES]
        if available:
            paid = slot(number, chance.randint(1, available))
            assert await accounts.hold([paid]) == [Held.YES]
            await accounts.charge([paid])


async def test_a_day_begins_once_whichever_clock_is_first(
    accounts: Accounts, clock: Clock, redis_url: str, redis_prefix: str
) -> None:
    await accounts.put("acme", Budget(300, "EUR", "asap"))
    await accounts.hold([slot(1, 300)])
    await accounts.charge([slot(1, 300)])
    ahead = Clock()
    ahead.now_ms = MIDNIGHT_MS + DAY_MS + 5
    other = _accounts(redis_url, redis_prefix, ahead)
    assert await other.hold([slot(2, 200)]) == [Held.YES]
    await other.charge([slot(2, 200)])
    clock.now_ms = MIDNIGHT_MS + DAY_MS - 5
    # This worker is still in the day before, whose spending must not come back nor today's be forgotten.
    assert await accounts.hold([slot(3, 101)]) == [Held.BUDGET]
    assert await spend(accounts) == (200, 0)
    await other.close()
    assert day_of(clock.now_ms) + 1 == day_of(ahead.now_ms)


async def test_a_currency_stays_once_money_moved(accounts: Accounts) -> None:
    assert await accounts.put("acme", Budget(300, "EUR"))
    assert await accounts.put("acme", Budget(300, "USD", "asap"))
    assert await accounts.hold([slot(1)]) == [Held.NO_ACCOUNT]
    dollars = replace(slot(1), currency="USD")
    assert await accounts.hold([dollars]) == [Held.YES]
    assert not await accounts.put("acme", Budget(900, "EUR"))
    assert (await accounts.read(["acme"]))["acme"].budget == Budget(300, "USD", "asap")


async def test_a_lowered_budget_sells_no_more_but_pays_what_is_held(accounts: Accounts) -> None:
    await accounts.put("acme", Budget(300, "EUR", "asap"))
    await accounts.hold([slot(1), slot(2)])
    await accounts.put("acme", Budget(50, "EUR", "asap"))
    assert await accounts.hold([slot(3, 1)]) == [Held.BUDGET]
    assert await accounts.charge([slot(1)]) == [(Charged.YES, 100)]


async def test_what_was_sold_is_found_by_request_and_item(accounts: Accounts) -> None:
    await accounts.sell([slot(1)], None)
    assert await accounts.sold([("request-1", ItemId("item")), ("request-1", ItemId("other"))]) == [
        slot(1),
        None,
    ]
    assert await accounts.sold([]) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"advertiser":"acme","currency":"EUR","bid":5,"price":-5,"served":1}',
        b'{"advertiser":"acme","currency":"EUR","bid":5,"price":6,"served":1}',
        b'{"advertiser":"acme","currency":"EUR","bid":5,"price":1.5,"served":1}',
        b'{"advertiser":"acme","bid":5,"price":5,"served":1}',
    ],
)
async def test_an_impression_that_cannot_be_is_named(
    accounts: Accounts, redis_url: str, redis_prefix: str, raw: bytes
) -> None:
    connection = RedisConnection(redis_url, 2, 10.0, 10.0)
    key = Keys(redis_prefix).sold("r")
    await connection.write(connection.client.hset(key, "item", raw))  # type: ignore[arg-type]
    (found,) = await accounts.sold([("r", ItemId("item"))])
    assert isinstance(found, CorruptValue)
    await connection.close()


async def test_a_user_is_remembered_by_advertiser_and_forgotten(
    accounts: Accounts, redis_url: str, redis_prefix: str
) -> None:
    user = UserId("reader")
    early = slot(1, served_ms=NOON_MS - 10)
    await accounts.sell([early, replace(early, item_id=ItemId("two"))], user)
    await accounts.sell([slot(2), slot(2, advertiser="b:est")], user)
    assert await accounts.shown(user, NOON_MS - 10) == {"acme": 3, "b:est": 1}
    assert await accounts.shown(user, NOON_MS) == {"acme": 1, "b:est": 1}
    store = RedisStore(redis_url, Keys(redis_prefix))
    assert await store.delete_user(user)
    assert await accounts.shown(user, 0) == {}
    await store.close()


async def test_old_entries_go_into_sums_and_the_books_still_add_up(
    accounts: Accounts, redis_url: str, redis_prefix: str, clock: Clock
) -> None:
    await accounts.put("acme", Budget(10_000, "EUR", "asap"))
    short = _accounts(redis_url, redis_prefix, clock, AccountLimits(60, 600, ledger=3))
    for number in range(8):
        await short.hold([slot(number)])
        await short.charge([slot(number)])
    books = await short.books("acme")
    assert books is not None
    assert len(books.ledger) == 3
    assert (books.account.total_micros, books.account.archived_micros) == (800, 500)
    await short.close()


async def test_many_clients_never_spend_beyond_the_budget(
    accounts: Accounts, redis_url: str, redis_prefix: str, clock: Clock
) -> None:
    """Each client is a worker with connections of its own; half of the clicks come twice."""
    await accounts.put("acme", Budget(5_000, "EUR", "asap"))
    workers = [_accounts(redis_url, redis_prefix, clock) for _ in range(8)]

    async def work(worker: Accounts, seed: int) -> int:
        chance, paid = random.Random(seed), 0
        for number in range(40):
            one = slot(1000 * seed + number, chance.randint(1, 90))
            if await worker.hold([one]) == [Held.YES] and chance.random() < 0.7:
                answers = await asyncio.gather(worker.charge([one]), worker.charge([one]))
                paid += sum(micros for ((_, micros),) in answers)
            spent, reserved = await spend(worker)
            assert spent + reserved <= 5_000
        return paid

    paid = sum(await asyncio.gather(*(work(worker, seed) for seed, worker in enumerate(workers))))
    spent, reserved = await spend(accounts)
    assert paid == spent
    assert spent + reserved <= 5_000
    assert 5_000 - spent - reserved < 90
    clock.forward(61)
    assert await spend(accounts) == (spent, 0)
    for worker in workers:
        await worker.close()


async def test_the_books_show_what_is_wrong(accounts: Accounts, redis_url: str, redis_prefix: str) -> None:
    await accounts.put("bad", Budget(10_000, "EUR", "asap"))
    await accounts.hold([slot(1, advertiser="bad"), slot(2, advertiser="bad")])
    await accounts.charge([slot(1, advertiser="bad")])
    connection = RedisConnection(redis_url, 2, 10.0, 10.0)
    key = Keys(redis_prefix).account("bad")

    async def faults_with(field: str, by: int) -> list[str]:
        await connection.write(connection.client.hincrby(key, field, by))  # type: ignore[arg-type]
        books = await accounts.books("bad")
        assert books is not None
        await connection.write(connection.client.hincrby(key, field, -by))  # type: ignore[arg-type]
        return faults(books)

    assert any("total" in fault for fault in await faults_with("total", 1))
    assert any("spent" in fault for fault in await faults_with("spent", -1))
    assert any("reserved" in fault for fault in await faults_with("reserved", 7))
    assert any("clicks" in fault for fault in await faults_with("clicks", 1))
    await connection.close()
