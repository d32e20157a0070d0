"""The bodies of calls and answers about events."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.api.fields import Body, Id, Moment, Name


class EventIn(Body):
    """One thing that a user did with an item; without a timestamp it happened now."""

    event_id: Id | None = Field(None, description="Makes the call safe to repeat.")
    user_id: Id
    item_id: Id
    event: Name
    timestamp: Moment | None = None
    value: float | None = None
    request_id: Id | None = Field(None, description="Of the answer that led to it.")
    placement: Name = Field("default", description="Where it happened: it counts for the trend there.")


class EventsIn(Body):
    """`POST /v1/events`"""

    events: list[EventIn] = Field(min_length=1, max_length=10_000)


class RejectedOut(BaseModel):
    """An event that was not taken, by its place in the call."""

    index: int
    reason: str


class EventsOut(BaseModel):
    """What became of the events. Everything counted here is stored."""

    accepted: int
    duplicates: int
    rejected: list[RejectedOut]
    token: str = Field(description="Names this call in logs.")
    ad_clicks: dict[str, int] | None = Field(
        None, description="What became of clicks on items with a bid, where the service sells any."
    )
