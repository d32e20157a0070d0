"""The caller's filter language: JSON over item attributes, compiled to masks over the whole catalogue.

A node is `{"all": [node, ...]}`, `{"any": [node, ...]}`, `{"not": node}` or a leaf `{"field", "op",
"value"}`:

    category   ==  !=  in  exists            value: a string (`in`: a list of strings)
    set        has  has_any  exists          value: a string (`has_any`: a list of strings)
    number     ==  !=  in  >=  <=  >  <  exists

`exists` takes true (the default) or false. An absent attribute matches no comparison, and so does match
`!=`. Besides the schema's attributes there is the number `created_at` (milliseconds). A boost is a list of
`{"filter", "factor"}`: the score of matching items is multiplied, several boosts multiply.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakMethod

import numpy as np
from numpy.typing import NDArray

from models.schema import Field, FieldKind
from service.attributes import Attributes
from service.errors import CallerError

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
T = TypeVar("T")

MAX_DEPTH = 8
MAX_LEAVES = 64
MAX_VALUES = 1000
MAX_BOOSTS = 16
FACTORS = (0.01, 100.0)
CACHED = 16
"""Masks kept per snapshot of the catalogue."""
BOOSTED = 4
"""Products of factors kept per snapshot, each of four bytes per item."""

CREATED_AT = Field("created_at", FieldKind.NUMBER)

_OPS: Mapping[FieldKind, tuple[str, ...]] = {
    FieldKind.CATEGORY: ("==", "!=", "in", "exists"),
    FieldKind.SET: ("has", "has_any", "exists"),
    FieldKind.NUMBER: ("==", "!=", "in", ">=", "<=", ">", "<", "exists"),
    FieldKind.TEXT: (),
}
_LISTS = ("in", "has_any")
_SIGNS = (">=", "<=", ">", "<")


class Rules:
    """Compiles filters and boosts over one snapshot of the catalogue, and remembers the last few masks.

    `leaves` turns (field, matcher) into a mask over all item rows, where a matcher maps `Attributes` to a
    mask.
    """

    def __init__(
        self, fields: Sequence[Field], leaves: Callable[[Callable[[Attributes], Mask]], Mask]
    ) -> None:
        self._fields = {field.name: field for field in (*fields, CREATED_AT)}
        self._leaves = leaves
        # Weak, so that the masks of a snapshot go with it and do not wait for a garbage collection.
        self._cached = lru_cache(CACHED)(_weakly(self._compile))
        self._boosted = lru_cache(BOOSTED)(_weakly(self._multiply))

    def mask(self, tree: Mapping[str, Any], path: str = "filter") -> Mask:
        """Item rows [M] that the filter lets through; read-only.

        Raises:
            CallerError: names the part of the tree that cannot be, such as `filter.all[1].value`.
        """
        _check_size(tree, path)
        return self._cached(json.dumps(tree, sort_keys=True), path)

    def factors(self, boosts: Sequence[Mapping[str, Any]], path: str = "boost") -> Floats:
        """The product of factors per item row [M]; read-only.

        Raises:
            CallerError: as `mask`, or a factor is out of bounds.
        """
        if not boosts:
            raise CallerError(path, "is empty")
        if len(boosts) > MAX_BOOSTS:
            raise CallerError(path, f"has {len(boosts)} boosts; at most {MAX_BOOSTS} are allowed")
        for i, boost in enumerate(boosts):
            if set(boost) != {"filter", "factor"}:
                raise CallerError(f"{path}[{i}]", "must have exactly the keys 'filter' and 'factor'")
            _check_size(boost["filter"], f"{path}[{i}].filter")
        return self._boosted(json.dumps(list(boosts), sort_keys=True), path)

    def _multiply(self, canonical: str, path: str) -> Floats:
        boosts = json.loads(canonical)
        product: Floats | None = None
        for i, boost in enumerate(boosts):
            factor = _number(boost["factor"], f"{path}[{i}].factor")
            if not FACTORS[0] <= factor <= FACTORS[1]:
                raise CallerError(f"{path}[{i}].factor", f"must be between {FACTORS[0]} and {FACTORS[1]}")
            mask = self.mask(boost["filter"], f"{path}[{i}].filter")
            product = np.ones(len(mask), np.float32) if product is None else product
            product[mask] *= np.float32(factor)
        assert product is not None, "there is a boost"
        product.flags.writeable = False
        return product

    def _compile(self, canonical: str, path: str) -> Mask:
        mask = self._node(json.loads(canonical), path)
        mask.flags.writeable = False
        return mask

    def _node(self, node: Any, path: str) -> Mask:
        if not isinstance(node, dict):
            raise CallerError(path, "must be an object: all, any, not, or a field with op and value")
        if "field" in node:
            return self._leaf(node, path)
        if len(node) != 1 or not node.keys() <= {"all", "any", "not"}:
            raise CallerError(
                path, f"must have one of 'all', 'any', 'not', or 'field'; it has {sorted(node)}"
            )
        ((key, inner),) = node.items()
        if key == "not":
            return ~self._node(inner, f"{path}.not")
        if not isinstance(inner, list) or not inner:
            raise CallerError(f"{path}.{key}", "must be a list of at least one node")
        masks = [self._node(one, f"{path}.{key}[{i}]") for i, one in enumerate(inner)]
        combine = np.logical_and if key == "all" else np.logical_or
        return np.asarray(combine.reduce(masks), bool)

    def _leaf(self, leaf: Mapping[str, Any], path: str) -> Mask:
        if extra := sorted(leaf.keys() - {"field", "op", "value"}):
            raise CallerError(f"{path}.{extra[0]}", "is not a key of a leaf: field, op, value")
        name, op = leaf["field"], leaf.get("op")
        field = self._fields.get(name) if isinstance(name, str) else None
        if field is None:
            raise CallerError(f"{path}.field", f"{name!r} is unknown; known are {sorted(self._fields)}")
        if op not in _OPS[field.kind]:
            can = " ".join(_OPS[field.kind]) or "none: search for its words instead"
            raise CallerError(f"{path}.op", f"{op!r} does not fit the {field.kind} {name!r}; ops are {can}")
        if op == "exists":
            wanted = leaf.get("value", True)
            if not isinstance(wanted, bool):
                raise CallerError(f"{path}.value", "must be true or false")
            present = self._leaves(lambda table: _column(table, field).present())
            return present if wanted else ~present
        if "value" not in leaf:
            raise CallerError(f"{path}.value", "is missing")
        return self._match(field, op, leaf["value"], f"{path}.value")

    def _match(self, field: Field, op: str, value: Any, path: str) -> Mask:
        read = _number if field.kind is FieldKind.NUMBER else _label
        if op in _SIGNS:
            bound = _number(value, path)
            return self._leaves(lambda table: table.numbers[field.name].compare(op, bound))
        if op in _LISTS:
            if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
                raise CallerError(path, f"must be a list of 1 to {MAX_VALUES} values")
            wanted = [read(one, f"{path}[{i}]") for i, one in enumerate(value)]
        else:
            wanted = [read(value, path)]
        found = self._leaves(lambda table: _column(table, field).any_of(wanted))
        return ~found if op == "!=" else found


def _weakly(method: Callable[[str, str], T]) -> Callable[[str, str], T]:
    """The method, without keeping what it belongs to alive."""
    weak = WeakMethod(method)

    def call(canonical: str, path: str) -> T:
        found = weak()
        assert found is not None, "whoever calls it is alive"
        return found(canonical, path)

    return call


def _column(table: Attributes, field: Field) -> Any:
    return table.numbers[field.name] if field.kind is FieldKind.NUMBER else table.labels[field.name]


def _label(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise CallerError(path, "must be a string")
    return value


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CallerError(path, "must be a number")
    return float(value)


def _check_size(tree: Any, path: str) -> None:
    """Refuse a tree that is too deep or has too many leaves, without recursion."""
    leaves, level, depth = 0, [tree], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise CallerError(path, f"is nested more than {MAX_DEPTH} deep")
        inner: list[Any] = []
        for node in level:
            children = _children(node)
            leaves += not children
            inner.extend(children)
            if isinstance(node, dict) and _nested(node.get("value")):
                raise CallerError(
                    path, "compares with a value that is neither a scalar nor a list of scalars"
                )
        if leaves > MAX_LEAVES:
            raise CallerError(path, f"has more than {MAX_LEAVES} leaves")
        level = inner


def _children(node: Any) -> list[Any]:
    if not isinstance(node, dict) or "field" in node:
        return []
    several = [child for key in ("all", "any") if isinstance(node.get(key), list) for child in node[key]]
    return [*several, *([node["not"]] if "not" in node else [])]


def _nested(value: Any) -> bool:
    several = value if isinstance(value, list) else [value]
    return any(isinstance(one, (dict, list)) for one in several)
