"""`/v1/items`: the live catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from service.api.context import PartsOf, now_ms
from service.api.fields import Id
from service.api.item_schemas import ItemChangesOut, ItemIn, ItemPatch, ItemRecordOut, ItemsIn, ItemsOut
from service.api.json_route import JsonResponse, JsonRoute
from service.api.records import from_body, merge, read_batch, refusal, to_body
from service.cascade.query import ItemId
from service.catalogue import Catalogue
from service.errors import NotFound, OperatorError
from service.features.store import StoreUnavailable
from service.parts import Parts
from service.rules import CREATED_AT

router = APIRouter(prefix="/v1/items", tags=["items"], route_class=JsonRoute)
_PATH = "/{item_id:path}"
_NUMBER = r"^[0-9]{1,18}$"


@router.get("", response_model=ItemChangesOut)
async def list_changes(
    parts: PartsOf,
    after: Annotated[str, Query(pattern=_NUMBER, description="`next` of the page before.")] = "0",
    count: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> JsonResponse:
    """What differs from the data that the service began with, page by page: every live and deleted item."""
    changes = await parts.store.item_changes(after, count)
    following = changes[-1].cursor if len(changes) == count else None
    changes = list({change.item_id: change for change in changes}.values())
    live = [(change, change.record) for change in changes if change.record is not None]
    gone = [change for change in changes if change.record is None]
    content = {
        "items": [to_body(one.item_id, record) | {"cursor": one.cursor} for one, record in live],
        "deleted": [{"item_id": one.item_id, "cursor": one.cursor} for one in gone],
        "next": following,
    }
    return JsonResponse(content)


@router.post("", response_model=ItemsOut)
async def put_items(body: ItemsIn, parts: PartsOf) -> JsonResponse:
    """Create or replace items, each by itself: those that are wrong are named, all others are stored.

    Of an id that comes twice the last counts.
    """
    engine = parts.recommender.engine
    catalogue, room = engine.catalogue, engine.catalogue.overlay.room
    good, rejected = read_batch(body.items, engine.bundle.schema.item_fields)
    records: dict[ItemId, dict[str, Any]] = {}
    for index, (item_id, record) in good.items():
        needed = item_id not in records and catalogue.needs_room(item_id, record)
        if needed and room < 1:
            rejected.append(refusal(index, item_id, [(f"items[{index}]", _full(catalogue))]))
            continue
        room -= needed
        records[item_id] = _dated(catalogue, item_id, record)
    await parts.store.put_items(records)
    await _show(parts)
    rejected.sort(key=lambda one: int(one["index"]))
    return JsonResponse({"stored": len(records), "rejected": rejected})


@router.put(_PATH, response_model=ItemRecordOut)
async def put_item(item_id: Id, body: ItemIn, parts: PartsOf) -> JsonResponse:
    """Create or replace an item; it can be returned by the next answer."""
    record = from_body(body, parts.recommender.engine.bundle.schema.item_fields)
    return await _store(parts, ItemId(item_id), record)


@router.get(_PATH, response_model=ItemRecordOut)
async def get_item(item_id: Id, parts: PartsOf) -> JsonResponse:
    """An item as it is now."""
    return JsonResponse(to_body(item_id, await _current(parts, ItemId(item_id))))


@router.patch(_PATH, response_model=ItemRecordOut)
async def patch_item(item_id: Id, body: ItemPatch, parts: PartsOf) -> JsonResponse:
    """Change parts of an item. Two callers who change one item at a time: the last wins."""
    record = merge(
        await _current(parts, ItemId(item_id)), body, parts.recommender.engine.bundle.schema.item_fields
    )
    return await _store(parts, ItemId(item_id), record)


@router.delete(_PATH, status_code=204)
async def delete_item(item_id: Id, parts: PartsOf) -> Response:
    """Take an item out; no later answer has it."""
    await _current(parts, ItemId(item_id))
    await parts.store.delete_item(ItemId(item_id))
    await _show(parts)
    return Response(status_code=204)


async def _store(parts: Parts, item_id: ItemId, record: dict[str, Any]) -> JsonResponse:
    """Store a record and show it.

    Raises:
        OperatorError: too many items differ from the bundle; nothing was stored.
    """
    catalogue = parts.recommender.engine.catalogue
    if catalogue.overlay.room < 1 and catalogue.needs_room(item_id, record):
        raise OperatorError(_full(catalogue))
    record = _dated(catalogue, item_id, record)
    await parts.store.put_items({item_id: record})
    await _show(parts)
    return JsonResponse(to_body(item_id, record))


def _full(catalogue: Catalogue) -> str:
    return (
        f"{catalogue.overlay.live} items differ from the bundle, as many as may (CASCADA_LIVE_ITEM_LIMIT); "
        "not stored: export and activate a bundle with today's catalogue, or raise the limit"
    )


def _dated(catalogue: Catalogue, item_id: ItemId, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the moment of its creation, where the bundle does not know the item.

    So it is as new as it is, whichever process reads it, however late.
    """
    name, row = CREATED_AT.name, int(catalogue.rows_of([item_id])[0])
    if name in record or 0 <= row < catalogue.overlay.base_size:
        return dict(record)
    known = row >= 0 and not catalogue.is_deleted(row)
    return {**record, name: int(catalogue.created[row]) if known else now_ms()}


async def _current(parts: Parts, item_id: ItemId) -> dict[str, Any]:
    """The live record, else the bundle's.

    Raises:
        NotFound: the item is unknown or deleted.
    """
    change = await parts.store.get_item(item_id)
    record = change.record if change is not None else _exported(parts, item_id)
    if record is None:
        raise NotFound("item", item_id)
    return dict(record)


def _exported(parts: Parts, item_id: ItemId) -> dict[str, Any] | None:
    catalogue = parts.recommender.engine.catalogue
    row = int(catalogue.rows_of([item_id])[0])
    record = None if row < 0 else catalogue.record_of(row)
    if record is None:
        return None
    created = int(catalogue.created[row])
    dates = {CREATED_AT.name: created} if created else {}
    return {**record, "available": bool(catalogue.available[row]), **dates}


async def _show(parts: Parts) -> None:
    """Let this process see the change before the caller hears of it; the others follow."""
    # It is stored: if the store went away since, the follower will try again.
    with suppress(StoreUnavailable):
        await parts.follower.catch_up()
