"""Three example calls, each with the curl that does the same and the real answer, titles beside the ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from deploy.demo.trouble import DemoError
from models.data.dataset import Dataset

SHOWN = 6
TITLE_WIDTH = 40


class Examples:
    """Calls a running service about one data set and prints what it answers."""

    def __init__(self, dataset: Dataset, url: str) -> None:
        self._dataset, self._url = dataset, url
        self._client = httpx.Client(base_url=url, timeout=30)
        self.user = typical_user(dataset)

    def show(self) -> None:
        """Recommend; an event, and what it changed; search.

        Raises:
            DemoError: a call was refused.
        """
        before = self.recommend()
        self.react(before)
        self.search()

    def recommend(self) -> list[dict[str, Any]]:
        """Print a list for a known user and return its items."""
        latest = "; ".join(self._title(item) for item in self._latest(3))
        heading(1, f"What for user {self.user}, who last saw {latest}?")
        answer = self._call("/v1/recommend", {"user_id": self.user, "count": SHOWN})
        self._print(answer["items"])
        footer(answer)
        return list(answer["items"])

    def react(self, before: Sequence[Mapping[str, Any]]) -> None:
        """Report an event on the best item, ask again, and print what moved."""
        chosen = before[0]["item_id"]
        kind = self._dataset.event_kinds[-1]
        heading(2, f"User {self.user} sends {kind!r} on {self._title(chosen)}. What now?")
        self._call("/v1/events", {"events": [{"user_id": self.user, "item_id": chosen, "event": kind}]})
        answer = self._call("/v1/recommend", {"user_id": self.user, "count": SHOWN})
        was = {item["item_id"]: rank for rank, item in enumerate(before, start=1)}
        now = [item["item_id"] for item in answer["items"]]
        self._print(answer["items"], "change", moves(was, now))
        left = "; ".join(self._title(item) for item in was if item not in now)
        print(f"\n  left the list: {left or 'nothing'}")
        footer(answer)

    def search(self) -> None:
        """Print a search, personalised for the same user."""
        words = search_words(self._dataset)
        heading(3, f"User {self.user} searches for {words!r}.")
        answer = self._call("/v1/search", {"user_id": self.user, "query": words, "count": SHOWN})
        self._print(answer["items"])
        footer(answer)

    def _latest(self, count: int) -> list[str]:
        """The user's newest items, newest first."""
        known = self._answer("GET", f"/v1/users/{quote(self.user, safe='')}")
        return [event["item_id"] for event in known["events"][:count]]

    def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        print(curl(self._url + path, body))
        return self._answer("POST", path, body)

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise DemoError(f"{method} {path} got no answer: {error}") from error
        if answer.is_error:
            raise DemoError(f"{method} {path} was refused with {answer.status_code}: {answer.text}")
        return dict(answer.json())

    def _print(
        self, items: Sequence[Mapping[str, Any]], last: str = "found by", notes: Sequence[str] | None = None
    ) -> None:
        width = max([4, *(len(item["item_id"]) for item in items)])
        print(f"\n  {'':2}  {'item':>{width}}  {'title':<{TITLE_WIDTH}}  {'score':>7}  {'pCTR':>6}  {last}")
        for rank, item in enumerate(items, start=1):
            title = shorten(self._title(item["item_id"]))
            note = notes[rank - 1] if notes else ", ".join(item["sources"])
            line = f"  {rank:>2}  {item['item_id']:>{width}}  {title:<{TITLE_WIDTH}}  {numbers(item)}  {note}"
            print(line.rstrip())

    def _title(self, item_id: str) -> str:
        row = self._dataset.item_row.get(item_id)
        record = {} if row is None else self._dataset.item_records[row]
        year = record.get("year")
        title = str(record.get("title", item_id))
        return f"{title} ({year:.0f})" if isinstance(year, int | float) and year == year else title


def typical_user(dataset: Dataset) -> str:
    """A user with about 40 events: enough to know, few enough that one event is felt."""
    events = np.bincount(dataset.event_user, minlength=dataset.users)
    return dataset.user_ids[int(np.argmin(np.abs(events - 40)))]


def search_words(dataset: Dataset) -> str:
    """The longest word in the title of the most used item that has one."""
    uses = np.bincount(dataset.event_item, minlength=dataset.items)
    titles = (str(dataset.item_records[row].get("title", "")) for row in np.argsort(-uses, kind="stable"))
    return max(next((title for title in titles if title.strip()), "new").split(), key=len).lower()


def moves(was: Mapping[str, int], now: Sequence[str]) -> list[str]:
    """What each item of a list did since the list before: `was` is the rank of each item there, from 1."""
    return [
        "new" if item not in was else "" if was[item] == rank else f"was {was[item]}"
        for rank, item in enumerate(now, start=1)
    ]


def curl(url: str, body: Mapping[str, Any]) -> str:
    """The command line that makes the same call."""
    quoted = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
    return f"  curl -s {url} -H 'content-type: application/json' \\\n    -d '{quoted}'"


def numbers(item: Mapping[str, Any]) -> str:
    """Score and click probability, where the answer has one."""
    pctr = item.get("pctr")
    return f"{item['score']:7.3f}  {'' if pctr is None else f'{pctr:.1%}':>6}"


def shorten(title: str) -> str:
    """The title in at most `TITLE_WIDTH` characters."""
    return title if len(title) <= TITLE_WIDTH else title[: TITLE_WIDTH - 1] + "…"


def heading(number: int, text: str) -> None:
    """The line above a call."""
    print(f"\n{number}. {text}")


def footer(answer: Mapping[str, Any]) -> None:
    """Which bundle answered, and what was missing."""
    degraded = ", ".join(answer.get("degraded", ())) or "nothing"
    print(
        f"\n  request {answer['request_id']}, bundle {answer['bundle_version']}, degraded: {degraded}",
        flush=True,
    )
