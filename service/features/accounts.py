"""Advertisers' accounts in Redis: budgets, holds on them, charges, and the ledger that adds up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import orjson

from service.cascade.query import ItemId, UserId
from service.features import account_scripts as scripts
from service.features.connection import Call, RedisConnection, reading
from service.features.keys import SEPARATOR, CorruptValue, Keys
from service.features.scripts import ADD_EXPOSURES

DAY_MS = 86_400_000
_SHOWN = 500
"""Ads that are remembered of a user."""
_SHOWN_TTL_S = 31 * 24 * 3600


class Held(IntEnum):
    """What became of a hold; see `service.features.account_scripts.HOLD`."""

    YES = 1
    BUDGET = 0
    NO_ACCOUNT = -1
    PACE = -2


class Charged(IntEnum):
    """What became of a click; see `service.features.account_scripts.CHARGE`."""

    YES = 1
    REPEATED = 0
    NO_ACCOUNT = -1
    UNFUNDED = -2


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """How long a served slot is held and may be charged, and how much is kept of the ledger."""

    hold_s: float = 300.0
    click_s: float = 24 * 3600.0
    ledger: int = 100_000


@dataclass(frozen=True, slots=True)
class Budget:
    """What an advertiser set: micros a day (UTC), spread over it ("even") or as soon as they are won."""

    daily_micros: int
    currency: str
    pacing: str = "even"


@dataclass(frozen=True, slots=True)
class Account:
    """An account at a moment: `spent` is of `day` (yyyymmdd, UTC), `reserved` what holds may still cost.

    `total`, `clicks` and `unfunded` are of all days; `archived` sums are those of entries that the ledger no
    longer has.
    """

    budget: Budget
    day: int
    spent_micros: int
    reserved_micros: int
    total_micros: int
    clicks: int
    unfunded: int
    archived_micros: int
    archived_clicks: int
    archived_unfunded: int

    @property
    def remaining_micros(self) -> int:
        """What the day's budget has left beside what was spent and is held; never below 0."""
        return max(0, self.budget.daily_micros - self.spent_micros - self.reserved_micros)

    def available_micros(self, now_ms: int) -> int:
        """What may be bid at a moment: `remaining_micros`, as far as the pacing allows it by now."""
        used = self.spent_micros + self.reserved_micros
        return max(0, min(self.remaining_micros, allowed_micros(self.budget, now_ms) - used))


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that was won: all that a click on it needs."""

    request_id: str
    item_id: ItemId
    advertiser_id: str
    currency: str
    bid_micros: int
    price_micros: int
    served_ms: int

    @property
    def member(self) -> str:
        """Its name among the holds: an id of a request that comes again is another impression."""
        return SEPARATOR.join((self.request_id, self.item_id, str(self.served_ms)))


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a ledger: `micros` were charged of `price_micros`; 0 where the budget was used up."""

    request_id: str
    item_id: str
    price_micros: int
    micros: int
    day: int
    served_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Books:
    """All about one account as of one moment: `holds` are micros by member, `ledger` is oldest first."""

    account: Account
    holds: Mapping[str, int]
    timed: frozenset[str]
    """Members that have an end; those of `holds`, if nothing is wrong."""
    ledger: Sequence[Entry]


def allowed_micros(budget: Budget, now_ms: int) -> int:
    """How much of a day's budget may be used up by a moment; a line over the day, an hour ahead."""
    if budget.pacing != "even":
        return budget.daily_micros
    share = min(1.0, (now_ms % DAY_MS + scripts.LEAD_MS) / DAY_MS)
    return int(budget.daily_micros * share)


