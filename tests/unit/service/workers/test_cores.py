from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.workers.cores import usable_cores

HERE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("content", "expected"),
    [("50000 100000", 1), ("150000 100000", min(2, HERE)), ("max 100000", HERE), ("nonsense", HERE)],
)
def test_a_container_s_share_of_cpu_time_bounds_the_cores(
    tmp_path: Path, content: str, expected: int
) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert usable_cores(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", HERE), ("100000", 1)])
def test_old_control_groups_are_read_too(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path) == expected


def test_without_control_groups_it_is_the_cores(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == HERE
