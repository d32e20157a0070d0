"""The long steps: each makes one folder, and is skipped while that folder is there and current."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.processes import cascada, running
from deploy.demo.trouble import DemoError, explain, last_line
from models.artifacts import write_json

ROOT = Path(__file__).resolve().parents[2]
OFFLINE_CODE = ("models", "retrieval", "ranking")


@dataclass(frozen=True)
class Step:
    """One verb and the folder it makes. `key` identifies everything that the result depends on."""

    name: str
    arguments: tuple[str | Path, ...]
    output: Path
    key: str

    def run(self, logs: Path) -> None:
        """Make the folder unless it is current, and say so in one line.

        Raises:
            DemoError: the verb failed.
        """
        record = self.output.with_name(f"{self.output.name}.json")
        if said := self._current(record):
            report(self.name, said, "kept")
            return
        record.unlink(missing_ok=True)
        shutil.rmtree(self.output, ignore_errors=True)
        start = time.monotonic()
        said = self._call(logs / f"{self.name}.log")
        write_json(record, {"key": self.key, "said": said})
        report(self.name, said, f"{time.monotonic() - start:.0f} s")

    def _current(self, record: Path) -> str | None:
        """What the verb said when it made the folder that is there, if from the same inputs."""
        try:
            made = json.loads(record.read_bytes())
            return str(made["said"]) if made["key"] == self.key and self.output.is_dir() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _call(self, log: Path) -> str:
        errors = None if sys.stderr.isatty() else log.with_suffix(".err")
        with running(cascada(*self.arguments), log, errors) as process:
            code = process.wait()
        if code:
            raise DemoError(explain(f"cascada {self.name}", errors))
        return last_line(log) or f"wrote {self.output}"


def report(name: str, what: str, took: str) -> None:
    """One line of the demo's own output."""
    print(f"{name:<7} {took:>6}  {what}", flush=True)


def plan(work: Path, data: Path | None) -> tuple[Path, list[Step]]:
    """The data set's folder and the steps to a bundle in `work / "bundles"`; `data` is the user's own folder.

    Raises:
        DemoError: `data` is no folder.
    """
    code = fingerprint(path for name in OFFLINE_CODE for path in (ROOT / name).rglob("*.py"))
    steps = []
    if data is None:
        dataset, key = work / "data", digest("movielens-100k", code)
        steps.append(Step("data", ("data", "movielens-100k", "--out", dataset), dataset, key))
    elif data.is_dir():
        dataset, key = data, digest(fingerprint(path for path in data.rglob("*") if path.is_file()), code)
    else:
        raise DemoError(
            f"{data} is no folder: DATA names a canonical data set (see cascada data import --help)"
        )
    run, bundles = work / "run", work / "bundles"
    steps.append(Step("train", ("train", dataset, "--out", run), run, digest("train", key)))
    steps.append(Step("export", ("export", run, "--out", bundles), bundles, digest("export", key)))
    return dataset, steps


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest over names and contents."""
    parts = sorted(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths)
    return digest(*parts)


def digest(*parts: str) -> str:
    """SHA-256 over several strings."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
