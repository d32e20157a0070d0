from __future__ import annotations

from typing import Any

import pytest

from service.impressions import COLUMNS, gather
from service.log_reader import as_csv

NOW_MS = 10_000_000
NEGATIVE = {"item": "a", "bid_micros": -5, "currency": "EUR"}


def answer(number: int, user: str = "u", **changes: Any) -> tuple[str, dict[str, Any]]:
    logged = {
        "request_id": f"r{number}",
        "items": ["a", "b"],
        "timestamp": NOW_MS - 1_000_000,
        "pctr": [0.25, 0.125],
        "propensities": None,
        "placement": "home",
        "bundle_version": "v1",
    }
    return user, {**logged, **changes}


def click(number: int, item: str = "a", user: str = "u") -> tuple[str, dict[str, Any]]:
    return user, {"request_id": f"r{number}", "item_id": item, "event": "click", "timestamp": NOW_MS}


def test_every_item_of_every_answer_is_a_row() -> None:
    found = gather([answer(1), answer(2, user="")], [click(1), click(2, "b", "later known")], NOW_MS)
    assert [dict(zip(COLUMNS, row, strict=True))["clicked"] for row in found.rows] == [
        True,
        False,
        False,
        True,
    ]
    assert found.rows[1][:6] == ("r1", "u", "b", 1, NOW_MS - 1_000_000, False)
    assert found.rows[1][6:] == (None, None, "home", 0.125, "v1")
    assert (found.clicks, dict(found.left_out)) == (2, {})
    assert as_csv(COLUMNS, found.rows).decode().splitlines()[1] == "r1,u,a,0,9000000,true,,,home,0.25,v1"


@pytest.mark.parametrize(
    ("answers", "clicks", "why", "rows"),
    [
        ([answer(1)], [click(7)], "click without an answer", 2),
        ([answer(1)], [click(1, "c")], "click without an answer", 2),
        ([answer(1)], [click(1), click(1)], "click repeated", 2),
        ([answer(1)], [click(1, user="v")], "click of somebody else", 2),
        ([answer(1), answer(1)], [], "answer repeated", 2),
        ([answer(1, timestamp=NOW_MS + 120_000)], [], "answer from the future", 0),
        ([answer(1, timestamp=NOW_MS - 1000)], [], "answer too young", 0),
        ([answer(1, items=None)], [], "answer unreadable", 0),
        ([answer(1, pctr=[0.5])], [], "answer unreadable", 0),
        ([answer(1, timestamp="soon")], [], "answer unreadable", 0),
        ([answer(1, sponsored=[NEGATIVE])], [], "bid that cannot be", 2),
        ([answer(1, sponsored=[{"item": "a", "bid_micros": 5}])], [], "bid that cannot be", 2),
    ],
)
def test_what_cannot_be_is_counted_and_does_no_harm(answers: Any, clicks: Any, why: str, rows: int) -> None:
    found = gather(answers, clicks, NOW_MS)
    assert found.left_out == {why: 1}
    assert len(found.rows) == rows
    assert all(row[7] is None for row in found.rows)
    assert found.clicks == sum(row[5] for row in found.rows) <= 1


def test_a_chance_that_is_none_is_left_empty() -> None:
    found = gather([answer(1, pctr=[float("nan"), 1.5])], [], NOW_MS)
    assert [row[9] for row in found.rows] == [None, None]
