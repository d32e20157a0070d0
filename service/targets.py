"""Where `cascada load` sends a data set: a running service, or a feature store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self
from urllib.parse import quote

import httpx
import orjson

from service.cascade.query import UserId
from service.errors import OperatorError
from service.features.store import Event, FeatureStore

_ATTEMPTS = 8
_TIMEOUT_S = 60.0


class Target(Protocol):
    """Takes users and events, and is closed by leaving its block."""

    async def __aenter__(self) -> Self:
        """Open."""

    async def __aexit__(self, *error: object) -> None:
        """Close."""

    async def put_user(self, user_id: UserId, attributes: Mapping[str, Any]) -> None:
        """Replace a user's attributes."""

    async def append(self, events: Sequence[Event]) -> int:
        """Store events; returns how many were known."""


class StoreTarget:
    """A feature store, without a service in between."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store

    async def __aenter__(self) -> Self:
        """Make sure that it is there."""
        await self._store.ping()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Release its connections."""
        await self._store.close()

    async def put_user(self, user_id: UserId, attributes: Mapping[str, Any]) -> None:
        """Replace a user's attributes."""
        await self._store.put_user(user_id, attributes)

    async def append(self, events: Sequence[Event]) -> int:
        """Store events; returns how many were known."""
        return len(events) - sum(await self._store.append(events))


class HttpTarget:
    """A service by its URL. Waits for one that is overloaded or not ready yet.

    Raises:
        OperatorError: from every method, when the service refuses or is not there.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._url = url
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def put_user(self, user_id: UserId, attributes: Mapping[str, Any]) -> None:
        """Replace a user's attributes."""
        await self._send("PUT", f"/v1/users/{quote(user_id, safe='')}", {"attributes": attributes})

    async def append(self, events: Sequence[Event]) -> int:
        """Store events; returns how many were known."""
        answer = await self._send("POST", "/v1/events", {"events": [_body(event) for event in events]})
        content = answer.json()
        if content["rejected"]:
            raise OperatorError(f"{self._url} rejected an event: {content['rejected'][0]['reason']}")
        return int(content["duplicates"])

    async def _send(self, method: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        content = orjson.dumps(body)
        try:
            for attempt in range(_ATTEMPTS):
                answer = await self._client.request(method, path, content=content)
                if answer.status_code not in (429, 503):
                    break
                await asyncio.sleep(min(2**attempt * 0.1, float(answer.headers.get("retry-after", 1))))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OperatorError(f"no service at {self._url}: {error or type(error).__name__}") from error
        if answer.is_error:
            raise OperatorError(f"{method} {path} was refused with {answer.status_code}: {_reason(answer)}")
        return answer


def _body(event: Event) -> dict[str, Any]:
    fields = {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "event": event.event,
        "timestamp": event.timestamp_ms,
        "value": event.value,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _reason(answer: httpx.Response) -> str:
    try:
        content = answer.json()
        return "; ".join([content["detail"], *(f"{e['path']}: {e['message']}" for e in content["errors"])])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
