"""A cascade's outcome in the caller's terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.api.auctions import auction_of, sponsored_of
from service.cascade.merge import names_of
from service.cascade.query import Outcome
from service.explain.facts import explain_answer
from service.recommender import Answered


def render(answered: Answered) -> dict[str, Any]:
    """The body of `service.api.list_schemas.ListOut`; a number that is not finite is written as null."""
    query, outcome = answered.query, answered.outcome
    body: dict[str, Any] = {
        "request_id": query.request_id,
        "bundle_version": answered.engine.bundle.version,
        "items": _items(answered),
        "next_cursor": answered.engine.next_cursor(answered.request, query, answered.item_ids),
        "degraded": list(answered.degraded),
    }
    if answered.auction is not None:
        body["auction"] = auction_of(answered.auction, answered.engine.catalogue, query.explain)
    if answered.facets is not None:
        body["facets"] = answered.facets
    if answered.starved is not None:
        body["starved"] = answered.starved
    if query.explain:
        body["timings_ms"] = {name: round(ms, 3) for name, ms in outcome.timings_ms.items()}
        body["funnel"] = _funnel(outcome)
    if answered.recording is not None and query.explain:
        explained, body["untold"] = explain_answer(answered.recording)
        _add(body["items"], "explain", explained)
    return body


def _items(answered: Answered) -> list[dict[str, Any]]:
    outcome, first = answered.outcome, answered.query.offset + 1
    sources = outcome.columns["sources"].tolist()
    named = {bits: names_of(bits, outcome.source_names) for bits in set(sources)}
    scores, interests = outcome.columns["score"].tolist(), _interests(answered)
    # None has any where the plan ends before the ranker.
    pctr = outcome.columns["pctr"].tolist() if "pctr" in outcome.columns else [None] * len(scores)
    items: list[dict[str, Any]] = [
        {
            "item_id": item,
            "rank": first + i,
            "score": scores[i],
            "pctr": pctr[i],
            "sources": named[sources[i]],
            "interest": interests[i],
        }
        for i, item in enumerate(answered.item_ids)
    ]
    if "propensity" in outcome.columns:
        _add(items, "propensity", outcome.columns["propensity"].tolist())
    if answered.auction is not None:
        for place, slot in answered.auction.sold.items():
            items[place]["sponsored"] = sponsored_of(slot)
    return items


def _interests(answered: Answered) -> list[dict[str, str] | None]:
    """The interest that found each item; None where only other sources did."""
    outcome, names = answered.outcome, answered.engine.names
    interests = outcome.state.interests
    found = outcome.columns.get("interest_index")
    if found is None or interests is None:
        return [None] * len(outcome.rows)
    clusters = interests.clusters.tolist()
    named = [{"id": names.id_of(cluster), "label": names.label(cluster)} for cluster in clusters]
    return [None if index < 0 else named[index] for index in found.tolist()]


def _funnel(outcome: Outcome) -> dict[str, int]:
    """How many candidates ended where: `returned`, `filter.seen`, the round that cut them."""
    counts: dict[str, int] = {}
    for fate in outcome.fates:
        name = {"answer": "returned", "filter": f"filter.{fate.reason}"}.get(fate.stage, fate.stage)
        counts[name] = counts.get(name, 0) + len(fate)
    return counts


def _add(items: Sequence[dict[str, Any]], name: str, values: Sequence[Any]) -> None:
    for item, value in zip(items, values, strict=True):
        item[name] = value
