"""The bodies of calls and answers about users."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from service.api.fields import Attributes, Body


class UserIn(Body):
    """A user's whole profile."""

    attributes: Attributes = Field({})


class UserEventOut(BaseModel):
    """One stored event."""

    item_id: str
    event: str
    timestamp: int


class PreferenceOut(BaseModel):
    """A stored pin or mute: the interest's id at that moment, and the items by which it is found again."""

    interest: str
    kind: Literal["pin", "mute"]
    timestamp: int
    items: list[str]


class UserOut(BaseModel):
    """A user's profile, newest events (newest first) and what the user pinned and muted (newest first)."""

    user_id: str
    attributes: dict[str, Any]
    events: list[UserEventOut]
    preferences: list[PreferenceOut]
