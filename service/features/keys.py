"""Redis layout: every key and every encoding, in one place.

`VERSION` stands in every key: a program that encodes otherwise uses another number and never misreads old
values. Keys of one user share the hash tag `{user}` and keys of the catalogue the tag `{items}`, so that a
script touches one slot of a Redis Cluster only. `P` is the configured prefix.

| key | type | value |
|---|---|---|
| `P:1:u:{user}:profile` | string | JSON object of attributes |
| `P:1:u:{user}:history` | list, newest first, bounded | `timestamp_ms US kind US item_id` |
| `P:1:u:{user}:event-ids` | sorted set, bounded, expires | 16-byte digest of an event_id, by arrival in ms |
| `P:1:u:{user}:interests` | hash interest -> JSON, bounded | `kind`, `at` in ms, `anchors` (item ids) |
| `P:1:u:{user}:exposures` | list, newest first, bounded, expires | `timestamp_ms US request_id US item ...` |
| `P:1:{items}:records` | hash item_id -> JSON | whole record, or `null` = deleted |
| `P:1:{items}:order` | sorted set | item_id, by the number of its newest change (microseconds, growing) |
| `P:1:{items}:unseen` | sorted set, bounded | new item_id that nobody saw yet, by its first PUT in ms |
| `P:1:{items}:deleted` | sorted set, ends by entry | item_id whose record is `null`, by its deletion in ms |
| `P:1:{items}:changes` | stream, capped | `item`, `json`; an entry's id is the change's number and `-0` |
| `P:1:trend:{placement}:S` | sorted set, bounded, expires | item_id, by log2 of its events, decayed |
| `P:1:u:{user}:ads` | list, newest first, bounded, expires | `timestamp_ms US advertiser` of each ad shown |
| `P:1:ad:{advertiser}:account` | hash | budget, pacing, `day`, `spent`, `reserved`, totals in micros |
| `P:1:ad:{advertiser}:holds` | sorted set | `request US item US served_ms`, by when the hold ends in ms |
| `P:1:ad:{advertiser}:amounts` | hash | the same members -> micros that are held |
| `P:1:ad:{advertiser}:charged` | sorted set, expires by entry | the same members, by when they were charged |
| `P:1:ad:{advertiser}:ledger` | stream | a charge: `request item price micros day served at` |
| `P:1:advertisers` | set | advertisers that have an account |
| `P:1:sold:{request}` | hash item -> JSON, expires | what an answer sold: advertiser, price, bid, served at |
| `P:1:calibration:{version}` | string, expires | JSON: what each placement prices with, and why |
| `P:1:calibration-lease` | string, expires | the process that judges click probabilities |
| `P:1:bundle` | string | JSON: the bundle version that an operator chose, and the one before |
| `P:1:bundle-workers` | hash process -> JSON, expires | the version that it serves, and those it refused |
| `P:1:bundle-turn` | string, expires | the process that opens another bundle just now |
| `P:1:log:events` | stream, capped | the events that came in, whole |
| `P:1:log:impressions` | stream, capped | what was answered, with propensities |
| `P:1:{traces}:order` | sorted set, bounded, expires | request_id of each trace, by its moment in ms |
| `P:1:{traces}:users` | hash, bounded, expires | whose trace it is, by request_id: so a user is erased |
| `P:1:{traces}:answer:REQUEST_ID` | string, expires | the trace of one answer (`service.explain.codec`) |

Item changes are announced on the stream, which wakes whoever waits. The sorted set is the same log
compacted, never more than one entry per item: a reader that is new, or was away for longer than the stream
remembers, starts from there and goes on with the stream, for the numbers are the same.
The mark of a deleted item ends some time after the deletion (`service.forgetting`): a reader that was away
for longer than that must begin anew.
A trend's events halve every S seconds. It looks forward: an event at time t adds 2^(t/S), and the logarithm
of the sum is kept, so that nothing has to be decayed and no number grows large; at the moment now the count
is 2^(score - now/S).
US is the unit separator (0x1F), which no id can contain; in a user's tag the characters `{ } %` are
percent-escaped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from service.cascade.query import ItemId, UserId
from service.features.store import Preference, PreferenceKind

VERSION = "1"
SEPARATOR = "\x1f"
_ESCAPES = str.maketrans({"{": "%7B", "}": "%7D", "%": "%25"})


class CorruptValue(Exception):
    """A stored value is not what this layout writes."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of all keys under one prefix; one prefix per tenant."""

    prefix: str = "cascada"

    def profile(self, user_id: UserId) -> str:
        """A user's attributes."""
        return self._user(user_id, "profile")

    def history(self, user_id: UserId) -> str:
        """A user's newest events."""
        return self._user(user_id, "history")

    def event_ids(self, user_id: UserId) -> str:
        """Digests of a user's recent event ids."""
        return self._user(user_id, "event-ids")

    def interests(self, user_id: UserId) -> str:
        """What a user pinned and muted."""
        return self._user(user_id, "interests")

    def exposures(self, user_id: UserId) -> str:
        """What a user was shown."""
        return self._user(user_id, "exposures")

    def ads_shown(self, user_id: UserId) -> str:
        """Which advertisers a user was shown ads of."""
        return self._user(user_id, "ads")

    def account(self, advertiser_id: str) -> str:
        """An advertiser's budget and sums."""
        return self._advertiser(advertiser_id, "account")

    def holds(self, advertiser_id: str) -> str:
        """When an advertiser's holds end."""
        return self._advertiser(advertiser_id, "holds")

    def hold_amounts(self, advertiser_id: str) -> str:
        """How much each hold holds."""
        return self._advertiser(advertiser_id, "amounts")

    def charged(self, advertiser_id: str) -> str:
        """Which impressions of an advertiser were charged."""
        return self._advertiser(advertiser_id, "charged")

    def ledger(self, advertiser_id: str) -> str:
        """Stream of an advertiser's charges."""
        return self._advertiser(advertiser_id, "ledger")

    def sold(self, request_id: str) -> str:
        """What one answer sold."""
        return f"{self.prefix}:{VERSION}:sold:{{{request_id.translate(_ESCAPES)}}}"

    @property
    def advertisers(self) -> str:
        """Everybody who has an account."""
        return f"{self.prefix}:{VERSION}:advertisers"

    @property
    def unseen_items(self) -> str:
        """New items that nobody was shown yet."""
        return f"{self.prefix}:{VERSION}:{{items}}:unseen"

    def trend(self, placement: str, half_life_s: float) -> str:
        """Decayed event counts of a placement."""
        return f"{self.prefix}:{VERSION}:trend:{{{placement.translate(_ESCAPES)}}}:{half_life_s:g}"

    @property
    def item_records(self) -> str:
        """Live item records."""
        return f"{self.prefix}:{VERSION}:{{items}}:records"

    @property
    def item_order(self) -> str:
        """Items by their newest change."""
        return f"{self.prefix}:{VERSION}:{{items}}:order"

    @property
    def item_deletions(self) -> str:
        """Items whose record says that they were deleted."""
        return f"{self.prefix}:{VERSION}:{{items}}:deleted"

    @property
    def item_changes(self) -> str:
        """Stream of item changes."""
        return f"{self.prefix}:{VERSION}:{{items}}:changes"

    @property
    def trace_order(self) -> str:
        """Traces by age."""
        return f"{self.prefix}:{VERSION}:{{traces}}:order"

    @property
    def trace_users(self) -> str:
        """Whose traces they are."""
        return f"{self.prefix}:{VERSION}:{{traces}}:users"

    def trace(self, request_id: str) -> str:
        """The trace of one answer; of an empty id the part that all traces begin with."""
        return f"{self.prefix}:{VERSION}:{{traces}}:answer:{request_id}"

    def calibration(self, version: str) -> str:
        """What prices are made with under a bundle."""
        return f"{self.prefix}:{VERSION}:calibration:{{{version.translate(_ESCAPES)}}}"

    @property
    def calibration_lease(self) -> str:
        """Which process judges that."""
        return f"{self.prefix}:{VERSION}:calibration-lease"

    @property
    def bundle(self) -> str:
        """Which bundle is to be served."""
        return f"{self.prefix}:{VERSION}:bundle"

    @property
    def bundle_workers(self) -> str:
        """Which one each process serves."""
        return f"{self.prefix}:{VERSION}:bundle-workers"

    @property
    def bundle_turn(self) -> str:
        """Which process opens another one."""
        return f"{self.prefix}:{VERSION}:bundle-turn"

    @property
    def event_log(self) -> str:
        """Stream of accepted events."""
        return f"{self.prefix}:{VERSION}:log:events"

    @property
    def impression_log(self) -> str:
        """Stream of answers."""
        return f"{self.prefix}:{VERSION}:log:impressions"

    def _advertiser(self, advertiser_id: str, what: str) -> str:
        return f"{self.prefix}:{VERSION}:ad:{{{advertiser_id.translate(_ESCAPES)}}}:{what}"

    def _user(self, user_id: UserId, what: str) -> str:
        return f"{self.prefix}:{VERSION}:u:{{{user_id.translate(_ESCAPES)}}}:{what}"


