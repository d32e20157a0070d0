"""The bodies of calls and answers about items."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, SkipValidation, StringConstraints

from ranking.auction import LARGEST_BID
from service.api.fields import Attributes, Body, Currency, Id, Moment
from service.api.problem_schemas import ErrorOut

Bid = Annotated[int, Field(ge=1, le=LARGEST_BID, description="What a click is worth, in micros.")]


class ItemIn(Body):
    """A whole item; with a bid it can be sold in sponsored slots."""

    title: Annotated[str, StringConstraints(max_length=1000)] | None = None
    attributes: Attributes = Field({})
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
    attributes: Attributes = Field({})
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
