"""The bytes of a trace: `version | zlib(length of head | head | columns)`.

The head is JSON: the request, the record, and for each column its name, type and length. The columns follow
as plain little-endian arrays; most of their values are absent (NaN, -1), which the compression takes away.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from service.cascade.query import ItemId, Request
from service.explain.funnel import Funnel, Step
from service.explain.sale import Sale
from service.explain.trace import AnswerTrace, NamedInterest
from service.features.keys import SEPARATOR
from service.features.store import Trend, UserRecord

VERSION = 1
LARGEST = 64_000_000
"""Bytes that a trace may have when it is unpacked."""
_HEAD = struct.Struct("<I")
_LEVEL = 1
_REQUEST, _RECORD = TypeAdapter(Request), TypeAdapter(UserRecord | None)
_SALE = TypeAdapter(Sale | None)
_TREND_COUNTS = "trend counts"
_PLACES = "place "
_COLUMN = "column "


class CorruptTrace(Exception):
    """Bytes that are no trace of this version."""


def pack_trace(trace: AnswerTrace) -> bytes:
    """The bytes of a trace."""
    arrays = {name: np.ascontiguousarray(array) for name, array in _arrays(trace)}
    funnel = trace.funnel
    head = {
        "request_id": trace.request_id,
        "bundle_version": trace.bundle_version,
        "now_ms": trace.now_ms,
        "quality": trace.quality,
        "offset": trace.offset,
        "request": _REQUEST.dump_python(trace.request, mode="json"),
        "record": _RECORD.dump_python(trace.record, mode="json"),
        "sale": _SALE.dump_python(trace.sale, mode="json"),
        "trend": SEPARATOR.join(trace.trend.item_ids),
        "degraded": trace.degraded,
        "interests": [[one.id, one.label] for one in trace.interests],
        "items": SEPARATOR.join(trace.item_ids),
        "sources": funnel.source_names,
        "steps": [[one.name, one.by] for one in funnel.steps],
        "ends": funnel.ends,
        "arrays": [[name, array.dtype.newbyteorder("<").str, len(array)] for name, array in arrays.items()],
    }
    packed = orjson.dumps(head)
    body = b"".join([_HEAD.pack(len(packed)), packed, *(_bytes_of(array) for array in arrays.values())])
    return bytes([VERSION]) + zlib.compress(body, _LEVEL)


def unpack_trace(raw: bytes) -> AnswerTrace:
    """The inverse of `pack_trace`.

    Raises:
        CorruptTrace: another version wrote it, or it was damaged.
    """
    if not raw or raw[0] != VERSION:
        raise CorruptTrace(f"a trace of version {raw[0] if raw else None}, this service reads {VERSION}")
    try:
        inflater = zlib.decompressobj()
        body = inflater.decompress(raw[1:], LARGEST)
        if not inflater.eof:
            raise CorruptTrace("a trace that was cut off, or is larger than any")
        (length,) = _HEAD.unpack_from(body)
        head = orjson.loads(body[_HEAD.size : _HEAD.size + length])
        arrays = dict(_read(head["arrays"], body, _HEAD.size + length))
        return _trace(head, arrays)
    except (zlib.error, struct.error, orjson.JSONDecodeError, ValidationError) as error:
        raise CorruptTrace(f"a damaged trace: {type(error).__name__}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptTrace(f"a damaged trace: {error!r}") from error


def _arrays(trace: AnswerTrace) -> Iterator[tuple[str, NDArray[Any]]]:
    funnel = trace.funnel
    yield "end", funnel.end
    yield "end_place", funnel.end_place
    for s, step in enumerate(funnel.steps):
        yield f"{_PLACES}{s} {step.name}", funnel.places[s]
    for name, column in funnel.columns.items():
        yield f"{_COLUMN}{name}", column
    yield _TREND_COUNTS, np.array(trace.trend.counts, np.float64)


def _bytes_of(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _read(specs: list[list[Any]], body: bytes, start: int) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, form, length in specs:
        dtype = np.dtype(form)
        if dtype.hasobject:
            raise ValueError(f"{name}: {form} is no type of a column")
        array = np.frombuffer(body, dtype, length, start)
        start += array.nbytes
        yield name, array.astype(dtype.newbyteorder("="), copy=False)


def _trace(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> AnswerTrace:
    item_ids = _ids(head["items"])
    places = [array for name, array in arrays.items() if name.startswith(_PLACES)]
    columns = {
        name.removeprefix(_COLUMN): array for name, array in arrays.items() if name.startswith(_COLUMN)
    }
    funnel = Funnel(
        source_names=tuple(head["sources"]),
        steps=tuple(Step(name, by) for name, by in head["steps"]),
        places=np.stack(places) if places else np.zeros((0, len(item_ids)), np.int32),
        columns=columns,
        ends=tuple((stage, reason) for stage, reason in head["ends"]),
        end=arrays["end"],
        end_place=arrays["end_place"],
    )
    if {len(array) for array in (funnel.end, *places, *columns.values())} != {len(item_ids)}:
        raise ValueError("columns of different lengths")
    return AnswerTrace(
        request_id=head["request_id"],
        bundle_version=head["bundle_version"],
        now_ms=head["now_ms"],
        quality=head["quality"],
        offset=head["offset"],
        request=_REQUEST.validate_python(head["request"]),
        record=_RECORD.validate_python(head["record"]),
        trend=Trend(_ids(head["trend"]), arrays[_TREND_COUNTS].tolist()),
        degraded=tuple(head["degraded"]),
        interests=tuple(NamedInterest(*one) for one in head["interests"]),
        item_ids=item_ids,
        funnel=funnel,
        sale=_SALE.validate_python(head["sale"]),
    )


def _ids(joined: str) -> list[ItemId]:
    return [ItemId(one) for one in joined.split(SEPARATOR)] if joined else []