def pack(timestamp_ms: int, kind: str, item_id: ItemId) -> str:
    """One line of a history.

    Raises:
        ValueError: a part contains the separator.
    """
    if SEPARATOR in kind or SEPARATOR in item_id:
        raise ValueError(f"{kind!r}, {item_id!r}: must not contain the unit separator")
    return f"{timestamp_ms}{SEPARATOR}{kind}{SEPARATOR}{item_id}"


def pack_exposure(timestamp_ms: int, request_id: str, item_ids: Sequence[ItemId]) -> str:
    """One line of an exposure list: what one answer showed."""
    return SEPARATOR.join([str(timestamp_ms), request_id, *item_ids])


def unpack(lines: Sequence[bytes]) -> tuple[list[int], list[str], list[ItemId]]:
    """Timestamps, kinds and item ids of the lines of a history, in the order given: no loop over lines.

    Raises:
        CorruptValue: a line was not written by `pack`.
    """
    if not lines:
        return [], [], []
    try:
        parts = SEPARATOR.encode().join(lines).decode().split(SEPARATOR)
        timestamps = list(map(int, parts[0::3]))
    except ValueError as error:
        raise CorruptValue("a stored event cannot be read") from error
    if len(parts) != 3 * len(lines):
        raise CorruptValue("a stored event cannot be read")
    return timestamps, parts[1::3], cast(list[ItemId], parts[2::3])


