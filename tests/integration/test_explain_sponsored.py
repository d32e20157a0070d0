"""Why an ad is in a list, and by whom another was priced out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from service.placements import Placement
from tests.support.live_service import live_service

PATIENCE_S = 30.0
SELLING = {"slots": [2], "reserve_micros": 100, "currency": "EUR"}
BIDS = {"item-40": ("rich", 900_000), "item-44": ("poor", 1_000), "item-48": ("cheap", 50)}


def sold(client: httpx.Client, **body: Any) -> dict[str, Any]:
    """A list whose slot is sold; bids and budgets are on their way for a moment."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer: dict[str, Any] = client.post("/v1/recommend", json={"placement": "shop", **body}).json()
        if any(item.get("sponsored") for item in answer["items"]):
            return answer
        time.sleep(0.02)
    raise TimeoutError("no slot was sold")


def test_who_won_who_was_priced_out_and_who_made_way(bundles: Path, redis_url: str) -> None:
    with live_service(
        bundles=bundles,
        redis_url=redis_url,
        redis_prefix="test_explain_sponsored",
        placements={"shop": Placement.model_validate({"sponsored": SELLING})},
        advertiser_interval_ms=50,
    ) as client:
        for item, (advertiser, micros) in BIDS.items():
            offer = {"bid_micros": micros, "currency": "EUR", "advertiser_id": advertiser}
            assert client.patch(f"/v1/items/{item}", json=offer).status_code == 200
            budget = {"daily_budget_micros": 10**9, "currency": "EUR", "pacing": "asap"}
            assert client.put(f"/v1/advertisers/{advertiser}", json=budget).status_code == 200
        answer = sold(client, count=5, explain=True)
        listed = [item["item_id"] for item in answer["items"]]

        def why(item: str) -> dict[str, Any]:
            params = {"request_id": answer["request_id"], "item_id": item}
            got = client.get("/v1/explain", params=params)
            assert got.status_code == 200, got.text
            content: dict[str, Any] = got.json()
            return content

        won = next(item for item in answer["items"] if item.get("sponsored"))
        assert (won["item_id"], won["rank"]) == ("item-40", 2)
        told = why("item-40")
        assert (told["verdict"], told["rank"], told["ad"]["ended"]) == ("returned", 2, "won")
        assert told["ad"]["advertiser_id"] == "rich"
        assert told["ad"]["bid"]["price_micros"] == won["sponsored"]["price_micros"]
        assert told["summary"].startswith("Sold to rich and returned at rank 2.")
        assert told["ad"]["winners"] == []

        lost = why("item-44")["ad"]
        assert [one["item_id"] for one in lost["winners"]] == ["item-40"]
        assert lost["bid"]["price_micros"] == 0
        assert lost["bid"]["to_win_micros"] > lost["bid"]["bid_micros"] == 1_000
        assert lost["winners"][0]["ecpm_micros"] >= lost["bid"]["ecpm_micros"]
        assert "the slots went to item-40" in why("item-44")["summary"]
        assert why("item-48")["ad"]["ended"] == "auction.reserve"
        assert why("item-48")["ad"]["bid"] is None

        organic = [item for item in listed if item != "item-40"]
        for rank, item in enumerate(listed, start=1):
            assert why(item)["rank"] == rank
        assert "ad" not in why(organic[0])
        assert why(organic[0])["replayed"] is True
        away = [one for one in map(why, (f"item-{row}" for row in range(120))) if _made_way(one)]
        assert len(away) == 1
        assert away[0]["rank"] is None
        assert away[0]["cut"]["place"] == 5


def _made_way(told: dict[str, Any]) -> bool:
    return bool((told.get("cut") or {}).get("stage") == "sponsored")
