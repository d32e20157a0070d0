"""`make docs`: rewrite what commands write in the documents; PARTS chooses some of them."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from deploy.demo.foreground import READY, Foreground
from deploy.demo.processes import cascada
from deploy.demo.steps import plan
from deploy.docs import saved
from deploy.docs.blocks import fenced, fill
from deploy.docs.cascades import cascades
from deploy.docs.origin import origin
from deploy.docs.studies import calibration, studies
from deploy.readme import marked_command
from models.training.config import markdown as training_table
from service.metrics import markdown as metrics_table
from service.settings import markdown as settings_table

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
FIRST_DEMO_S = 900


def reference() -> None:
    """Settings and metrics, from the code."""
    fill(ROOT / "docs" / "configuration.md", "settings", settings_table())
    fill(ROOT / "docs" / "training.md", "training", training_table())
    fill(ROOT / "docs" / "metrics.md", "metrics", metrics_table())


def demo() -> None:
    """The README's first command, run from nothing; takes some minutes.

    Raises:
        RuntimeError, TimeoutError: it did not become ready.
    """
    command = marked_command("demo")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**_outside_make(), "CASCADA_DEMO_DIR": folder}
        port = _free_port()
        with Foreground(f"{command} PORT={port}", ROOT, environment) as program:
            for line in program.until(READY, FIRST_DEMO_S):
                print(line, flush=True)
            program.interrupt(30)
    text = "\n".join(program.lines).replace(folder, ".demo").replace(str(port), "8000")
    fill(README, "demo-output", fenced(f"$ {command}\n{text}", f"<sub>{origin()}</sub>"))


def test() -> None:
    """The README's second command: its last line.

    Raises:
        subprocess.CalledProcessError: a test fails.
    """
    command = marked_command("test")
    told = subprocess.run(
        command, shell=True, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=_outside_make()
    )
    text = f"$ {command}\n{told.stdout.splitlines()[-1]}"
    fill(README, "test-output", fenced(text, f"<sub>{origin()}</sub>"))


def quality() -> None:
    """Evaluate the demo's bundle on the demo's data.

    Raises:
        subprocess.CalledProcessError: the evaluation failed.
        LookupError: there is no bundle.
    """
    work = ROOT / ".demo" / "movielens-100k"
    dataset, steps, _ = plan(work, None)
    for step in steps:
        step.run(work / "logs")
    bundles = sorted((work / "bundles").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not bundles:
        raise LookupError(f"{work / 'bundles'}: no bundle")
    for block, options in QUALITY.items():
        command = cascada("evaluate", dataset, "--bundle", bundles[-1].parent, *options)
        told = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        shown = " ".join(
            ("$ cascada evaluate .demo/movielens-100k/data --bundle .demo/movielens-100k/bundles", *options)
        )
        fill(ROOT / "docs" / "quality.md", block, fenced(f"{shown}\n{told}", f"<sub>{origin()}</sub>"))


QUALITY = {
    "movielens-100k": ("--against", "own_share=1"),
    "movielens-100k-after-last": ("--after-last",),
}
"""Blocks of docs/quality.md, and the options of the evaluation that each shows."""


def benchmark(name: str) -> None:
    """Measure once more and show what `cascada bench NAME` prints.

    Raises:
        subprocess.CalledProcessError: the benchmark failed.
    """
    command = cascada("bench", name)
    told = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    caption = f"<sub>`cascada bench {name}`; {origin()}</sub>"
    fill(ROOT / "docs" / "benchmarks.md", name, f"{caption}\n\n{told}")


BENCHMARKS = (
    "kernel",
    "growth",
    "memory",
    "search",
    "freshness",
    "recall-only",
    "preranking",
    "ranking",
    "cascade",
    "workers",
)
"""Blocks of docs/benchmarks.md."""


def benchmarks() -> None:
    """All of them; some minutes once `cascada bench prepare` has made its worlds."""
    for name in BENCHMARKS:
        benchmark(name)


PARTS: dict[str, Callable[[], None]] = {
    "reference": reference,
    "demo": demo,
    "test": test,
    "quality": quality,
    "studies": studies,
    "calibration": calibration,
    "cascades": cascades,
    "benchmarks": benchmarks,
    "soak": saved.soak,
    "swap": saved.swap,
    "overload": saved.overload,
    "capacity": saved.capacity,
    **{f"bench-{name}": partial(benchmark, name) for name in BENCHMARKS},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the parts that are asked for, else all but quality and benchmarks."""
    parser = argparse.ArgumentParser(prog="make docs", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    asked = parser.parse_args(argv).parts or ["reference", "demo", "test"]
    if unknown := [part for part in asked if part not in PARTS]:
        parser.error(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}")
    for part in asked:
        PARTS[part]()
    return 0


def _outside_make() -> dict[str, str]:
    """The environment without what tells a make that it runs inside another one."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
