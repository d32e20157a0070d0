"""`/v1/items`: the live catalogue."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from service.api.context import PartsOf
from service.api.json_route import JsonResponse, JsonRoute
from service.api.records import from_body, merge, to_body
from service.api.schemas import Id, ItemIn, ItemPatch, ItemRecordOut, ItemsIn, ItemsOut
from service.cascade.query import ItemId
from service.errors import NotFound
from service.features.store import StoreUnavailable
from service.parts import Parts

router = APIRouter(prefix="/v1/items", tags=["items"], route_class=JsonRoute)
_PATH = "/{item_id:path}"


@router.post("", response_model=ItemsOut)
async def put_items(body: ItemsIn, parts: PartsOf) -> JsonResponse:
    """Create or replace items; of an id that comes twice the last counts."""
    fields = parts.recommender.engine.bundle.schema.item_fields
    records = {
        ItemId(item.item_id): from_body(item, fields, f"items[{i}].") for i, item in enumerate(body.items)
    }
    await parts.store.put_items(records)
    await _show(parts)
    return JsonResponse({"stored": len(records)})


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
    await parts.store.put_items({item_id: record})
    await _show(parts)
    return JsonResponse(to_body(item_id, record))


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
    dates = {"created_at": created} if created else {}
    return {**record, "available": bool(catalogue.available[row]), **dates}


async def _show(parts: Parts) -> None:
    """Let this process see the change before the caller hears of it; the others follow.

    Raises:
        OperatorError: stored, but the catalogue is full of changes; it is seen after the next export.
    """
    # It is stored: if the store went away since, the follower will try again.
    with suppress(StoreUnavailable):
        await parts.follower.catch_up()
