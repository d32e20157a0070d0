"""The bodies of calls and answers about interests."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.fields import Body, Id
from service.api.user_schemas import UserEventOut


class InterestName(BaseModel):
    """An interest by its id in this bundle; "own" is the user's taste as a whole."""

    id: str
    label: str


class InterestPatch(Body):
    """`PATCH /v1/users/{user_id}/interests`"""

    id: Id = Field(description="Of an interest, as the list of this bundle has it.")
    action: Literal["pin", "mute", "reset"] = Field(
        description="Keep it in every answer, keep it out of them, or forget what was said."
    )


class TypicalItemOut(BaseModel):
    """An item that an interest is about."""

    item_id: str
    title: str | None


class CatalogueInterestOut(InterestName):
    """An interest that anybody can have: what it is about."""

    attributes: list[str] = Field(description="What is frequent in it and rarer elsewhere.")
    items: list[TypicalItemOut] = Field(description="Its most typical items that are available.")


class InterestsOut(BaseModel):
    """Every interest of the bundle."""

    bundle_version: str
    interests: list[CatalogueInterestOut]


class UserInterestOut(CatalogueInterestOut):
    """An interest of a user. The first of a list is "own": the user's taste as a whole."""

    share: float = Field(description="Of the candidates that interests propose; all shares sum to 1.")
    own_part: float = Field(
        description="How much of it comes from the user's own events; the rest is what similar users like."
    )
    preference: Literal["pin", "mute"] | None
    events: list[UserEventOut] = Field(description="The newest events behind it.")
    event_count: int


class UnplacedOut(BaseModel):
    """What this bundle cannot place: events that no interest counts, and pins or mutes that rest."""

    events: int
    preferences: int


class UserInterestsOut(BaseModel):
    """The mixture of interests that the user's next recommendation starts from."""

    model_config = ConfigDict(serialize_by_alias=True)

    user_id: str
    known: bool
    bundle_version: str
    own_weight: float = Field(
        alias="lambda", description="Weight of the user's own events against those of similar users."
    )
    interests: list[UserInterestOut]
    unplaced: UnplacedOut
