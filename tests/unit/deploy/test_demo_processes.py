import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.demo import processes
from deploy.demo.processes import environment, running

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def first_line(log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if log.exists() and "\n" in (text := log.read_text()):
            return text.splitlines()[0]
        time.sleep(0.01)
    raise AssertionError("the program said nothing")


def test_the_end_of_the_block_ends_the_program_and_its_children(tmp_path):
    log = tmp_path / "log"
    with running([sys.executable, "-c", PARENT], log) as process:
        child = int(first_line(log))
        assert not gone(child)
    assert process.returncode == -signal.SIGTERM
    deadline = time.monotonic() + 60
    while not gone(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gone(child)


def test_a_failure_in_the_block_ends_the_program_too(tmp_path):
    with (
        pytest.raises(RuntimeError),
        running([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log") as process,
    ):
        raise RuntimeError
    assert process.returncode == -signal.SIGTERM


def test_a_program_that_does_not_listen_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE_S", 0.2)
    with running([sys.executable, "-c", STUBBORN], tmp_path / "log") as process:
        first_line(tmp_path / "log")
    assert process.returncode == -signal.SIGKILL


def test_a_second_ctrl_c_does_not_interrupt_the_end(tmp_path):
    code = f"""
import os, signal, sys
from pathlib import Path
from deploy.demo import processes
processes.PATIENCE_S = 1.0
from tests.unit.deploy.test_demo_processes import STUBBORN, first_line
log = Path({str(tmp_path / "log")!r})
with processes.running([sys.executable, "-c", STUBBORN], log) as process:
    first_line(log)
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
"""
    root = Path(__file__).resolve().parents[3]
    demo = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert demo.stdout is not None
    try:
        with demo.stdout:
            pid = int(demo.stdout.readline())
        time.sleep(0.4)
        demo.send_signal(signal.SIGINT)
        demo.wait(60)
    finally:
        demo.kill()
        demo.wait()
    assert gone(pid)


def test_settings_of_the_user_do_not_reach_the_demo(monkeypatch):
    monkeypatch.setenv("CASCADA_REDIS_URL", "redis://production")
    monkeypatch.setenv("CASCADA_CACHE", "/cache")
    monkeypatch.setenv("OTHER", "kept")
    given = environment({"CASCADA_REDIS_DATA": "/redis"})
    assert "CASCADA_REDIS_URL" not in given
    assert given["CASCADA_REDIS_DATA"] == "/redis"
    assert (given["CASCADA_CACHE"], given["OTHER"]) == ("/cache", "kept")
    assert os.path.isfile(given["CASCADA_CONFIG"])
