"""Worlds, bundles and indexes on disk: each is made once per folder and then only opened."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.bundle import STATED, write_bundle
from benchmarks.kinds import cheapest
from benchmarks.world import LAWS, World, draw_world
from models import artifacts
from models.artifacts import atomic_folder
from models.indexing.source import IndexSource
from models.indexing.tuning import Exam
from retrieval.exact import RECALL_AT
from retrieval.index import KINDS, VectorIndex, open_index
from retrieval.index_card import IndexCard

SERVED = "half"
"""The kind of index in the bundle: the one that both sides of the race can read."""

WRITTEN = 2
"""How bundles are written; another number makes them anew. 2: item vectors in half precision."""
BUILT = {"pq4": 2}
"""How indexes of a kind are built, 1 where nothing is said; likewise. 2: of vectors turned about."""


@dataclass(frozen=True)
class Scale:
    """What `items` items need, below `root`."""

    root: Path
    items: int

    @property
    def folder(self) -> Path:
        """Where everything of this size is."""
        return self.root / f"scale-{LAWS}" / str(self.items)

    @cached_property
    def world(self) -> World:
        """The world, drawn if it is not there."""
        path = self.folder / "world"
        if not path.is_dir():
            with _making(f"the world of {self.items:,} items"):
                draw_world(self.items).save(path)
        return World.open(path)

    @property
    def bundle(self) -> Path:
        """The bundle, written if it is not there, with an index tuned to the stated recall."""
        if not self.written:
            with _making(f"the bundle of {self.items:,} items"):
                write_bundle(self.world, self._bundle, SERVED)
        return self._bundle

    @property
    def written(self) -> bool:
        """Whether the bundle is there."""
        return self._bundle.is_dir()

    @property
    def _bundle(self) -> Path:
        return self.folder / f"bundles-{WRITTEN}-{SERVED}" / f"scale-{self.items}"

    def at(self, kind: str) -> Path:
        """Where the index of a kind is, with its card: that of the bundle, if it is the bundle's kind."""
        name = f"{kind}-{BUILT[kind]}" if kind in BUILT else kind
        return self.bundle if kind == SERVED else self.folder / "indexes" / name

    @cached_property
    def source(self) -> IndexSource:
        """What indexes are made of and asked with."""
        return IndexSource.open(self.bundle)

    @cached_property
    def exam(self) -> Exam:
        """Real queries and their exact answers; made once per run, for a scan of everything takes seconds."""
        return Exam(self.source, RECALL_AT)

    def index(self, kind: str) -> tuple[VectorIndex, IndexCard, int]:
        """The index of a kind, tuned to the stated recall, its card, and its size in bytes."""
        path = self.at(kind)
        if not path.is_dir():
            with _making(f"the {kind} index of {self.items:,} items"), atomic_folder(path) as folder:
                card = cheapest(self.source, self.exam, kind, STATED, folder / artifacts.INDEX)
                card.write(folder)
        card = IndexCard.read(path)
        file = path / artifacts.INDEX
        return open_index(file, card.settings), card, file.stat().st_size

    def prepare(self, kinds: tuple[str, ...] = tuple(KINDS)) -> None:
        """Make all that is not there yet."""
        _ = self.bundle
        for kind in kinds:
            self.index(kind)


@contextmanager
def _making(what: str) -> Iterator[None]:
    print(f"making {what}", file=sys.stderr, flush=True)
    yield
