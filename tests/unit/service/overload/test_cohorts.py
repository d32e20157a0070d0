from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from service.cascade.steps import Steps
from service.logs import CONTEXT
from service.overload.cohorts import SLICE_S, Begin, Cohorts


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def work(
    clock: Clock, log: list[tuple[str, int]], name: str, stages: int = 3, each_s: float = 0.0001
) -> Callable[[float, int], Steps[tuple[str, float, int]]]:
    """Stages that each take `each_s`; comes to its name, how long it waited and how many were with it."""

    def begin(waited: float, size: int) -> Steps[tuple[str, float, int]]:
        def steps() -> Steps[tuple[str, float, int]]:
            for stage in range(stages):
                log.append((name, stage))
                clock.now += each_s
                yield
            return name, waited, size

        return steps()

    return begin


async def test_whoever_is_alone_does_not_wait() -> None:
    clock = Clock()
    cohorts = Cohorts(clock)
    for _ in range(3):
        found = await asyncio.wait_for(cohorts.compute(work(clock, [], "alone")), 5)
        assert found == ("alone", 0.0, 1)
        await asyncio.sleep(0.001)


async def test_each_stage_is_run_for_all_before_the_next_one_of_any() -> None:
    clock = Clock()
    cohorts, log = Cohorts(clock), list[tuple[str, int]]()
    found = await asyncio.gather(*(cohorts.compute(work(clock, log, name)) for name in "abc"))
    assert log == [(name, stage) for stage in range(3) for name in "abc"]
    assert found == [(name, 0.0, 3) for name in "abc"]


async def test_no_cohort_is_larger_than_said_and_nobody_overtakes() -> None:
    clock = Clock()
    cohorts, log = Cohorts(clock, most=2), list[tuple[str, int]]()
    found = await asyncio.gather(*(cohorts.compute(work(clock, log, name, stages=1)) for name in "abcde"))
    assert [name for name, _ in log] == list("abcde")
    assert [size for _, _, size in found] == [2, 2, 2, 2, 1]
    waits = [waited for _, waited, _ in found]
    assert waits == pytest.approx([0.0, 0.0, 0.0002, 0.0002, 0.0004])
    assert len(cohorts) == 0


async def test_the_loop_looks_at_its_sockets_between_slices() -> None:
    clock = Clock()
    cohorts, log, seen = Cohorts(clock), list[tuple[str, int]](), list[int]()
    loop = asyncio.get_running_loop()

    def look() -> None:
        seen.append(len(log))
        if len(log) < 12:
            loop.call_soon(look)

    loop.call_soon(look)
    await asyncio.gather(
        *(cohorts.compute(work(clock, log, name, stages=6, each_s=SLICE_S / 3)) for name in "ab")
    )
    assert [step for step in seen if step] == [3, 6, 9, 12]


async def test_the_failure_of_one_is_nobody_else_s() -> None:
    clock = Clock()
    cohorts, log = Cohorts(clock), list[tuple[str, int]]()

    def fails(_: float, __: int) -> Steps[None]:
        yield
        raise ValueError("mine")

    def late(_: float, __: int) -> Steps[None]:
        raise TimeoutError("too late")

    done = await asyncio.gather(
        cohorts.compute(work(clock, log, "first")),
        cohorts.compute(fails),
        cohorts.compute(late),
        cohorts.compute(work(clock, log, "last")),
        return_exceptions=True,
    )
    assert [type(one) for one in done] == [tuple, ValueError, TimeoutError, tuple]


async def test_who_leaves_frees_the_work_and_nobody_loses_a_turn() -> None:
    clock = Clock()
    cohorts, ended = Cohorts(clock), list[str]()

    def begin(name: str) -> Begin[str]:
        def steps(_: float, __: int) -> Steps[str]:
            try:
                for _stage in range(4):
                    clock.now += SLICE_S
                    yield
                ended.append(f"{name} done")
                return name
            except GeneratorExit:
                ended.append(f"{name} closed")
                raise

        return steps

    tasks = {name: asyncio.create_task(cohorts.compute(begin(name))) for name in "abc"}
    for _ in range(4):
        await asyncio.sleep(0)  # the cohort is under way
    tasks["b"].cancel()
    late = {name: asyncio.create_task(cohorts.compute(begin(name))) for name in "de"}
    await asyncio.sleep(0)
    late["d"].cancel()
    every = asyncio.gather(*tasks.values(), *late.values(), return_exceptions=True)
    await asyncio.wait_for(every, 5)
    assert sorted(ended) == ["a done", "b closed", "c done", "e done"]


async def test_the_pace_is_the_time_of_one_call() -> None:
    clock = Clock()
    cohorts, log = Cohorts(clock), list[tuple[str, int]]()
    for _ in range(20):
        await asyncio.gather(
            *(cohorts.compute(work(clock, log, name, stages=4, each_s=0.001)) for name in "abcde")
        )
    assert cohorts.pace_s == pytest.approx(0.004, rel=0.05)


async def test_stages_log_in_the_name_of_their_call() -> None:
    cohorts, seen = Cohorts(Clock()), list[tuple[str, str]]()

    def begin(name: str) -> Begin[None]:
        def steps(_: float, __: int) -> Steps[None]:
            seen.append((name, CONTEXT.get()["request_id"]))
            yield
            seen.append((name, CONTEXT.get()["request_id"]))

        return steps

    async def call(name: str) -> None:
        CONTEXT.set({"request_id": name})
        await cohorts.compute(begin(name))

    await asyncio.gather(call("a"), call("b"))
    assert seen == [("a", "a"), ("b", "b"), ("a", "a"), ("b", "b")]
