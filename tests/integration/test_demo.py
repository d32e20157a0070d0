"""The demo as a process: real service, Redis and calls; only training is replaced by a tiny bundle."""

import json
import os
import re
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from deploy.demo.foreground import READY, Foreground
from tests.e2e.demo_smoke import marked_processes
from tests.support.live_service import PATIENT
from tests.support.tiny_dataset import write_tiny_dataset

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys
from pathlib import Path
from deploy.demo import processes, steps
from deploy.demo.__main__ import main
from deploy.demo.processes import cascada
from tests.support.live_service import PATIENT

TRAIN = "import pathlib, sys; pathlib.Path(sys.argv[-1]).mkdir(); print('trained nothing')"
EXPORT = (
    "import pathlib, sys; from tests.support.tiny_bundle import write_tiny_bundle;"
    "write_tiny_bundle(pathlib.Path(sys.argv[-1])); print('wrote tiny-1')"
)
# A machine that is busy must not make an answer go without the user.
processes.KEPT += tuple(name for name in os.environ if name.removeprefix("CASCADA_").lower() in PATIENT)
quick = {"train": TRAIN, "export": EXPORT}
steps.cascada = lambda verb, *words: (
    [sys.executable, "-c", quick[verb], *map(str, words)] if verb in quick else cascada(verb, *words)
)
sys.exit(main())
"""
LIMIT_S = 60


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """One work folder for all tests: the first demo trains, the others find its bundle."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def start(work):
    program, data = work / "program.py", write_tiny_dataset(work / "tiny")
    program.write_text(PROGRAM)
    environment = {
        **os.environ,
        **{f"CASCADA_{name.upper()}": str(value) for name, value in PATIENT.items()},
        "CASCADA_DEMO_DIR": str(work / "demo"),
        "DEMO_SMOKE": str(work),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }

    def run(port: int) -> Foreground:
        command = f"exec {sys.executable} {program} --port {port} --data {data}"
        return Foreground(command, ROOT, environment)

    return run


@pytest.fixture(scope="module")
def first(start, work):
    """What the first demo printed; it was asked whether it is ready, and ended by Ctrl-C."""
    port = free_port()
    with start(port) as demo:
        shown = "\n".join(demo.until(READY, LIMIT_S))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=LIMIT_S) as answer:
            assert json.load(answer)["status"] == "ready"
        demo.interrupt(LIMIT_S)
    assert marked_processes(str(work)) == {}
    return shown


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_step_is_reported(first):
    assert re.findall(r"^(\w+) +\d+ s ", first, re.MULTILINE) == ["train", "export", "serve", "load"]


def test_the_calls_are_shown_with_their_answers(first):
    calls = ["recommend", "events", "recommend", "search"]
    assert re.findall(r"curl -s \S+/v1/(\w+)", first) == calls
    assert first.count("bundle tiny-1, degraded: nothing") == 3
    assert len(re.findall(r" number \d+ \(\d{4}\)", first)) > 10


def test_the_event_takes_its_item_off_the_list(first):
    before, after = (
        re.findall(r"^ +\d+ +(item-\d+) ", part, re.MULTILINE)
        for part in re.split(r"^\d\. ", first, flags=re.MULTILINE)[1:3]
    )
    assert len(before) == len(after) == 6
    assert before[0] not in after


def test_a_second_demo_keeps_what_is_there_and_sigterm_ends_it(first, start, work):
    with start(free_port()) as demo:
        shown = "\n".join(demo.until(READY, LIMIT_S))
        os.kill(demo.pid, signal.SIGTERM)
        demo.wait(LIMIT_S)
    assert re.findall(r"^(\w+) +kept ", shown, re.MULTILINE) == ["train", "export", "load"]
    liked = re.search(r"sends 'like' on (.*)\. What now", first)
    assert liked is not None
    assert f"who last saw {liked[1]};" in shown, "what happened in the first demo is forgotten"
    assert marked_processes(str(work)) == {}


def test_a_service_that_dies_ends_the_demo_with_a_sentence(first, start, work):
    with start(free_port()) as demo:
        list(demo.until(READY, LIMIT_S))
        (service,) = [pid for pid, words in marked_processes(str(work)).items() if " serve " in words]
        os.kill(service, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="ended with 1"):
            list(demo.until("never", LIMIT_S))
        assert any("the service ended" in line for line in demo.lines)
    # Its workers hear that their parent is gone, and end what they are at.
    deadline = time.monotonic() + LIMIT_S
    while marked_processes(str(work)):
        assert time.monotonic() < deadline, marked_processes(str(work))
        time.sleep(0.05)


def test_a_busy_port_is_refused_at_once(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with start(taken.getsockname()[1]) as demo, pytest.raises(RuntimeError, match="ended with 1"):
            list(demo.until(READY, LIMIT_S))
        assert len(demo.lines) == 1
        assert "make demo PORT=" in demo.lines[0]
