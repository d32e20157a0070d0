"""What everybody asks of a service at once: lists, searches, events, and changes of the catalogue.

The items that are made and deleted are new ones every time, as in a shop; after a while about `LIVING` of
them live. Of the bundle's first items `HIDDEN` are hidden in turns. Users are always the same, and so is what
they search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from benchmarks.wire import request

SHARES = {"recommend": 0.64, "search": 0.14, "similar": 0.06, "event": 0.10, "item": 0.06}
"""Parts of the calls; a recommendation's share is the largest, as in a shop."""
STRANGERS = 0.1
"""Of the recommendations, for nobody that is known."""
LIVING, HIDDEN = 40, 10


@dataclass(frozen=True)
class Cast:
    """Who and what a bundle's calls are about; `attributes` are those of an item that is made."""

    users: Sequence[str]
    items: Sequence[str]
    texts: Sequence[str]
    event: str
    attributes: Mapping[str, Any]


class Mix:
    """An endless sequence of calls; the same seed gives the same one."""

    def __init__(self, cast: Cast, seed: int = 5) -> None:
        self._cast = cast
        self._rng = np.random.default_rng(seed)
        self._events = self._changes = 0
        self._kinds, self._shares = list(SHARES), list(SHARES.values())

    def draw(self) -> tuple[str, bytes]:
        """The next call: its kind, and the whole request."""
        kind = self._kinds[int(self._rng.choice(len(self._kinds), p=self._shares))]
        if kind == "item":
            return kind, self._change()
        body = getattr(self, f"_{kind}")()
        path = "events" if kind == "event" else kind
        return kind, request("POST", f"/v1/{path}", orjson.dumps(body))

    def histories(self, length: int) -> list[bytes]:
        """Calls that give every user so many events, a hundred or fewer users each."""
        users = self._cast.users
        batch = max(1, 1000 // length)
        parts = [users[start : start + batch] for start in range(0, len(users), batch)]
        events = ([self._event_of(user) for user in part for _ in range(length)] for part in parts)
        return [request("POST", "/v1/events", orjson.dumps({"events": each})) for each in events]

    def _recommend(self) -> dict[str, Any]:
        return {} if self._rng.random() < STRANGERS else {"user_id": self._one(self._cast.users)}

    def _search(self) -> dict[str, Any]:
        return {"user_id": self._one(self._cast.users), "query": self._one(self._cast.texts)}

    def _similar(self) -> dict[str, Any]:
        return {"item_id": self._one(self._cast.items)}

    def _event(self) -> dict[str, Any]:
        return {"events": [self._event_of(self._one(self._cast.users))]}

    def _event_of(self, user: str) -> dict[str, Any]:
        self._events += 1
        item = self._one(self._cast.items)
        return {
            "user_id": user,
            "item_id": item,
            "event": self._cast.event,
            "event_id": f"soak-{self._events}",
        }

    def _change(self) -> bytes:
        """In turns: make an item, delete (or at first replace) one, hide an item of the bundle, show one."""
        turn, step = divmod(self._changes, 4)
        self._changes += 1
        if step == 1 and turn >= LIVING:
            return request("DELETE", f"/v1/items/soak-{turn - LIVING}")
        if step < 2:
            body = {"title": self._one(self._cast.texts), "attributes": dict(self._cast.attributes)}
            return request("PUT", f"/v1/items/soak-{turn}", orjson.dumps(body))
        number = turn if step == 2 else max(turn - HIDDEN, 0)
        item = self._cast.items[number % min(len(self._cast.items), 5 * HIDDEN)]
        return request("PATCH", f"/v1/items/{item}", orjson.dumps({"available": step == 3}))

    def _one(self, of: Sequence[str]) -> str:
        return of[int(self._rng.integers(len(of)))]
