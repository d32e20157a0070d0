"""From the bodies of calls to the cascade's requests; a placement says what a call leaves open."""

from __future__ import annotations

from typing import Any

from service.api.query_schemas import BoostIn, CapIn, ListIn, OwnIn, RecommendIn, SearchIn, SimilarIn
from service.cascade.query import Cap, ItemId, Kind, Own, Request, Selling, SessionEvent, UserId
from service.placements import Placement, Placements

_NONE = Placement()


def recommend_request(body: RecommendIn, placements: Placements) -> Request:
    """A recommendation as the cascade knows it."""
    return Request(kind=Kind.RECOMMEND, **_list(body, placements), **_personal(body, placements))


def search_request(body: SearchIn, placements: Placements) -> Request:
    """A search as the cascade knows it."""
    return Request(
        kind=Kind.SEARCH,
        text=body.query,
        facets=tuple(dict.fromkeys(body.facets)),
        **_list(body, placements),
        **_personal(body, placements),
    )


def similar_request(body: SimilarIn, placements: Placements) -> Request:
    """A question for related items as the cascade knows it; each relation is a kind of list."""
    return Request(kind=Kind(body.relation), item_id=ItemId(body.item_id), **_list(body, placements))


def _list(body: ListIn, placements: Placements) -> dict[str, Any]:
    placed, said = placements.get(body.placement, _NONE), body.model_fields_set
    return {
        "user_id": None if body.user_id is None else UserId(body.user_id),
        "count": body.count if "count" in said or placed.count is None else placed.count,
        "placement": body.placement,
        "filter": body.filter,
        "boost": _boosts(body.boost),
        "exclude_items": body.exclude_items,
        "exclude_own": _own(body.exclude_own if "exclude_own" in said else placed.exclude_own),
        "caps": _caps(body.caps if "caps" in said else placed.caps),
        "cursor": body.cursor,
        "explain": body.explain,
        "trace": body.trace,
        "placement_filter": placed.filter,
        "placement_boost": _boosts(placed.boost),
    }


def _personal(body: RecommendIn, placements: Placements) -> dict[str, Any]:
    placed = placements.get(body.placement, _NONE)
    return {
        "session": [SessionEvent(ItemId(e.item_id), e.event, e.timestamp) for e in body.session],
        "include_seen": placed.include_seen if body.include_seen is None else body.include_seen,
        "diversity": placed.diversity if body.diversity is None else body.diversity,
        "selling": _selling(body, placed),
    }


def _selling(body: RecommendIn, placed: Placement) -> Selling | None:
    if placed.sponsored is None or body.sponsored is False:
        return None
    return placed.sponsored.selling


def _boosts(boosts: list[BoostIn]) -> list[dict[str, Any]]:
    return [{"filter": boost.filter, "factor": boost.factor} for boost in boosts]


def _own(own: OwnIn | None) -> Own | None:
    return None if own is None else Own(own.field, own.profile)


def _caps(caps: list[CapIn]) -> list[Cap]:
    return [Cap(cap.field, cap.most, cap.window) for cap in caps]
