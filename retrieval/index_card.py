"""The card beside an index: what it is, how it is searched, which recall it promises and what it reached."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts import INDEX_CARD, BundleError, write_json
from retrieval.exact import RECALL_AT, recalls
from retrieval.index import VectorIndex
from retrieval.index_settings import IndexSettings

Floats = NDArray[np.float32]


class MissedRecall(Exception):
    """An index that finds less than it promises; the message names both figures and the remedy."""


@dataclass(frozen=True, slots=True)
class Recall:
    """A promise and what became of it: share of the exact best `k` that the index finds.

    `stated` is promised; `measured` over `queries` real queries, None where there is nobody to ask for.
    """

    stated: float
    measured: float | None = None
    k: int = RECALL_AT
    queries: int = 0

    def check(self, name: Path | str) -> None:
        """Refuse what was measured below what is stated.

        Raises:
            MissedRecall: names `name`, both figures and what to do.
        """
        if self.measured is not None and self.measured < self.stated:
            raise MissedRecall(
                f"{name}: the index finds {self.measured:.4f} of the exact best {self.k} and states "
                f"{self.stated:g}: run cascada index tune {name} --recall {self.stated:g}"
            )


@dataclass(frozen=True, slots=True)
class IndexCard:
    """What is written as `index.json`; `curve` holds what tuning tried, one mapping per setting."""

    kind: str
    metric: str
    items: int
    dim: int
    schema_hash: str
    settings: IndexSettings
    recall: Recall
    curve: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, index: VectorIndex, settings: IndexSettings, recall: Recall, schema_hash: str) -> IndexCard:
        """The card of an index that was built by `settings` for the items of a schema."""
        settings = replace(settings, kind=index.kind)
        return cls(index.kind, index.metric, index.size, index.dim, schema_hash, settings, recall)

    def with_recall(self, recall: Recall) -> IndexCard:
        """The same card after another measurement."""
        return replace(self, recall=recall)

    def with_curve(self, curve: Sequence[Mapping[str, Any]]) -> IndexCard:
        """The same card with what tuning tried."""
        return replace(self, curve=tuple(curve))

    def metrics(self) -> dict[str, Any]:
        """What the manifest of a bundle says of its index."""
        return {f"recall@{self.recall.k}": self.recall.measured, "stated": self.recall.stated}

    def write(self, folder: Path) -> None:
        """Write it beside the index, whole or not at all."""
        write_json(folder / INDEX_CARD, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> IndexCard:
        """Read the card of a run or of a bundle.

        Raises:
            BundleError: there is none, or it is no card of this version; says how to make one.
        """
        path = folder / INDEX_CARD
        advice = f"make it with cascada index build {folder}"
        try:
            raw = json.loads(path.read_bytes())
            settings = IndexSettings.from_json(raw.pop("settings"))
            recall = Recall(**raw.pop("recall"))
            return cls(settings=settings, recall=recall, curve=tuple(raw.pop("curve")), **raw)
        except FileNotFoundError:
            raise BundleError(f"{path}: missing; {advice}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{path}: no card that this version reads ({error!r}); {advice}") from error

    def check(self, path: Path, **expected: Any) -> None:
        """Compare fields of the card with what they have to be.

        Raises:
            BundleError: names the field and both values.
        """
        for name, value in expected.items():
            said = getattr(self, name)
            if said != value:
                raise BundleError(
                    f"{path}: {name.replace('_', ' ')} is {value}, {INDEX_CARD} says {said}; "
                    "the index is another tower's: make it again with cascada index build"
                )


def measured(
    index: VectorIndex, vectors: Floats, queries: Sequence[Floats], promise: Recall, *, threads: int = 1
) -> Recall:
    """The promise with what the index reaches on the `queries` of users (`retrieval.index_queries`)."""
    if len(queries) == 0 or len(vectors) == 0:
        return replace(promise, measured=None, queries=0)
    asked = np.concatenate(queries)
    found = recalls(index, vectors, asked, promise.k, threads=threads)
    return replace(promise, measured=round(float(found.mean(dtype=np.float64)), 6), queries=len(asked))


def kept(
    index: VectorIndex,
    vectors: Floats,
    queries: Sequence[Floats],
    settings: IndexSettings,
    promise: Recall,
    *,
    threads: int = 1,
) -> tuple[IndexSettings, Recall]:
    """What it takes to keep a promise, and what that reaches: `settings`, if need be with more probes.

    They are doubled until the index finds what is stated, or no more than with half as many.
    """
    reached = measured(index.searching(settings), vectors, queries, promise, threads=threads)
    while reached.measured is not None and reached.measured < promise.stated:
        more = replace(settings, probes=2 * settings.probes)
        found = measured(index.searching(more), vectors, queries, promise, threads=threads)
        if found.measured is None or found.measured <= reached.measured:
            break
        settings, reached = more, found
    return settings, reached
