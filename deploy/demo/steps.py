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
class Record:
    """What is known of a folder that was made: from which inputs, and what its maker said. Lies beside it."""

    folder: Path
    key: str

    @property
    def _path(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.json")

    def said(self) -> str | None:
        """The maker's words if the folder is there and current."""
        try:
            made = json.loads(self._path.read_bytes())
            return str(made["said"]) if made["key"] == self.key and self.folder.is_dir() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget(self) -> None:
        """Remove the folder, and before it the record."""
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, said: str) -> None:
        """The folder is whole."""
        write_json(self._path, {"key": self.key, "said": said})


@dataclass(frozen=True)
class Step:
    """One verb and the folder it makes. `key` stands for everything that the result depends on."""

    name: str
    arguments: tuple[str | Path, ...]
    output: Path
    key: str

    def run(self, logs: Path) -> None:
        """Make the folder unless it is current, and say so in one line.

        Raises:
            DemoError: the verb failed.
        """
        record = Record(self.output, self.key)
        if said := record.said():
            report(self.name, said, "kept")
            return
        record.forget()
        start = time.monotonic()
        said = self._call(logs / f"{self.name}.log")
        record.write(said)
        report(self.name, said, f"{time.monotonic() - start:.0f} s")

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


def plan(work: Path, data: Path | None) -> tuple[Path, list[Step], Record]:
    """The data set, the steps to `work / "bundles"`, and the record of what Redis holds in `work / "redis"`.

    `data` is the user's own folder, or None for MovieLens-100K.

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
    store = fingerprint((ROOT / "service" / "features").glob("*.py"))
    return dataset, steps, Record(work / "redis", digest("load", key, store))


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest over names and contents."""
    parts = sorted(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths)
    return digest(*parts)


def digest(*parts: str) -> str:
    """SHA-256 over several strings."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
