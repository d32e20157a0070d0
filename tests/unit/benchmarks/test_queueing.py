from __future__ import annotations

import pytest

from benchmarks.queueing import ideal_tail


def test_without_a_load_nobody_waits():
    assert ideal_tail(0.001) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("share", "tail"), [(0.6, 4.0), (0.8, 4.9)])
def test_the_tail_is_that_of_a_queue_that_was_counted_call_by_call(share, tail):
    """Against a loop over a million calls, each of which begins when the one before it ends."""
    assert ideal_tail(share) == pytest.approx(tail, rel=0.06)


def test_the_busier_the_longer():
    assert ideal_tail(0.3) < ideal_tail(0.6) < ideal_tail(0.9)
