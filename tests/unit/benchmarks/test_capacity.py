from typing import Any

import pytest

from benchmarks.capacity import (
    MACHINE_CORES,
    MACHINE_GB,
    SIZES,
    chosen,
    item_rows,
    layout,
    request_ms,
    user_rows,
)
from benchmarks.measured import PARTS, RACED, Line, Measured, Power, has_what_is_served
from benchmarks.report import Report, newest, reopened
from benchmarks.scale import SERVED
from benchmarks.state import KINDS, Taken

RATE = 1000.0
SMALL, LARGE = Line(0.0, 100.0), Line(0.0, 300.0)


def measured(**changes: object) -> Measured:
    """A quick index that is large, one that is small and slow, and one that finds too little."""
    told = {
        "components": {"item vectors": Line(0.0, 260.0)},
        "indexes": {"half": LARGE, "sq8": SMALL, "hnsw": Line(0.0, 1.0)},
        "recall": {"half": 0.96, "sq8": 0.96, "hnsw": 0.75},
        "kernel": {"half": Power(1e6, 1.0, 0.3), "sq8": Power(1e6, 8.0, 0.3), "hnsw": Power(1e6, 0.1, 0.1)},
        "retrieval": {part: Power(1e6, 0.5, 0.2) for part in PARTS},
        "heap": Line(1e8, 5.0),
        "ready_s": Line(1.0, 1e-6),
        "request_ms": 6.0,
        "redis_ms": 0.1,
        "sources": [],
    }
    return Measured(**(told | changes))


def test_a_line_goes_through_the_two_largest_sizes():
    line = Line.through({10: 500.0, 100: 2000.0, 1000: 11_000.0})
    assert (line.base, line.each) == (pytest.approx(1000.0), pytest.approx(10.0))
    assert line.at(2000) == pytest.approx(21_000.0)
    assert Line.through({100: 50.0}).at(200) == pytest.approx(100.0)


def test_a_power_goes_through_the_two_largest_sizes():
    power = Power.through({10: 99.0, 100: 2.0, 10_000: 20.0})
    assert power.exponent == pytest.approx(0.5)
    assert power.at(1_000_000) == pytest.approx(200.0)


def test_a_layout_has_as_few_parts_as_fit_and_copies_for_the_rate():
    one = layout(measured(), "half", 1_000_000_000, RATE)
    assert one.gigabytes <= MACHINE_GB * 0.7
    held = (560.0 + MACHINE_CORES * 5.0) * 1e9 / 1e9
    assert one.shards == pytest.approx(held / (MACHINE_GB * 0.7 - 3.2), abs=1.0)
    assert one.copies >= 2
    more = layout(measured(), "half", 1_000_000_000, 100 * RATE)
    assert more.shards == one.shards
    assert more.copies * MACHINE_CORES * more.shards * 0.6 >= 100 * RATE * more.request_ms / 1000


def test_a_slow_start_divides_the_items_as_full_memory_does():
    one = layout(measured(ready_s=Line(0.0, 1e-5)), "half", 100_000_000, RATE)
    assert one.shards == 2
    assert one.ready_minutes <= 10.0


def test_where_cores_are_short_the_quick_index_is_chosen_and_where_memory_is_the_small_one():
    assert chosen(measured(), 10_000_000, 100 * RATE).kind == "half"
    assert chosen(measured(), 1_000_000_000, 0.001).kind == "sq8"


def test_every_part_is_searched_for_every_list():
    told = measured()
    assert request_ms(told, "half", RACED, 1) == pytest.approx(6.0)
    whole, parted = (request_ms(told, "half", 10**9, parts) for parts in (1, 10))
    search = 0.5 * (10**9 / 10**6) ** 0.2
    assert parted - whole == pytest.approx(search * (10 * 0.1**0.2 - 1))


def test_workers_share_all_but_the_heap():
    *_, one, machine = item_rows(measured())
    assert one["bytes per item"] == pytest.approx(260.0 + 300.0 + 5.0)
    assert machine["bytes per item"] == pytest.approx(260.0 + 300.0 + MACHINE_CORES * 5.0)
    assert machine["GB at 10^7"] == pytest.approx(
        (560.0 * SIZES[0] + MACHINE_CORES * (1e8 + 5.0 * SIZES[0])) / 1e9
    )


def test_a_user_is_the_sum_of_what_is_kept_of_him():
    rows = {row["state"]: row for row in user_rows({name: Taken("x", 10, 100.0, 2.0) for name in KINDS})}
    assert rows["history"]["bytes"] == pytest.approx(100.0 + 2.0 * 90)
    assert rows["profile"]["bytes"] == pytest.approx(100.0)
    parts = sum(rows[name]["bytes"] for name in ("profile", "history", "event ids", "exposures"))
    assert rows["one user"]["bytes"] == pytest.approx(parts)
    assert rows["one user"]["GB of 10^9 users"] == pytest.approx(parts)


def test_a_saved_report_is_read_back_with_its_columns_in_order(tmp_path):
    told = Report("x", "cascada bench x", [{"zebra": 1, "ape": 2.5}], ["A note."], {"minutes": [1.0]})
    path = told.save(tmp_path)
    found = newest(tmp_path, "x")
    assert found["path"] == str(path)
    again, where = reopened(found)
    assert again.table(measured_now=False) == told.table(measured_now=False)
    assert again.table(measured_now=False).endswith("- A note.")
    assert where.startswith("`cascada bench x`; ")
    with pytest.raises(FileNotFoundError, match="run `cascada bench y`"):
        newest(tmp_path, "y")
    with pytest.raises(FileNotFoundError, match="no fitting x"):
        newest(tmp_path, "x", lambda one: one["rows"][0]["zebra"] == 2)


def test_a_report_from_before_the_kind_that_bundles_have_now_is_none() -> None:
    def told(kind: str, *sizes: int) -> dict[str, Any]:
        return {"rows": [{"items": size, "index": f"{kind}, lists 9", "recall@200": 0.96} for size in sizes]}

    assert has_what_is_served(told(SERVED, 100_000, 1_000_000))
    assert not has_what_is_served(told(SERVED, 1_000_000))
    assert not has_what_is_served(told("ivf", 100_000, 1_000_000))
