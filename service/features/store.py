"""The online state of users and items: what any feature store must do (contract suite: `tests/contracts`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from service.cascade.query import ItemId, UserId


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a user did with an item; `timestamp_ms` since the epoch, UTC."""

    user_id: UserId
    item_id: ItemId
    event: str
    timestamp_ms: int
    event_id: str | None = None
    value: float | None = None
    request_id: str | None = None
    placement: str | None = None
    """At which placement of the bundle it counts for the trend; None = at none."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Items by falling decayed event count; equally long."""

    item_ids: Sequence[str] = ()
    counts: Sequence[float] = ()


class PreferenceKind(StrEnum):
    """What a user can want of an interest."""

    PIN = "pin"
    MUTE = "mute"


@dataclass(frozen=True, slots=True)
class Preference:
    """What a user wants of an interest.

    `interest` is its id in the bundle of that moment; `anchors` are items by which another bundle finds it.
    """

    interest: str
    kind: PreferenceKind
    at_ms: int
    anchors: Sequence[ItemId]


@dataclass(frozen=True, slots=True)
class UserRecord:
    """What the store knows of one user: attributes, equally long event lists, preferences; oldest first."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    item_ids: Sequence[ItemId] = ()
    kinds: Sequence[str] = ()
    timestamps_ms: Sequence[int] = ()
    known: bool = False
    preferences: Sequence[Preference] = ()


@dataclass(frozen=True, slots=True)
class ItemChange:
    """One change of the catalogue: `record` None = deleted. `cursor` orders changes and resumes reading."""

    cursor: str
    item_id: ItemId
    record: Mapping[str, Any] | None


class StoreUnavailable(Exception):
    """The store did not answer in time; the request goes on without it, labelled."""


class FeatureStore(Protocol):
    """Every method raises `StoreUnavailable` when the store does not answer within its timeout."""

    async def fetch(self, user_id: UserId, within_s: float | None = None) -> UserRecord:
        """Everything a request needs of a user, in ONE round trip; an unknown user is an empty record.

        It takes no longer than `within_s`, however long the store's own timeout is.
        """

    async def append(self, events: Sequence[Event]) -> Sequence[bool]:
        """Store events; False at each duplicate by `event_id` of its user. Returns when all are stored."""

    async def put_user(self, user_id: UserId, attributes: Mapping[str, Any]) -> None:
        """Replace a user's attributes."""

    async def prefer(self, user_id: UserId, gone: Sequence[str], new: Preference | None) -> bool:
        """Forget the preferences for the interests `gone`, then keep `new` in place of its interest's own.

        At once, or not at all: False = the user has as many preferences as are kept.
        """

    async def delete_user(self, user_id: UserId) -> bool:
        """Erase everything about a user; False if there was nothing."""

    async def put_items(self, records: Mapping[ItemId, Mapping[str, Any]]) -> None:
        """Store whole item records and announce the changes, in order."""

    async def get_item(self, item_id: ItemId) -> ItemChange | None:
        """The newest change of an item; None = never changed here, though the bundle may know the item."""

    async def delete_item(self, item_id: ItemId) -> None:
        """Mark an item deleted and announce it."""

    async def item_changes(self, after: str, limit: int) -> Sequence[ItemChange]:
        """Changes after a cursor ("0" = from the beginning), oldest first, at most `limit`."""

    async def wait_for_changes(self, after: str, seconds: float) -> None:
        """Return as soon as an item has changed after the cursor, else after so many seconds."""

    async def ping(self) -> None:
        """Raise unless the store answers."""

    async def close(self) -> None:
        """Release connections."""
