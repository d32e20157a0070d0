"""`POST /v1/events`: what users did; the next answer knows it."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from service.api.context import CallOf, PartsOf, now_ms
from service.api.event_schemas import EventIn, EventsIn, EventsOut
from service.api.json_route import JsonResponse, JsonRoute
from service.cascade.query import ItemId, UserId
from service.features.store import Event

FUTURE_MS = 5 * 60 * 1000
"""Clocks differ by so much at most; an event from later than that is refused."""

router = APIRouter(prefix="/v1", tags=["events"], route_class=JsonRoute)


@router.post("/events", status_code=202, response_model=EventsOut)
async def add_events(body: EventsIn, call: CallOf, parts: PartsOf) -> JsonResponse:
    """Store events. What is accepted is stored; an `event_id` of the same user counts once.

    An item that the catalogue does not know is accepted: it may be announced a moment later.
    """
    now = now_ms()
    placements = parts.recommender.placements
    rejected, events = [], []
    for index, event in enumerate(body.events):
        if event.timestamp is not None and event.timestamp > now + FUTURE_MS:
            reason = f"timestamp is more than {FUTURE_MS // 60_000} minutes in the future"
            rejected.append({"index": index, "reason": reason})
        else:
            events.append(_event(event, now, placements))
    stored = await parts.store.append(events)
    accepted = sum(stored)
    counts = {"accepted": accepted, "duplicate": len(events) - accepted, "rejected": len(rejected)}
    for result, count in counts.items():
        parts.metrics.events.labels(result).inc(count)
    # Repeated events, too: the call before may have failed between storing and charging.
    clicks = await parts.market.charge(events, lambda: parts.recommender.engine.catalogue)
    content = {
        "accepted": accepted,
        "duplicates": counts["duplicate"],
        "rejected": rejected,
        "token": call.request_id,
        **({"ad_clicks": clicks} if clicks else {}),
    }
    return JsonResponse(content, 202)


def _event(event: EventIn, now: int, placements: Sequence[str]) -> Event:
    return Event(
        user_id=UserId(event.user_id),
        item_id=ItemId(event.item_id),
        event=event.event,
        timestamp_ms=now if event.timestamp is None else event.timestamp,
        event_id=event.event_id,
        value=event.value,
        request_id=event.request_id,
        placement=_placement(event.placement, placements),
    )


def _placement(name: str, placements: Sequence[str]) -> str | None:
    """As for requests: one that the bundle does not know is its first, so that callers cannot add keys."""
    return name if name in placements else next(iter(placements), None)
