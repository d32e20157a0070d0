"""`cascada bench`: measure speed and memory in the world `scale`, on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.machine import one_thread
from benchmarks.report import Report

FOLDER = Path(".bench")
LEAST = 1000
LEAST_MINUTES = 0.5
SIZES = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Asked:
    """What a run was asked for."""

    root: Path
    sizes: tuple[int, ...]
    command: str
    seconds: float
    minutes: float


@dataclass(frozen=True)
class Bench:
    """A bench: the function of its name in the module of its name, with the arguments that `takes` makes."""

    takes: Callable[[Asked], tuple[Any, ...]]
    sizes: tuple[int, ...] = SIZES[1:2]
    long: bool = False
    """Only run when it is asked for, and not as one of all."""

    def run(self, name: str, asked: Asked) -> list[tuple[Report, bytes | None]]:
        """Its reports, and their pictures (PNG)."""
        name = name.replace("-", "_")
        # Each brings other libraries, and a server must be started before they are in memory.
        found = getattr(import_module(f"benchmarks.{name}"), name)(*self.takes(asked))
        reports = found if isinstance(found, list) else [found]
        return [each if isinstance(each, tuple) else (each, None) for each in reports]


def _every(asked: Asked) -> tuple[Any, ...]:
    return asked.root, asked.sizes, asked.command


def _largest(asked: Asked) -> tuple[Any, ...]:
    return asked.root, asked.sizes[-1], asked.command


def _for_seconds(times: int) -> Callable[[Asked], tuple[Any, ...]]:
    return lambda asked: (*_largest(asked), times * asked.seconds)


def _for_minutes(asked: Asked) -> tuple[Any, ...]:
    command = f"{asked.command} --minutes {asked.minutes:g}"
    return asked.root, asked.sizes[-1], command, asked.minutes


BENCHES = {
    "prepare": Bench(_every, SIZES),
    "kernel": Bench(_every, SIZES),
    "growth": Bench(_every, SIZES),
    "memory": Bench(_largest, SIZES[-1:]),
    "search": Bench(_largest),
    "freshness": Bench(_for_seconds(4)),
    "recall-only": Bench(_for_seconds(1)),
    "preranking": Bench(lambda asked: (asked.sizes, asked.command)),
    "ranking": Bench(lambda asked: (asked.command,)),
    "cascade": Bench(_for_seconds(1), SIZES),
    "workers": Bench(_for_seconds(1), long=True),
    "overload": Bench(_for_seconds(2), long=True),
    "swap": Bench(_for_seconds(1), long=True),
    "soak": Bench(_for_minutes, long=True),
    "capacity": Bench(_every, SIZES, long=True),
}


def main(argv: list[str]) -> int:
    """Run `cascada bench ARGV`; 0 on success, 2 on bad input or something missing, in one line."""
    arguments = _parser().parse_args(argv)
    one_thread()
    every = [name for name, bench in BENCHES.items() if not bench.long]
    try:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        for name in every if arguments.name == "all" else [arguments.name]:
            for report, picture in BENCHES[name].run(name, _asked(name, arguments)):
                show(report, arguments.folder, picture)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"cascada bench: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _asked(name: str, arguments: argparse.Namespace) -> Asked:
    sizes = tuple(arguments.items or BENCHES[name].sizes)
    command = " ".join(["cascada bench", name, *(f"--items {size}" for size in arguments.items or ())])
    return Asked(arguments.folder, sizes, command, arguments.seconds, arguments.minutes)


def show(report: Report, root: Path, picture: bytes | None = None) -> None:
    """Print the table and leave the JSON, and the picture beside it."""
    print(report.table(), flush=True)
    path = report.save(root)
    if picture is not None:
        path.with_suffix(".png").write_bytes(picture)
    print(f"wrote {path}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada bench", description=__doc__)
    parser.add_argument(
        "name", choices=[*BENCHES, "all"], help="what to measure; prepare only fills the folder"
    )
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="worlds, indexes and results (%(default)s)"
    )
    parser.add_argument(
        "--items", type=_size, action="append", help="sizes instead of the usual ones; repeatable"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load (%(default)s)")
    parser.add_argument("--minutes", type=_minutes, default=20.0, help="of the soak (%(default)s)")
    return parser


def _minutes(text: str) -> float:
    value = float(text)
    if not value >= LEAST_MINUTES:
        raise argparse.ArgumentTypeError(f"{text} minutes are too few for a slope: {LEAST_MINUTES} or more")
    return value


def _size(text: str) -> int:
    value = int(text)
    if value < LEAST:
        raise argparse.ArgumentTypeError(f"{text} is less than {LEAST:,} items, which are no world")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
