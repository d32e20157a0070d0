"""From the bodies of calls to the cascade's requests."""

from __future__ import annotations

from typing import Any

from service.api.schemas import ListIn, RecommendIn, SearchIn, SimilarIn
from service.cascade.query import Cap, ItemId, Kind, Own, Request, SessionEvent, UserId


def recommend_request(body: RecommendIn) -> Request:
    """A recommendation as the cascade knows it."""
    return Request(kind=Kind.RECOMMEND, **_list(body), **_personal(body))


def search_request(body: SearchIn) -> Request:
    """A search as the cascade knows it."""
    return Request(
        kind=Kind.SEARCH,
        text=body.query,
        facets=tuple(dict.fromkeys(body.facets)),
        **_list(body),
        **_personal(body),
    )


def similar_request(body: SimilarIn) -> Request:
    """A question for related items as the cascade knows it; each relation is a kind of list."""
    return Request(kind=Kind(body.relation), item_id=ItemId(body.item_id), **_list(body))


def _list(body: ListIn) -> dict[str, Any]:
    own = body.exclude_own
    return {
        "user_id": None if body.user_id is None else UserId(body.user_id),
        "count": body.count,
        "placement": body.placement,
        "filter": body.filter,
        "boost": [{"filter": boost.filter, "factor": boost.factor} for boost in body.boost],
        "exclude_items": body.exclude_items,
        "exclude_own": None if own is None else Own(own.field, own.profile),
        "caps": [Cap(cap.field, cap.most, cap.window) for cap in body.caps],
        "cursor": body.cursor,
        "explain": body.explain,
    }


def _personal(body: RecommendIn) -> dict[str, Any]:
    return {
        "session": [SessionEvent(ItemId(e.item_id), e.event, e.timestamp) for e in body.session],
        "include_seen": body.include_seen,
        "diversity": body.diversity,
    }
