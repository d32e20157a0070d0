"""One index of each kind at its bench settings, searched at the cheapest setting that reaches a recall."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from models.indexing.grid import searches
from models.indexing.source import IndexSource
from models.indexing.tuning import Exam, Tried
from retrieval.exact import RECALL_AT
from retrieval.index import VectorIndex, open_index
from retrieval.index_card import IndexCard, MissedRecall, Recall
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

    The card's curve holds the quickest and least thorough search of each build that reached it.

    Raises:
        MissedRecall: none does.
    """
    best: tuple[Tried, VectorIndex] | None = None
    for built in builds(kind, len(source.vectors)):
        draft = path.with_name(f"{path.name}.{built.lists}")
        source.build(built, seed=1).save(draft)
        index = open_index(draft)
        tried = first_passing(exam, index, built, stated, draft.stat().st_size / len(source.vectors))
        if tried is not None and (best is None or tried.micros < best[0].micros):
            best = tried, index
            draft.replace(path)
        else:
            draft.unlink()
    if best is None:
        raise MissedRecall(f"{path}: no {kind} index finds {stated:g} of the exact best {RECALL_AT}")
    chosen, index = best
    reached = Recall(stated, round(chosen.held_out, 6), RECALL_AT, len(exam))
    return IndexCard.of(index, chosen.settings, reached, source.schema_hash)


def first_passing(
    exam: Exam, index: VectorIndex, built: IndexSettings, stated: float, bytes_per_item: float
) -> Tried | None:
    """The quickest of the searches of an index that pass, at most one per list of rising thoroughness."""
    passing = []
    for rising in searches(built):
        for settings in rising:
            tried = exam.take(index, replace(settings, lists=built.lists), bytes_per_item)
            if tried.passes(stated):
                passing.append(tried)
                break
    return min(passing, key=lambda one: one.micros, default=None)
