"""The bodies of calls for lists."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from service.api.fields import Body, Count, Id, Json, Moment, Name

RELATIONS = ("similar", "complementary")
_RELATION = {"type": "string", "enum": list(RELATIONS)}
_LONGEST_QUERY = 10_000
"""Characters."""


def _relation(value: str) -> str:
    """Refuse what is no relation by its name."""
    if value not in RELATIONS:
        known = ", ".join(RELATIONS)
        raise PydanticCustomError(
            "relation", "{value} is no relation; known are {known}", {"value": repr(value), "known": known}
        )
    return value


def _empty(**rules: Any) -> Any:
    """A list that is empty where a call says nothing of it; a default is copied deeply for each."""
    return Field(default_factory=list, json_schema_extra={"default": []}, **rules)


class SessionEventIn(Body):
    """Something that the user did just now, sent along instead of stored."""

    item_id: Id
    event: Name = "click"
    timestamp: Moment | None = None


class BoostIn(Body):
    """Multiplies the score of the items that a filter lets through."""

    filter: Json
    factor: float = Field(gt=0)


class CapIn(Body):
    """At most so many items with the same value in any window of places."""

    field: Name = Field(description="A category or a set of items; each value of a set counts.")
    most: int = Field(ge=1, le=200)
    window: int | None = Field(
        None, ge=2, le=200, description="Places in a row, over pages too; without it the whole list."
    )


class OwnIn(Body):
    """What makes an item the user's own."""

    field: Name = Field(description="A category or a set of items, such as who sells it.")
    profile: Name | None = Field(
        None, description="The profile attribute that it is compared with; without it the user's id."
    )


class ListIn(Body):
    """What every call for a list may say."""

    user_id: Id | None = None
    count: Count = 20
    placement: Name = "default"
    filter: Json | None = Field(None, description="A rule over item attributes.")
    boost: list[BoostIn] = _empty(max_length=16)
    exclude_items: list[Id] = _empty(max_length=10_000)
    exclude_own: OwnIn | None = Field(None, description="Leave out what the user sells or made.")
    caps: list[CapIn] = _empty(max_length=8, description="All of them hold; the page may be shorter.")
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=8192)] | None = Field(
        None, description="`next_cursor` of the page before."
    )
    deadline_ms: int | None = Field(None, ge=1, le=60_000)
    explain: bool = Field(False, description="Say why each item is here, and keep a trace of the answer.")
    trace: bool = Field(False, description="Keep a trace of the answer for GET /v1/explain.")


class RecommendIn(ListIn):
    """`POST /v1/recommend`"""

    session: list[SessionEventIn] = _empty(max_length=200)
    include_seen: bool | None = Field(
        None, description="Whether items of the user's history may be returned."
    )
    diversity: float | None = Field(None, ge=0, le=1)
    sponsored: bool | None = Field(
        None, description="Ask for sponsored items; where none can be sold, the answer says `degraded`."
    )


class SearchIn(RecommendIn):
    """`POST /v1/search`"""

    query: Annotated[str, StringConstraints(max_length=_LONGEST_QUERY)]
    facets: list[Name] = _empty(
        max_length=8,
        description="Categories and sets whose values are counted over the items that have a word of the "
        "query and pass the filters, at most as many as the plan has candidates.",
    )


class SimilarIn(ListIn):
    """`POST /v1/similar`"""

    item_id: Id
    relation: Annotated[str, AfterValidator(_relation), WithJsonSchema(_RELATION)] = Field(
        "similar",
        description="similar: what could be had instead of the item; complementary: what goes with it. Of an "
        "item that nobody met before the export, that is what goes with the items nearest to it by content. "
        "A bundle without vectors for it answers by co-occurrence and says `degraded`.",
    )
