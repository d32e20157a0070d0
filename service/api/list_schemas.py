"""The answers to calls for lists."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.api.auction_schemas import AuctionOut, SponsoredOut
from service.api.explain_schemas import ItemExplanation
from service.api.interest_schemas import InterestName


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
