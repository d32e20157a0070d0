from __future__ import annotations

import pytest

from service.workers.backoff import Backoff


def test_the_first_replacement_is_at_once_and_each_further_one_waits_twice_as_long() -> None:
    backoff = Backoff(first_s=0.5, longest_s=3.0)
    assert [backoff.after(0.1) for _ in range(6)] == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_long_life_is_forgiven() -> None:
    backoff = Backoff(first_s=0.5, steady_s=60.0)
    for _ in range(5):
        backoff.after(1.0)
    assert backoff.after(60.0) == 0.0
    assert backoff.after(59.9) == 0.5


def test_a_worker_that_never_lives_does_not_overflow() -> None:
    backoff = Backoff(longest_s=30.0)
    assert [backoff.after(0.0) for _ in range(5000)][-1] == pytest.approx(30.0)
