"""`POST /v1/search`: which items match these words, for this user?"""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.api.context import CallOf, PartsOf, answer_list
from service.api.json_route import JsonResponse, JsonRoute
from service.api.list_schemas import ListOut
from service.api.query_schemas import SearchIn
from service.api.requests import search_request

router = APIRouter(prefix="/v1", tags=["lists"], route_class=JsonRoute)


@router.post("/search", response_model=ListOut)
async def search(body: SearchIn, request: Request, call: CallOf, parts: PartsOf) -> JsonResponse:
    """Items that match words, in the order that suits the user; a `query` without words recommends."""
    return await answer_list(parts, call, request, body, search_request(body, parts.settings.placements))
