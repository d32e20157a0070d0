"""`POST /v1/similar`: which items are like this one, or go with it?"""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.api.context import CallOf, PartsOf, answer_list
from service.api.json_route import JsonResponse, JsonRoute
from service.api.list_schemas import ListOut
from service.api.query_schemas import SimilarIn
from service.api.requests import similar_request

router = APIRouter(prefix="/v1", tags=["lists"], route_class=JsonRoute)


@router.post("/similar", response_model=ListOut)
async def similar(body: SimilarIn, request: Request, call: CallOf, parts: PartsOf) -> JsonResponse:
    """Items like `item_id`, or with `relation` complementary those that go with it.

    An item that the catalogue does not know is 404.
    """
    return await answer_list(parts, call, request, body, similar_request(body, parts.settings.placements))
