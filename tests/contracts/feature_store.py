"""What any feature store must do. A store's own test subclasses this and provides the fixture `store`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from service.cascade.query import ItemId, UserId
from service.features.store import Event, FeatureStore, Preference, PreferenceKind

HISTORY = 5
"""The fixture's store keeps so many events of a user."""
PREFERENCES = 3
"""And so many preferences."""

ANN, BOB = UserId("ann"), UserId("bob")
ODD_IDS = ["a b", "{x}", "}{", "a:b", "%7B", "日本語", "'\"\\", "*?[", "x" * 256]


def event(user: str, item: str, timestamp: int, event_id: str | None = None, kind: str = "click") -> Event:
    return Event(UserId(user), ItemId(item), kind, timestamp, event_id)


def wish(interest: str, at: int, *anchors: str, kind: str = "mute") -> Preference:
    return Preference(interest, PreferenceKind(kind), at, tuple(map(ItemId, anchors)))


class FeatureStoreContract:
    async def items_of(self, store: FeatureStore, user: UserId) -> Sequence[str]:
        return list((await store.fetch(user)).item_ids)

    async def test_an_unknown_user_is_an_empty_record(self, store: FeatureStore) -> None:
        record = await store.fetch(ANN)
        assert not record.known
        assert (len(record.item_ids), len(record.kinds), len(record.timestamps_ms)) == (0, 0, 0)
        assert record.attributes == {}

    async def test_an_event_is_there_as_soon_as_it_is_acknowledged(self, store: FeatureStore) -> None:
        assert list(await store.append([event("ann", "i1", 7, kind="view")])) == [True]
        record = await store.fetch(ANN)
        assert record.known
        assert (record.item_ids, record.kinds, record.timestamps_ms) == (["i1"], ["view"], [7])

    async def test_events_come_back_in_order_of_time_however_they_arrived(self, store: FeatureStore) -> None:
        await store.append([event("ann", "c", 30), event("ann", "a", 10)])
        await store.append([event("ann", "b", 20)])
        await store.append([event("ann", "d", 40), event("ann", "z", 5)])
        assert await self.items_of(store, ANN) == ["z", "a", "b", "c", "d"]

    async def test_equal_times_keep_the_order_of_arrival(self, store: FeatureStore) -> None:
        await store.append([event("ann", "a", 10), event("ann", "b", 10)])
        await store.append([event("ann", "c", 10)])
        await store.append([event("ann", "later", 20)])
        await store.append([event("ann", "d", 10)])
        assert await self.items_of(store, ANN) == ["a", "b", "c", "d", "later"]

    async def test_only_the_newest_events_are_kept(self, store: FeatureStore) -> None:
        await store.append([event("ann", f"i{n}", n) for n in range(1, HISTORY + 4)])
        newest = [f"i{n}" for n in range(4, HISTORY + 4)]
        assert await self.items_of(store, ANN) == newest
        await store.append([event("ann", "too old", 1)])
        assert await self.items_of(store, ANN) == newest

    async def test_a_repeated_event_id_of_a_user_counts_once(self, store: FeatureStore) -> None:
        once = event("ann", "i1", 1, "e1")
        assert list(await store.append([once, event("ann", "i2", 2, "e2"), once])) == [True, True, False]
        assert list(await store.append([event("ann", "i9", 9, "e1"), event("ann", "i3", 3)])) == [False, True]
        assert await self.items_of(store, ANN) == ["i1", "i2", "i3"]

    async def test_an_event_id_is_the_users_own(self, store: FeatureStore) -> None:
        assert list(await store.append([event("ann", "i", 1, "e"), event("bob", "i", 1, "e")])) == [
            True,
            True,
        ]

    async def test_equal_events_without_an_id_all_count(self, store: FeatureStore) -> None:
        assert list(await store.append([event("ann", "i", 1), event("ann", "i", 1)])) == [True, True]
        assert await self.items_of(store, ANN) == ["i", "i"]

    async def test_answers_stand_at_the_place_of_their_event(self, store: FeatureStore) -> None:
        await store.append([event("bob", "i", 50, "seen")])
        batch = [
            event("ann", "i", 3),
            event("bob", "i", 1, "seen"),
            event("ann", "i", 2),
            event("cy", "i", 1),
        ]
        assert list(await store.append(batch)) == [True, False, True, True]

    async def test_no_event_is_no_work(self, store: FeatureStore) -> None:
        assert list(await store.append([])) == []

    async def test_attributes_are_replaced_and_events_stay(self, store: FeatureStore) -> None:
        await store.append([event("ann", "i1", 1)])
        await store.put_user(ANN, {"age": 30, "tags": ["x", "y"], "name": "Änn"})
        await store.put_user(ANN, {"age": 31})
        record = await store.fetch(ANN)
        assert record.attributes == {"age": 31}
        assert list(record.item_ids) == ["i1"]

    async def test_a_user_with_attributes_only_is_known(self, store: FeatureStore) -> None:
        await store.put_user(ANN, {})
        assert (await store.fetch(ANN)).known

    async def test_deleting_a_user_forgets_everything_and_nobody_else(self, store: FeatureStore) -> None:
        await store.append([event("ann", "i1", 1, "e1"), event("bob", "i2", 1, "e1")])
        await store.put_user(ANN, {"age": 30})
        assert await store.delete_user(ANN)
        assert not (await store.fetch(ANN)).known
        assert not await store.delete_user(ANN)
        assert await self.items_of(store, BOB) == ["i2"]
        assert list(await store.append([event("ann", "i1", 1, "e1")])) == [True]

    async def test_preferences_come_back_whole_and_oldest_first(self, store: FeatureStore) -> None:
        later, earlier = wish("x", 20, "i1", "i2"), wish("y", 10, kind="pin")
        assert await store.prefer(ANN, [], later)
        assert await store.prefer(ANN, [], earlier)
        record = await store.fetch(ANN)
        assert record.known
        assert tuple(record.preferences) == (earlier, later)
        assert not (await store.fetch(BOB)).known

    async def test_a_preference_takes_the_place_of_its_interests_own(self, store: FeatureStore) -> None:
        await store.prefer(ANN, [], wish("x", 10))
        await store.prefer(ANN, [], wish("y", 11))
        assert await store.prefer(ANN, ["x"], wish("x", 12, kind="pin"))
        assert await store.prefer(ANN, ["y", "never there"], wish("z", 13))
        kept = [(one.interest, one.kind) for one in (await store.fetch(ANN)).preferences]
        assert kept == [("x", "pin"), ("z", "mute")]

    async def test_the_last_preference_forgotten_leaves_nothing(self, store: FeatureStore) -> None:
        await store.prefer(ANN, [], wish("x", 10))
        assert await store.prefer(ANN, ["x"], None)
        assert await store.prefer(ANN, ["x"], None)
        assert not (await store.fetch(ANN)).known

    async def test_one_preference_too_many_changes_nothing(self, store: FeatureStore) -> None:
        for number in range(PREFERENCES):
            assert await store.prefer(ANN, [], wish(f"x{number}", number))
        assert not await store.prefer(ANN, ["never there"], wish("more", 9))
        assert [one.interest for one in (await store.fetch(ANN)).preferences] == ["x0", "x1", "x2"]
        assert await store.prefer(ANN, [], wish("x1", 9))
        assert await store.prefer(ANN, ["x0", "x0"], wish("more", 10))
        assert [one.interest for one in (await store.fetch(ANN)).preferences] == ["x2", "x1", "more"]

    async def test_deleting_a_user_forgets_the_preferences(self, store: FeatureStore) -> None:
        await store.prefer(ANN, [], wish("x", 10))
        await store.prefer(BOB, [], wish("x", 10))
        assert await store.delete_user(ANN)
        assert not (await store.fetch(ANN)).known
        assert len((await store.fetch(BOB)).preferences) == 1

    @pytest.mark.parametrize("odd", ODD_IDS)
    async def test_ids_may_hold_any_visible_character(self, store: FeatureStore, odd: str) -> None:
        await store.append([event(odd, odd, 1, odd, kind="k" + odd[:20])])
        await store.put_items({ItemId(odd): {"title": odd}})
        await store.prefer(UserId(odd), [], wish(odd, 1, odd))
        record = await store.fetch(UserId(odd))
        assert tuple(record.preferences) == (wish(odd, 1, odd),)
        assert (list(record.item_ids), list(record.kinds)) == ([odd], ["k" + odd[:20]])
        assert not (await store.fetch(UserId(odd[:-1] or "other"))).known
        assert [change.item_id for change in await store.item_changes("0", 10)] == [odd]

    async def test_many_users_and_orders_agree_with_a_plain_model(self, store: FeatureStore) -> None:
        chance = random.Random(7)
        expected: dict[str, list[tuple[int, str]]] = {}
        events = []
        for number in range(300):
            user, timestamp = f"u{chance.randrange(6)}", chance.randrange(100)
            events.append(event(user, f"i{number}", timestamp, f"e{number}"))
        for start in range(0, len(events), 37):
            batch = events[start : start + 37]
            assert all(await store.append(batch))
            for one in sorted(batch, key=lambda e: e.timestamp_ms):
                expected.setdefault(one.user_id, []).append((one.timestamp_ms, one.item_id))
                expected[one.user_id].sort(key=lambda pair: pair[0])
                del expected[one.user_id][:-HISTORY]
        for user, pairs in expected.items():
            record = await store.fetch(UserId(user))
            assert list(zip(record.timestamps_ms, record.item_ids, strict=True)) == pairs

    async def test_item_changes_come_in_order_and_resume(self, store: FeatureStore) -> None:
        await store.put_items({ItemId("a"): {"n": 1}, ItemId("b"): {"n": 2}})
        await store.put_items({ItemId("c"): {"n": 3}})
        first = await store.item_changes("0", 2)
        assert [(change.item_id, change.record) for change in first] == [("a", {"n": 1}), ("b", {"n": 2})]
        rest = await store.item_changes(first[-1].cursor, 10)
        assert [change.item_id for change in rest] == ["c"]
        assert list(await store.item_changes(rest[-1].cursor, 10)) == []

    async def test_whoever_reads_all_changes_ends_with_the_newest_records(self, store: FeatureStore) -> None:
        for number in range(3):
            await store.put_items({ItemId("a"): {"n": number}, ItemId(f"x{number}"): {"n": number}})
        await store.delete_item(ItemId("x1"))
        seen, cursor = {}, "0"
        while changes := await store.item_changes(cursor, 2):
            seen.update({change.item_id: change.record for change in changes})
            cursor = changes[-1].cursor
        assert seen == {"a": {"n": 2}, "x0": {"n": 0}, "x1": None, "x2": {"n": 2}}

    async def test_who_waits_for_changes_is_woken_by_one(self, store: FeatureStore) -> None:
        await store.put_items({ItemId("a"): {}})
        cursor = (await store.item_changes("0", 10))[-1].cursor
        waiting = asyncio.create_task(store.wait_for_changes(cursor, 600.0))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await store.put_items({ItemId("b"): {}})
        await asyncio.wait_for(waiting, 60.0)
        assert [change.item_id for change in await store.item_changes(cursor, 10)] == ["b"]

    async def test_who_is_behind_does_not_wait_and_who_is_not_waits_no_longer_than_asked(
        self, store: FeatureStore
    ) -> None:
        await store.put_items({ItemId("a"): {}})
        await asyncio.wait_for(store.wait_for_changes("0", 600.0), 60.0)
        cursor = (await store.item_changes("0", 10))[-1].cursor
        await asyncio.wait_for(store.wait_for_changes(cursor, 0.05), 60.0)

    async def test_an_item_is_never_changed_then_live_then_deleted(self, store: FeatureStore) -> None:
        assert await store.get_item(ItemId("a")) is None
        await store.put_items({ItemId("a"): {"title": "A", "genres": ["x"], "year": 1.5}})
        live = await store.get_item(ItemId("a"))
        assert live is not None
        assert live.record == {"title": "A", "genres": ["x"], "year": 1.5}
        await store.delete_item(ItemId("a"))
        deleted = await store.get_item(ItemId("a"))
        assert deleted is not None
        assert deleted.record is None

    async def test_an_answering_store_answers_a_ping(self, store: FeatureStore) -> None:
        await store.ping()
