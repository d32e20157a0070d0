"""The bodies of calls and answers. What is not listed here is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SkipValidation,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from ranking.auction import LARGEST_BID
from service.api.auction_schemas import AuctionOut, SponsoredOut
from service.api.explain_schemas import ItemExplanation
from service.offers import CURRENCY_CODE

NO_CONTROL = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"
LAST_MS = 253_402_300_799_999
"""The end of the year 9999 in milliseconds."""
_DEPTH = 32
_TEXT = 10_000


def _shallow(value: Any) -> Any:
    """Refuse JSON that is nested so deeply that code which recurses over it could fail."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEPTH:
            raise PydanticCustomError("too_deep", "Nested too deeply")
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return value


def _attribute(value: Any) -> Any:
    """An attribute is a string, a number, a boolean, null, or a list of strings or numbers."""
    many = value if isinstance(value, list) else [value]
    if len(many) > 1000:
        raise PydanticCustomError("too_long", "List should have at most 1000 items")
    if any(isinstance(one, dict | list) for one in many):
        raise PydanticCustomError("attribute", "An attribute is a scalar or a list of scalars")
    if any(isinstance(one, str) and len(one) > _TEXT for one in many):
        raise PydanticCustomError("string_too_long", f"String should have at most {_TEXT} characters")
    return value


Id = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=NO_CONTROL)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=NO_CONTROL)]
Moment = Annotated[int, Field(ge=0, le=LAST_MS, description="Milliseconds since 1970, UTC.")]
Json = Annotated[dict[str, Any], AfterValidator(_shallow)]
Attributes = Annotated[dict[Name, Annotated[Any, AfterValidator(_attribute)]], Field(max_length=256)]
Count = Annotated[int, Field(ge=1, le=200)]


RELATIONS = ("similar", "complementary")
_RELATION = {"type": "string", "enum": list(RELATIONS)}


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


class Body(BaseModel):
    """Unknown fields, loose types, NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


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

    query: Annotated[str, StringConstraints(max_length=_TEXT)]
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


class InterestName(BaseModel):
    """An interest by its id in this bundle; "own" is the user's taste as a whole."""

    id: str
    label: str


class ItemOut(BaseModel):
    """One place of a list; `rank` counts from 1 over all pages."""

    item_id: str
    rank: int
    score: float
    pctr: float | None
    sources: list[str]
    interest: InterestName | None = Field(
        None, description="The interest that found it; null where only other sources did."
    )
    sponsored: SponsoredOut | None = None
    propensity: float | None = None
    explain: ItemExplanation | None = None


class FacetOut(BaseModel):
    """A value of an attribute, and how many of the items that were found have it."""

    value: str
    count: int


class StarvedOut(BaseModel):
    """Why a list is short: how many of the `available` items pass each rule by itself, and all of them.

    `passes` names the rules that take any: `filter` and its parts, the placement's filter, `exclude_items`,
    `exclude_own`, `seen`, `muted`. `caps` says of each cap for how many of `passes_all` it has room by
    itself, and `capped` counts candidates that the caps kept out.
    """

    wanted: int
    returned: int
    available: int
    passes: dict[str, int]
    passes_all: int
    caps: dict[str, int]
    capped: int


class ListOut(BaseModel):
    """A list, what it was made with, and what had to be left out."""

    request_id: str
    bundle_version: str
    items: list[ItemOut]
    next_cursor: str | None = None
    degraded: list[str]
    auction: AuctionOut | None = Field(None, description="Where places of the list are sold.")
    facets: dict[str, list[FacetOut]] | None = Field(
        None, description="The most frequent values of each attribute that was asked for."
    )
    starved: StarvedOut | None = Field(
        None, description="With `filter_starved` in `degraded`: what the rules of a short list leave."
    )
    timings_ms: dict[str, float] | None = Field(None, description="Per stage, when `explain` was asked.")
    funnel: dict[str, int] | None = Field(
        None, description="How many candidates ended where, when `explain` was asked."
    )
    untold: dict[str, str] | None = Field(
        None, description="What an item's `explain` lacks and why, when `explain` was asked."
    )


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


