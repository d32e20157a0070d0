"""Attribute records to model tokens at serving, where a bad value must not cost the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.encode import encode_records, field_tokens
from models.schema import Field


def encode_leniently(fields: Sequence[Field], records: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    """`models.encode.encode_records`, where a value that cannot be read counts as absent."""
    return encode_records(fields, [_readable(fields, record) for record in records])


def _readable(fields: Sequence[Field], record: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: record[field.name] for field in fields if _reads(field, record.get(field.name))}


def _reads(field: Field, value: Any) -> bool:
    try:
        return bool(field_tokens(field, value))
    except (TypeError, ValueError):
        return False
