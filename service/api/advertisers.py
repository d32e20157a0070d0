"""`/v1/advertisers`: budgets, and what was spent of them."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query

from service.api.advertiser_schemas import AdvertiserOut, BudgetIn
from service.api.context import PartsOf
from service.api.fields import Id
from service.api.json_route import JsonResponse, JsonRoute
from service.errors import CallerError, NotFound
from service.features.accounts import Account, Budget, Entry
from service.features.store import StoreUnavailable
from service.parts import Parts

router = APIRouter(prefix="/v1/advertisers", tags=["advertisers"], route_class=JsonRoute)
_PATH = "/{advertiser_id:path}"


@router.put(_PATH, response_model=AdvertiserOut)
async def put_budget(advertiser_id: Id, body: BudgetIn, parts: PartsOf) -> JsonResponse:
    """Set the budget, from now on; what was spent today counts. An advertiser without one sells nothing."""
    budget = Budget(body.daily_budget_micros, body.currency, body.pacing)
    if not await parts.market.accounts.put(advertiser_id, budget):
        raise CallerError("currency", "cannot change: money in another one was spent or is reserved")
    # It is stored: if Redis went away since, the follower will try again.
    with suppress(StoreUnavailable):
        await parts.market.follower.catch_up()
    return JsonResponse(_body(advertiser_id, await _account(parts, advertiser_id), parts))


@router.get(_PATH, response_model=AdvertiserOut)
async def get_account(
    advertiser_id: Id,
    parts: PartsOf,
    charges: Annotated[int, Query(ge=0, le=1000, description="How many charges to list.")] = 0,
) -> JsonResponse:
    """The account as it is now, with the newest charges if any are asked for."""
    content = _body(advertiser_id, await _account(parts, advertiser_id), parts)
    if charges:
        content["charges"] = [
            _charge(one) for one in await parts.market.accounts.ledger(advertiser_id, charges)
        ]
    return JsonResponse(content)


async def _account(parts: Parts, advertiser_id: str) -> Account:
    account = (await parts.market.accounts.read([advertiser_id])).get(advertiser_id)
    if account is None:
        raise NotFound("advertiser", advertiser_id)
    return account


def _body(advertiser_id: str, account: Account, parts: Parts) -> dict[str, Any]:
    return {
        "advertiser_id": advertiser_id,
        "currency": account.budget.currency,
        "daily_budget_micros": account.budget.daily_micros,
        "pacing": account.budget.pacing,
        "day": account.day,
        "spent_micros": account.spent_micros,
        "reserved_micros": account.reserved_micros,
        "remaining_micros": account.remaining_micros,
        "available_micros": account.available_micros(parts.market.accounts.now_ms()),
        "total_micros": account.total_micros,
        "clicks": account.clicks,
        "unfunded_clicks": account.unfunded,
    }


def _charge(entry: Entry) -> dict[str, Any]:
    return {
        "request_id": entry.request_id,
        "item_id": entry.item_id,
        "price_micros": entry.price_micros,
        "micros": entry.micros,
        "day": entry.day,
        "served_at": entry.served_ms,
        "clicked_at": entry.at_ms,
    }
