import io
import re
import runpy
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "deploy" / "environment.py"
MODULE = runpy.run_path(str(SCRIPT))
SetupError = MODULE["SetupError"]


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("ERROR: [Errno 28] No space left on device", "The disk is full"),
        (
            "WARNING: Retrying ... NewConnectionError: Temporary failure in name resolution",
            "check the network",
        ),
        ("ERROR: No matching distribution found for torch==2.13.0", "install.log"),
    ],
)
def test_a_failed_install_is_explained_by_its_cause(output, advice):
    told = MODULE["explain"](output, Path("install.log"))
    assert told.startswith(output)
    assert advice in told.splitlines()[-1]


def test_a_small_disk_is_refused_before_anything_is_downloaded(monkeypatch, tmp_path):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(free=2**29))
    with pytest.raises(SetupError, match=r"0\.5 GB free .* make room"):
        MODULE["create"](tmp_path / "venv")


def test_a_whole_environment_is_not_made_again(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    assert MODULE["create"](tmp_path) == tmp_path / "bin" / "python"
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["pip"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_moves_with_what_pip_says(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = MODULE["Bar"]("install", total=4)
    bar.draw(0)
    for name in "abcd":
        bar.read(f"Collecting {name}\n")
    bar.draw(0)
    bar.read("Installing collected packages: a, b, c, d\n")
    bar.draw(4)
    assert re.findall(r"\d+%", terminal.getvalue()) == ["0%", "33%", "100%"]


def test_the_bar_is_silent_without_a_terminal(monkeypatch):
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    bar = MODULE["Bar"]("install", total=4)
    bar.draw(2)
    bar.close()
    assert pipe.getvalue() == ""
