"""`cascada bench`: measure speed and memory in the world `scale`, on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.machine import one_thread
from benchmarks.report import Report

FOLDER = Path(".bench")
LEAST = 1000
LEAST_MINUTES = 0.5
SIZES = (10_000, 100_000, 1_000_000)
NAMES = (
    "prepare",
    "kernel",
    "growth",
    "memory",
    "search",
    "freshness",
    "recall-only",
    "preranking",
    "ranking",
    "cascade",
)
"""Of `all`, too, in this order."""
LONG = ("overload", "swap", "soak", "capacity")
"""Only when they are asked for."""


def main(argv: list[str]) -> int:
    """Run `cascada bench ARGV`; 0 on success, 2 on bad input or something missing, in one line."""
    arguments = _parser().parse_args(argv)
    one_thread()
    names = NAMES if arguments.name == "all" else (arguments.name,)
    try:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            _run(name, arguments)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"cascada bench: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _run(name: str, arguments: argparse.Namespace) -> None:
    root: Path = arguments.folder
    sizes: list[int] = arguments.items or list(_DEFAULT_SIZES[name])
    command = " ".join(["cascada bench", name, *(f"--items {size}" for size in arguments.items or ())])
    # Each brings other libraries, and a server must be started before they are in memory.
    if name == "prepare":
        from benchmarks.scale import Scale

        for size in sizes:
            Scale(root, size).prepare()
        return
    if name == "capacity":
        from benchmarks.capacity import capacity

        for each in capacity(root, sizes, command):
            show(each, root)
        return
    if name == "kernel":
        from benchmarks.kernel import kernel

        report = kernel(root, sizes, command)
    elif name == "growth":
        from benchmarks.growth import growth

        report = growth(root, sizes, command)
    elif name == "memory":
        from benchmarks.memory import memory

        report = memory(root, sizes[-1], command)
    elif name == "search":
        from benchmarks.search import search

        report = search(root, sizes[-1], command)
    elif name == "ranking":
        from benchmarks.ranking import ranking

        report = ranking(command)
    elif name == "preranking":
        from benchmarks.preranking import preranking

        report = preranking(sizes, command)
    elif name == "cascade":
        from benchmarks.cascade import cascade

        report = cascade(root, sizes[-1], command, arguments.seconds)
    elif name == "overload":
        from benchmarks.overload import overload

        report = overload(root, sizes[-1], command, 2 * arguments.seconds)
    elif name == "swap":
        from benchmarks.swap import swap

        report = swap(root, sizes[-1], command, arguments.seconds)
    elif name == "soak":
        from benchmarks.soak import soak

        report, picture = soak(
            root, sizes[-1], f"{command} --minutes {arguments.minutes:g}", arguments.minutes
        )
        show(report, root, picture)
        return
    elif name == "freshness":
        from benchmarks.freshness import freshness

        report = freshness(root, sizes[-1], command, 4 * arguments.seconds)
    else:
        from benchmarks.recall_only import recall_only

        report = recall_only(root, sizes[-1], command, arguments.seconds)
    show(report, root)


def show(report: Report, root: Path, picture: bytes | None = None) -> None:
    """Print the table and leave the JSON, and the picture beside it."""
    print(report.table(), flush=True)
    path = report.save(root)
    if picture is not None:
        path.with_suffix(".png").write_bytes(picture)
    print(f"wrote {path}", file=sys.stderr)


_DEFAULT_SIZES = {
    "prepare": SIZES,
    "kernel": SIZES,
    "growth": SIZES,
    "memory": SIZES[-1:],
    "search": SIZES[1:2],
    "freshness": SIZES[1:2],
    "recall-only": SIZES[1:2],
    "preranking": SIZES[1:2],
    "ranking": SIZES[1:2],
    "cascade": SIZES,
    "overload": SIZES[1:2],
    "swap": SIZES[1:2],
    "soak": SIZES[1:2],
    "capacity": SIZES,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada bench", description=__doc__)
    parser.add_argument(
        "name", choices=[*NAMES, *LONG, "all"], help="what to measure; prepare only fills the folder"
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