def day_of(now_ms: int) -> int:
    """The UTC day of a moment as yyyymmdd."""
    return int(datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%d"))


class Accounts:
    """Every method raises `StoreUnavailable` when Redis does not answer in time; `clock` gives seconds."""

    def __init__(
        self,
        connection: RedisConnection,
        keys: Keys | None = None,
        limits: AccountLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis = connection
        self._keys = keys or Keys()
        self._limits = limits or AccountLimits()
        self._clock = clock

    def now_ms(self) -> int:
        """The clock by which days, holds and clicks are timed."""
        return int(self._clock() * 1000)

    async def put(self, advertiser_id: str, budget: Budget) -> bool:
        """Set a budget, at once; False = the account has money in another currency."""
        # Known first: an account that nobody can find would be missing from the books.
        await self._redis.write(self._redis.client.sadd(self._keys.advertisers, advertiser_id))
        arguments = [budget.daily_micros, budget.currency, budget.pacing]
        return bool(await self._redis.script(scripts.PUT_ACCOUNT, *self._call(advertiser_id, arguments)))

    async def advertisers(self) -> list[str]:
        """Everybody who has an account, in the order of their ids."""
        found: Any = await self._redis.write(self._redis.client.smembers(self._keys.advertisers))
        return sorted(one.decode() for one in found)

    async def read(self, advertiser_ids: Sequence[str]) -> dict[str, Account]:
        """The accounts of those who have one, in one round trip."""
        calls = [self._call(one, []) for one in advertiser_ids]
        answers = await self._redis.scripts(scripts.READ_ACCOUNT, calls)
        with reading():
            found = zip(advertiser_ids, map(_account, answers), strict=True)
            return {one: account for one, account in found if account is not None}

    async def hold(self, slots: Sequence[Slot]) -> list[Held]:
        """Hold the price of each slot until its time-out, in one round trip; a slot by itself, or not."""
        ends_ms = self.now_ms() + round(self._limits.hold_s * 1000)
        by_owner = _by_owner(slots)
        calls = []
        for (owner, currency), places in by_owner.items():
            parts = [part for i in places for part in (slots[i].member, slots[i].price_micros)]
            calls.append(self._call(owner, [currency, ends_ms, *parts]))
        answers = await self._redis.scripts(scripts.HOLD, calls)
        held = [Held.NO_ACCOUNT] * len(slots)
        for places, answer in zip(by_owner.values(), answers, strict=True):
            for i, code in zip(places, answer, strict=True):
                held[i] = Held(int(code))
        return held

    async def release(self, slots: Sequence[Slot]) -> None:
        """Give up holds."""
        by_owner = _by_owner(slots)
        calls = [self._call(owner, [slots[i].member for i in at]) for (owner, _), at in by_owner.items()]
        await self._redis.scripts(scripts.RELEASE, calls)

    async def sell(self, slots: Sequence[Slot], user_id: UserId | None) -> None:
        """Remember what one answer sold, so that a click can be charged, and what the user was shown."""
        if not slots:
            return
        key = self._keys.sold(slots[0].request_id)
        pipeline = self._redis.pipeline()
        pipeline.hset(key, mapping={slot.item_id: _pack(slot) for slot in slots})
        pipeline.pexpire(key, round(self._limits.click_s * 1000))
        await self._redis.write(pipeline.execute())
        if user_id is not None:
            lines = [SEPARATOR.join((str(slot.served_ms), slot.advertiser_id)) for slot in slots]
            names = [self._keys.ads_shown(user_id)]
            await self._redis.script(ADD_EXPOSURES, names, [_SHOWN, _SHOWN_TTL_S, *lines])

    async def shown(self, user_id: UserId, since_ms: int) -> dict[str, int]:
        """How many ads of each advertiser a user was shown since a moment."""
        key = self._keys.ads_shown(user_id)
        lines: Any = await self._redis.read(self._redis.client.lrange(key, 0, -1))
        counts: dict[str, int] = {}
        with reading():
            for line in lines:
                at, _, advertiser = line.decode().partition(SEPARATOR)
                if not at.isdigit():
                    raise CorruptValue("a stored exposure cannot be read")
                if int(at) >= since_ms:
                    counts[advertiser] = counts.get(advertiser, 0) + 1
        return counts

    async def sold(self, asked: Sequence[tuple[str, ItemId]]) -> list[Slot | CorruptValue | None]:
        """What each (request, item) was sold for; None = it was not, or too long ago."""
        if not asked:
            return []
        pipeline = self._redis.pipeline()
        for request_id, item_id in asked:
            pipeline.hget(self._keys.sold(request_id), item_id)
        answers = await self._redis.write(pipeline.execute())
        return [_unpack(*one, raw) for one, raw in zip(asked, answers, strict=True)]

    async def charge(self, slots: Sequence[Slot]) -> list[tuple[Charged, int]]:
        """Charge a click on each slot, once; what became of it and the micros, in one round trip."""
        window = round(self._limits.click_s * 1000)
        calls = []
        for slot in slots:
            parts = [slot.member, slot.price_micros, window, self._limits.ledger]
            served = [slot.request_id, slot.item_id, slot.served_ms]
            names, arguments = self._call(slot.advertiser_id, [*parts, *served])
            owner = slot.advertiser_id
            calls.append(([*names, self._keys.charged(owner), self._keys.ledger(owner)], arguments))
        answers = await self._redis.scripts(scripts.CHARGE, calls)
        return [(Charged(int(code)), int(micros)) for code, micros in answers]

    async def books(self, advertiser_id: str) -> Books | None:
        """Account, holds and ledger as of one moment; None = there is no account."""
        keys = self._keys
        pipeline = self._redis.client.pipeline(transaction=True)
        pipeline.hgetall(keys.account(advertiser_id))
        pipeline.hgetall(keys.hold_amounts(advertiser_id))
        pipeline.zrange(keys.holds(advertiser_id), 0, -1)
        pipeline.xrange(keys.ledger(advertiser_id))
        fields, amounts, timed, entries = await self._redis.write(pipeline.execute())
        with reading():
            account = _account([part for pair in fields.items() for part in pair])
            if account is None:
                return None
            holds = {member.decode(): int(micros) for member, micros in amounts.items()}
            names = frozenset(member.decode() for member in timed)
            return Books(account, holds, names, [_entry(one) for _, one in entries])

    async def ledger(self, advertiser_id: str, count: int) -> list[Entry]:
        """The newest charges, newest first."""
        stream = self._keys.ledger(advertiser_id)
        found: Any = await self._redis.write(self._redis.client.xrevrange(stream, count=count))
        with reading():
            return [_entry(fields) for _, fields in found]

    async def close(self) -> None:
        """Drop all connections."""
        await self._redis.close()

    def _call(self, advertiser_id: str, arguments: Sequence[Any]) -> Call:
        now_ms, keys = self.now_ms(), self._keys
        names = [
            keys.account(advertiser_id),
            keys.holds(advertiser_id),
            keys.hold_amounts(advertiser_id),
        ]
        return names, [now_ms, day_of(now_ms), now_ms % DAY_MS, *arguments]


def _by_owner(slots: Sequence[Slot]) -> dict[tuple[str, str], list[int]]:
    owners: dict[tuple[str, str], list[int]] = {}
    for i, slot in enumerate(slots):
        owners.setdefault((slot.advertiser_id, slot.currency), []).append(i)
    return owners


def _account(flat: Sequence[bytes]) -> Account | None:
    raw = {name.decode(): value.decode() for name, value in zip(flat[0::2], flat[1::2], strict=True)}
    if "daily" not in raw:
        return None
    try:
        return Account(
            budget=Budget(int(raw["daily"]), raw["currency"], raw["pacing"]),
            day=int(raw["day"]),
            spent_micros=int(raw["spent"]),
            reserved_micros=int(raw.get("reserved", 0)),
            total_micros=int(raw.get("total", 0)),
            clicks=int(raw.get("clicks", 0)),
            unfunded=int(raw.get("unfunded", 0)),
            archived_micros=int(raw.get("archived", 0)),
            archived_clicks=int(raw.get("archived_clicks", 0)),
            archived_unfunded=int(raw.get("archived_unfunded", 0)),
        )
    except (KeyError, ValueError) as error:
        raise CorruptValue(f"a stored account cannot be read: {error!r}") from error


def _pack(slot: Slot) -> bytes:
    return orjson.dumps(
        {
            "advertiser": slot.advertiser_id,
            "currency": slot.currency,
            "bid": slot.bid_micros,
            "price": slot.price_micros,
            "served": slot.served_ms,
        }
    )


def _unpack(request_id: str, item_id: ItemId, raw: bytes | None) -> Slot | CorruptValue | None:
    if raw is None:
        return None
    try:
        one = orjson.loads(raw)
        numbers = {name: one[name] for name in ("bid", "price", "served")}
        if any(type(value) is not int for value in numbers.values()) or not 0 < one["price"] <= one["bid"]:
            return CorruptValue("a stored impression has a price that cannot be")
        owner, currency = str(one["advertiser"]), str(one["currency"])
        return Slot(request_id, item_id, owner, currency, one["bid"], one["price"], one["served"])
    except (KeyError, TypeError, ValueError):
        return CorruptValue("a stored impression cannot be read")


def _entry(fields: Mapping[bytes, bytes]) -> Entry:
    raw = {name.decode(): value.decode() for name, value in fields.items()}
    try:
        return Entry(
            raw["request"],
            raw["item"],
            *(int(raw[name]) for name in ("price", "micros", "day", "served", "at")),
        )
    except (KeyError, ValueError) as error:
        raise CorruptValue("a stored charge cannot be read") from error
