"""`/v1/users/{user_id}`: profiles, and forgetting."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from service.api.context import PartsOf
from service.api.fields import Id
from service.api.json_route import JsonResponse, JsonRoute
from service.api.records import check_attributes
from service.api.user_schemas import UserIn, UserOut
from service.cascade.query import UserId
from service.errors import NotFound

router = APIRouter(prefix="/v1/users", tags=["users"], route_class=JsonRoute)
_PATH = "/{user_id:path}"


@router.put(_PATH, status_code=204)
async def put_user(user_id: Id, body: UserIn, parts: PartsOf) -> Response:
    """Replace a user's attributes; the events stay."""
    check_attributes(body.attributes, parts.recommender.engine.bundle.schema.user_fields)
    await parts.store.put_user(UserId(user_id), body.attributes)
    return Response(status_code=204)


@router.get(_PATH, response_model=UserOut)
async def get_user(user_id: Id, parts: PartsOf) -> JsonResponse:
    """Everything that an answer for this user is made of."""
    record = await parts.store.fetch(UserId(user_id))
    if not record.known:
        raise NotFound("user", user_id)
    columns = zip(record.item_ids, record.kinds, record.timestamps_ms, strict=True)
    events = [{"item_id": item, "event": kind, "timestamp": at} for item, kind, at in columns]
    preferences = [
        {"interest": one.interest, "kind": one.kind, "timestamp": one.at_ms, "items": list(one.anchors)}
        for one in record.preferences
    ]
    content = {
        "user_id": user_id,
        "attributes": record.attributes,
        "events": events[::-1],
        "preferences": preferences[::-1],
    }
    return JsonResponse(content)


@router.delete(_PATH, status_code=204)
async def delete_user(user_id: Id, parts: PartsOf) -> Response:
    """Erase everything about a user, the logs included; a user who is not there is fine."""
    # What is still to be logged about the user must be there before it can be erased.
    await parts.effects.flush()
    await parts.traces.flush()
    await parts.store.delete_user(UserId(user_id))
    return Response(status_code=204)
