import json
import os
import subprocess
import sys

import pytest

from benchmarks.command import main
from benchmarks.machine import cpu_seconds, memory
from benchmarks.report import Report, median


def test_a_table_shows_every_row_and_the_notes_under_it():
    rows = [{"items": 1000, "side": "ours", "ms": 0.0123}, {"items": 10**6, "side": "theirs", "ms": None}]
    lines = Report("x", "cascada bench x", rows, ["One."]).table().splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["1,000", "ours", "0.0123"]
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == ["1,000,000", "theirs", "-"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert "- One." in lines
    assert lines[-1].startswith("- Load average at the end ")


def test_a_result_says_how_where_and_when_it_came_about(tmp_path):
    path = Report("x", "cascada bench x", [{"items": 1}]).save(tmp_path)
    told = json.loads(path.read_text())
    assert told["command"] == "cascada bench x"
    assert told["rows"] == [{"items": 1}]
    assert {"cores", "load", "python", "faiss-cpu"} <= set(told["machine"])
    assert told["at"].endswith("+00:00")


def test_the_median_is_a_measured_value():
    assert median([3.0, 1.0, 2.0, 9.0]) == 2.0


def test_memory_tells_shared_pages_from_own_ones(tmp_path):
    """A child maps a file of 40 MB and allocates 20 MB; a second one has the file's pages for nothing."""
    size = 40_000_000
    (tmp_path / "file").write_bytes(b"x" * size)
    program = (
        "import mmap, sys\n"
        f"f = open({str(tmp_path / 'file')!r}, 'rb')\n"
        "m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "sum(m[i] for i in range(0, len(m), 4096))\n"
        "own = b'y' * 20_000_000\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        held = memory(children[0].pid)
    finally:
        for child in children:
            child.communicate()
    assert held.rss > size + 20_000_000
    assert 20_000_000 < held.uss < size
    assert held.uss < held.pss < held.rss <= held.peak
    assert held.anonymous > 20_000_000


def test_cpu_time_is_what_was_worked_not_what_went_by():
    before = cpu_seconds(os.getpid())
    total = sum(i * i for i in range(3_000_000))
    assert total > 0
    assert 0.02 < cpu_seconds(os.getpid()) - before < 20


def test_a_size_that_is_no_world_is_refused_before_anything_is_made(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["kernel", "--folder", str(tmp_path), "--items", "0"])
    assert "--items: 0 is less than 1,000 items" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_one_line(tmp_path, capsys):
    """A folder that cannot be written to."""
    (tmp_path / "file").touch()
    assert main(["kernel", "--folder", str(tmp_path / "file"), "--items", "1000"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("cascada bench: ")
    assert "file" in error


def test_an_unknown_benchmark_is_refused_with_the_names(capsys):
    with pytest.raises(SystemExit):
        main(["kernal"])
    assert "'recall-only'" in capsys.readouterr().err
