import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "deploy" / "container" / "train.sh"
FAKE = """#!/bin/sh
echo "$@" >> "$CALLS"
for last; do :; done
case "$1" in
    "$FAILS") exit 1 ;;
    export) mkdir -p "$last/v1" && touch "$last/v1/manifest.json" ;;
    *) mkdir -p "$last" ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    command = tmp_path / "bin" / "cascada"
    command.parent.mkdir()
    command.write_text(FAKE)
    command.chmod(0o755)
    calls = tmp_path / "calls"

    def once(fails: str = "") -> tuple[int, list[str]]:
        calls.write_text("")
        environment = {
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "CALLS": str(calls),
            "FAILS": fails,
        }
        folders = [str(tmp_path / "data"), str(tmp_path / "bundles")]
        done = subprocess.run(["sh", str(SCRIPT), *folders], env=environment, check=False)
        return done.returncode, [line.split()[0] for line in calls.read_text().splitlines()]

    return once


def test_an_empty_volume_is_filled(run):
    assert run() == (0, ["data", "train", "export"])


def test_a_volume_with_a_bundle_is_left_alone(run):
    run()
    assert run() == (0, [])


def test_a_failure_stops_and_the_next_run_goes_on_from_there(run):
    assert run(fails="train") == (1, ["data", "train"])
    assert run() == (0, ["train", "export"])
