"""Which index, and how thorough it is: what is built, and what can still be changed at the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

METRIC = "inner_product"
"""How vectors are compared, everywhere."""
RECALL_AT = 200
"""How many of the best a stated recall is about: near what a query asks for where 1,000 are candidates."""
SMALL = 20_000
"""Up to so many vectors, "auto" scans them all: no index is worth its upkeep there."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How an index is built, then how it is searched; each key concerns some kinds only.

    kind        "flat", "ivf", "half", "hnsw", "ivfpq", "pq4", "sq8"; "auto" = flat up to 20,000, then pq4
    lists       ivf, half, ivfpq, pq4, sq8: cells; 0 = the clusters if their number suits, else sqrt(m)
    links       hnsw: edges per vector           effort      hnsw: candidates held while building
    code_bytes  ivfpq, pq4: bytes of a code; 0 = half the dimension

    At the search, stored beside the index and free to change without building it again:
    probes      ivf, half, ivfpq, pq4, sq8: cells that a query reads
    breadth     hnsw: candidates held while searching
    refine      ivfpq, pq4: times k candidates by code are scored exactly; none in lists of more than as many
                times 200, which are by code alone

    The defaults are the measured ones of docs/adr/0009 and 0015.
    """

    kind: str = "auto"
    lists: int = 0
    probes: int = 48
    links: int = 32
    effort: int = 80
    breadth: int = 128
    code_bytes: int = 0
    refine: int = 2

    def resolved(self, size: int) -> IndexSettings:
        """The settings with "auto" replaced by a kind, for `size` vectors."""
        if self.kind != "auto":
            return self
        return replace(self, kind="flat" if size <= SMALL else "pq4")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> IndexSettings:
        """The inverse of `to_json`.

        Raises:
            ValueError: a key is unknown, or a value is no whole number from 0 up.
        """
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(raw) - known):
            raise ValueError(f"unknown index settings {unknown}; known are {sorted(known)}")
        for name, value in raw.items():
            right = isinstance(value, str) if name == "kind" else type(value) is int and value >= 0
            if not right:
                raise ValueError(f"index setting {name} is {value!r}")
        return cls(**raw)
