import os
import signal
import subprocess
import sys

import pytest

from deploy.demo import foreground
from deploy.demo.foreground import Foreground

SPEAKS = f'{sys.executable} -u -c "import time; print(1); print(2); time.sleep(600)"'
DEAF = "trap '' INT; echo up; sleep 600"


def test_lines_are_given_until_the_one_that_is_waited_for(tmp_path):
    with Foreground(SPEAKS, tmp_path, {}) as program:
        assert list(program.until("2", 60)) == ["1", "2"]


def test_ctrl_c_ends_it(tmp_path):
    with Foreground(SPEAKS, tmp_path, {}) as program:
        list(program.until("2", 60))
        assert program.interrupt(60) != 0


def test_ctrl_c_works_from_a_script_that_ignores_it(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Foreground(SPEAKS, tmp_path, {}) as program:
            list(program.until("2", 60))
            assert program.interrupt(60) != 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_early_end_is_an_error(tmp_path):
    with Foreground("echo 1", tmp_path, {}) as program, pytest.raises(RuntimeError, match="ended with 0"):
        list(program.until("2", 60))


def test_silence_is_an_error(tmp_path):
    with Foreground(SPEAKS, tmp_path, {}) as program, pytest.raises(TimeoutError, match="'3'"):
        list(program.until("3", 0.5))


def test_a_program_that_ignores_ctrl_c_is_noticed_and_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(foreground, "PATIENCE_S", 0.1)
    with Foreground(DEAF, tmp_path, os.environ) as program:
        list(program.until("up", 60))
        with pytest.raises(subprocess.TimeoutExpired):
            program.interrupt(0.3)
