from __future__ import annotations

import pytest

from benchmarks.open_load import Replies, Reply
from benchmarks.overload import recovery

BEFORE = {"p99 ms": 50.0, "asked/s": 100, "refused/s": 4.0}


def after(refused_until: float, every: int = 1) -> Replies:
    """A second of 100 calls; of those before a moment every so many-th is refused."""
    calls = [
        Reply(n, 7.0 + n / 100, 0.02, 503 if n / 100 < refused_until and n % every == 0 else 200)
        for n in range(100)
    ]
    return Replies(calls, 1.0)


def test_what_was_refused_before_the_overload_as_well_is_no_slow_recovery() -> None:
    assert recovery(after(1.0, every=25), BEFORE) == 0.0


def test_it_lasts_until_no_more_is_refused_than_before() -> None:
    assert recovery(after(0.5), BEFORE) == pytest.approx(0.45)
    assert recovery(after(0.5), {**BEFORE, "refused/s": 0.0}) == pytest.approx(0.48)


def test_late_answers_count_like_refusals() -> None:
    late = Replies([Reply(n, n / 100, 0.2 if n < 30 else 0.02, 200) for n in range(100)], 1.0)
    assert recovery(late, BEFORE) == pytest.approx(0.25)
