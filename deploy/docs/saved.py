"""What was measured at length before and is only shown: the newest results in `.bench/results`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import newest, reopened
from deploy.docs.blocks import fill
from models.artifacts import write_bytes

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / ".bench"
CAPACITY = ("capacity-items", "capacity-cpu", "capacity-users", "capacity-choice")


def soak() -> None:
    """The newest `make soak`: its table and its picture in docs/performance.md.

    Raises:
        FileNotFoundError: there was none.
    """
    told = newest(BENCH, "soak")
    report, where = reopened(told)
    picture = Path(told["path"]).with_suffix(".png").read_bytes()
    write_bytes(ROOT / "docs" / "soak.png", picture)
    (ROOT / "docs" / "soak.png").chmod(0o644)
    text = f"<sub>{where}</sub>\n\n{report.table(measured_now=False)}\n\n![every series over time](soak.png)"
    fill(ROOT / "docs" / "performance.md", "soak", text)


def swap() -> None:
    """The newest `cascada bench swap` in docs/benchmarks.md.

    Raises:
        FileNotFoundError: there was none.
    """
    _show("swap", "benchmarks.md")


def overload() -> None:
    """The newest `cascada bench overload` in docs/overload.md.

    Raises:
        FileNotFoundError: there was none.
    """
    _show("overload", "overload.md")


def capacity() -> None:
    """The newest `cascada bench capacity` in docs/capacity.md.

    Raises:
        FileNotFoundError: there was none.
    """
    for name in CAPACITY:
        _show(name, "capacity.md")


def _show(name: str, page: str) -> None:
    report, where = reopened(newest(BENCH, name))
    fill(ROOT / "docs" / page, name, f"<sub>{where}</sub>\n\n{report.table(measured_now=False)}")
