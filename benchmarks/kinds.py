"""One index of each kind at its bench settings, searched at the cheapest setting that reaches a recall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from models.indexing.grid import searches
from models.indexing.source import IndexSource
from models.indexing.tuning import Exam, Tried
from retrieval.exact import RECALL_AT
from retrieval.index import VectorIndex, open_index
from retrieval.index_card import IndexCard, Recall
from retrieval.index_settings import IndexSettings

CELLS = (1.0, 2.0)
"""Numbers of cells to try, in parts of sqrt(items); the whole grid of `cascada index tune` takes an hour."""
_ONE_BUILD = ("flat", "hnsw")


def builds(kind: str, items: int) -> Iterator[IndexSettings]:
    """What is built of a kind."""
    if kind in _ONE_BUILD:
        yield IndexSettings(kind)
    else:
        yield from (IndexSettings(kind, lists=round(part * items**0.5)) for part in CELLS)


def cheapest(source: IndexSource, exam: Exam, kind: str, stated: float, path: Path) -> IndexCard:
    """Build and search the kind's settings, save the cheapest that finds `stated` as `path`; its card.

    Where none does, the one that finds most is saved, and the card says what it finds.
    """
    best: tuple[Tried, VectorIndex] | None = None
    for built in builds(kind, len(source.vectors)):
        draft = path.with_name(f"{path.name}.{built.lists}")
        source.build(built, seed=1).save(draft)
        index = open_index(draft)
        tried = _best(sweep(exam, index, built, stated, draft.stat().st_size / len(source.vectors)), stated)
        if best is None or _best([best[0], tried], stated) is tried:
            best = tried, index
            draft.replace(path)
        else:
            draft.unlink()
    assert best is not None
    chosen, index = best
    reached = Recall(stated, round(chosen.held_out, 6), RECALL_AT, len(exam))
    return IndexCard.of(index, chosen.settings, reached, source.schema_hash)


def sweep(
    exam: Exam, index: VectorIndex, built: IndexSettings, stated: float, bytes_per_item: float
) -> list[Tried]:
    """The searches of an index in rising thoroughness, each list up to the first that passes."""
    tried: list[Tried] = []
    for rising in searches(built):
        for settings in rising:
            tried.append(exam.take(index, replace(settings, lists=built.lists), bytes_per_item))
            if tried[-1].passes(stated):
                break
    return tried


def _best(tried: Sequence[Tried], stated: float) -> Tried:
    """The quickest that passes, else the one that finds most."""
    passing = [one for one in tried if one.passes(stated)]
    if passing:
        return min(passing, key=lambda one: one.micros)
    return max(tried, key=lambda one: one.held_out)