Bid = Annotated[int, Field(ge=1, le=LARGEST_BID, description="What a click is worth, in micros.")]
Currency = Annotated[str, StringConstraints(pattern=CURRENCY_CODE)]


class ItemIn(Body):
    """A whole item; with a bid it can be sold in sponsored slots."""

    title: Annotated[str, StringConstraints(max_length=1000)] | None = None
    attributes: Attributes = {}
    available: bool = Field(True, description="False hides the item on every path.")
    available_from: Moment | None = Field(None, description="Before, the item is hidden.")
    available_until: Moment | None = Field(None, description="From then on, the item is hidden.")
    created_at: Moment | None = None
    bid_micros: Bid | None = None
    currency: Currency | None = None
    advertiser_id: Id | None = None


class ItemPatch(Body):
    """The parts of an item to change; an attribute that is null is removed."""

    title: Annotated[str, StringConstraints(max_length=1000)] | None = None
    attributes: Attributes = {}
    available: bool | None = None
    available_from: Moment | None = None
    available_until: Moment | None = None
    created_at: Moment | None = None
    bid_micros: Bid | None = None
    currency: Currency | None = None
    advertiser_id: Id | None = None


class ItemWithId(ItemIn):
    """A whole item in a batch."""

    item_id: Id


class ItemsIn(Body):
    """`POST /v1/items`; each item is checked by itself."""

    items: list[SkipValidation[ItemWithId]] = Field(min_length=1, max_length=1000)


class ItemRecordOut(BaseModel):
    """An item as it is now."""

    item_id: str
    title: str | None
    attributes: dict[str, Any]
    available: bool
    available_from: int | None
    available_until: int | None
    created_at: int | None
    bid_micros: int | None = None
    currency: str | None = None
    advertiser_id: str | None = None


class ErrorOut(BaseModel):
    """One bad field."""

    path: str
    message: str


class RefusedItemOut(BaseModel):
    """An item that was not stored, by its place in the call; `item_id` where it has a usable one."""

    index: int
    item_id: str | None
    errors: list[ErrorOut]


class ItemsOut(BaseModel):
    """How many items were stored, and which were not."""

    stored: int
    rejected: list[RefusedItemOut]


class LiveItemOut(ItemRecordOut):
    """An item that was changed since the service began, and the number of that change."""

    cursor: str


class DeletedItemOut(BaseModel):
    """An item that was deleted, and the number of that change."""

    item_id: str
    cursor: str


class ItemChangesOut(BaseModel):
    """Changes, oldest first; of an item that comes twice the later counts. `next` null: that was all."""

    items: list[LiveItemOut]
    deleted: list[DeletedItemOut]
    next: str | None


class UserIn(Body):
    """A user's whole profile."""

    attributes: Attributes = {}


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


class BundleOut(BaseModel):
    """One bundle of the folder."""

    version: str
    created: str
    active: bool
    """Served by the worker that was asked."""
    before: bool
    """What a rollback would activate."""
    workers: int
    """How many serve it, as they told last."""
    refused: str | None
    """Why a worker refused it."""
    metrics: dict[str, Any]


class BrokenOut(BaseModel):
    """A folder whose manifest cannot be read."""

    folder: str
    reason: str


class BundlesOut(BaseModel):
    """All bundles, newest first; `pinned` = the one that was activated is served after a restart, too."""

    pinned: bool
    bundles: list[BundleOut]
    broken: list[BrokenOut]


class ActivatedOut(BaseModel):
    """The version that is served from now on."""

    version: str
    before: str | None
    pinned: bool
    seconds: float


class ReadyOut(BaseModel):
    """Whether this process serves, and what it depends on."""

    status: Literal["ready", "starting", "failed"]
    bundle_version: str | None = None
    checks: dict[str, str] = {}


class ProblemOut(BaseModel):
    """RFC 9457; the body of every answer from 400 on."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[ErrorOut] = []