def digest(event_id: str) -> bytes:
    """Fixed-size stand-in of an event id."""
    return hashlib.blake2b(event_id.encode(), digest_size=16).digest()


def pack_object(record: Mapping[str, Any] | None) -> bytes:
    """Attributes or an item record as JSON; None = deleted."""
    return orjson.dumps(record)


def unpack_object(raw: bytes) -> Mapping[str, Any] | None:
    """The inverse of `pack_object`.

    Raises:
        CorruptValue: not a JSON object or null.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise CorruptValue("a stored record is not JSON") from error
    if value is not None and not isinstance(value, dict):
        raise CorruptValue("a stored record is not a JSON object")
    return value


def pack_preference(preference: Preference) -> bytes:
    """What a user wants of an interest as JSON."""
    record = {"kind": preference.kind, "at": preference.at_ms, "anchors": list(preference.anchors)}
    return orjson.dumps(record)


def unpack_preferences(stored: Mapping[bytes, bytes]) -> tuple[Preference, ...]:
    """The values of the hash by interest, oldest first, ties by interest.

    Raises:
        CorruptValue: a value was not written by `pack_preference`.
    """
    found = [_preference(interest, value) for interest, value in stored.items()]
    return tuple(sorted(found, key=lambda one: (one.at_ms, one.interest)))


def _preference(interest: bytes, value: bytes) -> Preference:
    try:
        raw = orjson.loads(value)
        anchors = tuple(ItemId(item) for item in raw["anchors"])
        if not all(isinstance(item, str) for item in anchors):
            raise CorruptValue("a stored preference names no items")
        return Preference(interest.decode(), PreferenceKind(raw["kind"]), int(raw["at"]), anchors)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptValue("a stored preference cannot be read") from error
