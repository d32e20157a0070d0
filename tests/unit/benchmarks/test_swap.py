from __future__ import annotations

import pytest

from benchmarks.open_load import Reply
from benchmarks.swap import Swaps, _notes, _row


def replies(*took_ms: float, status: int = 200) -> list[Reply]:
    return [Reply(n, float(n), took / 1000, status) for n, took in enumerate(took_ms)]


def test_calls_that_fail_and_tails_that_grow_miss_the_goals() -> None:
    swaps = Swaps([(10.0, 12.0), (15.0, 16.0)], [1.0, 0.5])
    assert [swaps.has(moment) for moment in (9.9, 10.0, 12.1, 15.5)] == [False, True, False, True]
    calm, good = _row("in peace", replies(10.0, 20.0)), _row("during", replies(10.0, 39.0))
    bad = _row("during", [*replies(10.0, 50.0), *replies(1.0, status=503)])
    assert (bad["number"], bad["failed"]) == (3, 1)
    reached = " ".join(_notes([calm, good, calm], swaps, 1000, 5.0, 10.0))
    assert reached.count("reached") == 2
    missed = " ".join(_notes([calm, bad, calm], swaps, 1000, 5.0, 10.0))
    assert missed.count("missed") == 2


def test_a_run_without_any_swap_says_why() -> None:
    calm = _row("in peace", replies(10.0))
    with pytest.raises(RuntimeError, match="403 forbidden"):
        _notes([calm, calm, calm], Swaps(failed=["403 forbidden"]), 1000, 5.0, 10.0)
