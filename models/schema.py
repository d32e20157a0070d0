"""The features: their names, kinds and vocabularies. One truth for training and serving."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any


class FieldKind(StrEnum):
    """What an attribute holds, and so how it is encoded and filtered."""

    CATEGORY = "category"
    SET = "set"
    NUMBER = "number"
    TEXT = "text"


@dataclass(frozen=True)
class Field:
    """One attribute of an item or a user.

    `vocabulary` lists the known values of a category or set (token = index + 1, 0 = unknown or absent);
    `edges` are the ascending bucket bounds of a number; `width` is how many tokens one record takes at most;
    a text is hashed into `hash_size` tokens.
    """

    name: str
    kind: FieldKind
    vocabulary: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    width: int = 1
    hash_size: int = 0

    @property
    def size(self) -> int:
        """Number of distinct tokens, the unknown token 0 included."""
        if self.kind is FieldKind.TEXT:
            return self.hash_size + 1
        if self.kind is FieldKind.NUMBER:
            return len(self.edges) + 2
        return len(self.vocabulary) + 1

    @cached_property
    def token_of(self) -> dict[str, int]:
        """Token of each known value."""
        return {value: token for token, value in enumerate(self.vocabulary, start=1)}


@dataclass(frozen=True, slots=True)
class Schema:
    """Every feature that the models read.

    `event_kinds` maps a kind to its token by position (token = index + 1, 0 = unknown kind). `history_length`
    is how many of the newest events a model sees; events less than `session_gap_ms` apart share a session.
    """

    item_fields: tuple[Field, ...]
    user_fields: tuple[Field, ...]
    event_kinds: tuple[str, ...]
    placements: tuple[str, ...] = ("default",)
    history_length: int = 50
    session_gap_ms: int = 30 * 60 * 1000

    def item_field(self, name: str) -> Field | None:
        """The item attribute of that name, or None."""
        return next((field for field in self.item_fields if field.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, in a stable order."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Schema:
        """The inverse of `to_json`."""

        def fields(key: str) -> tuple[Field, ...]:
            return tuple(
                Field(
                    name=f["name"],
                    kind=FieldKind(f["kind"]),
                    vocabulary=tuple(f["vocabulary"]),
                    edges=tuple(f["edges"]),
                    width=f["width"],
                    hash_size=f["hash_size"],
                )
                for f in raw[key]
            )

        return cls(
            item_fields=fields("item_fields"),
            user_fields=fields("user_fields"),
            event_kinds=tuple(raw["event_kinds"]),
            placements=tuple(raw["placements"]),
            history_length=raw["history_length"],
            session_gap_ms=raw["session_gap_ms"],
        )

    @property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON: a bundle is only served by code that agrees on it."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
