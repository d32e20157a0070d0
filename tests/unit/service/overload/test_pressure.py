from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from service.cascade.hydrate import Moment
from service.cascade.round import Round
from service.cascade.selectors.best import Best
from service.cascade.steps import Steps
from service.errors import Shed
from service.metrics import Metrics
from service.overload.pressure import Pressure
from tests.support.queries import Scores, a_query


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def pressure(clock: Clock, target_ms: float | None = 50.0, pace_s: float = 0.01) -> Pressure:
    one = Pressure(Metrics(), target_ms, 0.25, clock)
    one.cohorts.learn(pace_s)
    return one


def fill(one: Pressure, most: int = 1000) -> int:
    """How many come in at once before the door closes."""
    for number in range(most):
        if one.full:
            return number
        one.announce()
        one.enter(announced=True)
    return most


def test_a_burst_may_take_a_little_longer_and_a_standing_line_may_not() -> None:
    clock = Clock()
    one = pressure(clock)
    burst = fill(one)
    assert burst == 15  # the goal of 50 ms and 100 ms more, at 10 ms each
    clock.now += 0.2  # nothing got shorter
    assert one.full
    for _ in range(11):
        one.leave(0.01, True)
    assert not one.full
    assert fill(one) == 1  # up to the goal
    clock.now += 5.0
    assert one.full


def test_two_are_let_in_however_slow_they_are() -> None:
    clock = Clock()
    one = pressure(clock, target_ms=1.0, pace_s=10.0)
    assert fill(one) == 2


def test_a_call_that_was_not_announced_is_refused_with_a_time_to_come_back() -> None:
    one = pressure(Clock())
    fill(one)
    with pytest.raises(Shed, match="try again") as refusal:
        one.enter(announced=False)
    assert refusal.value.retry_after_s >= 1.0


def test_nothing_is_refused_before_anything_is_known() -> None:
    one = Pressure(Metrics(), None, 0.25, Clock())
    assert fill(one, 100) == 100


def test_late_answers_narrow_the_next_ones_and_errors_do_not() -> None:
    one = pressure(Clock())
    for _ in range(10):
        one.enter(announced=False)
        one.leave(0.2, answered=False)
    assert one.quality.factor == 1.0
    for _ in range(10):
        one.enter(announced=False)
        one.leave(0.2, answered=True)
    assert one.quality.factor == 0.25


async def test_a_call_whose_deadline_passed_in_the_line_is_refused_and_one_that_never_waited_is_not() -> None:
    clock = Clock()
    one = pressure(clock)

    def taking(seconds: float) -> Callable[[int], Steps[str]]:
        def steps(_: int) -> Steps[str]:
            for _stage in range(5):
                clock.now += seconds / 5
                yield
            return "answered"

        return steps

    late = Moment("late, but at once", 0, deadline=clock.now - 1.0)
    assert await one.compute(late, taking(0.0)) == "answered"
    slow = asyncio.create_task(one.compute(Moment("slow", 0), taking(0.5)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it is under way
    hurried = one.compute(Moment("hurried", 0, deadline=clock.now + 0.01), taking(0.0))
    patient = one.compute(Moment("patient", 0, deadline=clock.now + 10.0), taking(0.0))
    done = await asyncio.gather(slow, hurried, patient, return_exceptions=True)
    assert isinstance(done[1], Shed)
    assert done[0] == done[2] == "answered"


def test_calls_that_share_a_turn_share_what_time_is_left() -> None:
    clock = Clock()
    one = pressure(clock)
    for _ in range(50):
        one.costs.observe("recommend", "score.rank", 200, 0.004)
        one.costs.close("recommend", 0.001)
    query = a_query(deadline=clock.now + 0.0066)
    rounds = (
        Round("prerank", (), Best("prerank"), 200),
        Round("rank", (Scores("rank", []),), Best("rank"), 200),
    )
    assert one.fitted(query, rounds, 1) == 1.0
    assert one.fitted(query, rounds, 2) == pytest.approx((0.0033 - 0.001) / 0.004, rel=0.05)


def test_a_line_that_is_gone_for_moments_only_gets_no_burst_again() -> None:
    clock = Clock()
    one = pressure(clock)
    inside = fill(one)
    for _ in range(20):
        clock.now += 0.02  # a cohort is computed while others are refused
        for _call in range(inside):
            one.leave(0.01, True)
        clock.now += 0.001  # until the next callers knock
        inside = fill(one)
    assert inside == 5  # the goal of 50 ms, at 10 ms each
    for _ in range(inside):
        one.leave(0.01, True)
    clock.now += 0.1
    assert fill(one) == 15
