"""Worlds, bundles and indexes, made before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Report
from benchmarks.scale import Scale


def prepare(root: Path, sizes: Sequence[int], command: str) -> list[Report]:
    """Fill the folder for every size; there is nothing to report."""
    for items in sizes:
        Scale(root, items).prepare()
    return []
