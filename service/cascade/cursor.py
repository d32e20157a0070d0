"""The next-page cursor: which items earlier pages returned, as hashes, sealed and bound to one list.

A cursor is stateless: `version | seed | list | hashes | seal`, base64url. It carries WHAT was shown, not a
position, so that the next page repeats nothing even if the user's events, the catalogue or the bundle
changed in between. It is bounded: after `LIMIT` items the list ends. A hash has 32 bits, so that of 10^6
items a full cursor hides about 0.2 that were never shown. The seal is a keyed BLAKE2b: give all replicas
one secret key, or a caller could forge a cursor - which could do no more than hide items from its own list.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.cascade.query import Request
from service.errors import CallerError

Hashes = NDArray[np.uint32]

VERSION = 1
LIMIT = 1000
"""Items that one list shows over all its pages."""
_HEAD = struct.Struct("<BII")
_SEAL = 8
_plain = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: `seed` repeats its random choices, `trail` [n] are hashes of what was shown."""

    seed: int
    trail: Hashes

    @classmethod
    def first(cls, seed: int) -> Cursor:
        """The place before the first page."""
        return cls(seed, np.zeros(0, np.uint32))


class Cursors:
    """Writes and reads cursors under one key."""

    def __init__(self, key: bytes = b"cascada") -> None:
        self._key = key[:64]

    def write(self, request: Request, place: Cursor) -> str:
        """The opaque text of a place in the list that `request` asks for."""
        body = _HEAD.pack(VERSION, place.seed, _list_of(request)) + place.trail.astype("<u4").tobytes()
        return _spelled(body + self._seal(body))

    def read(self, request: Request) -> Cursor:
        """The place that `request.cursor` names.

        Raises:
            CallerError: it is not a cursor of ours, was altered, or continues another list.
        """
        text = request.cursor or ""
        body = self._opened(text)
        _, seed, list_id = _HEAD.unpack_from(body)
        if list_id != _list_of(request):
            raise CallerError(
                "cursor", "belongs to another list: only count, session and exclusions may change"
            )
        return Cursor(seed, np.frombuffer(body, "<u4", offset=_HEAD.size).astype(np.uint32))

    def _opened(self, text: str) -> bytes:
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise CallerError("cursor", "is not one that this service wrote") from None
        body, seal = raw[:-_SEAL], raw[-_SEAL:]
        # The last character of base64 has bits that no byte holds: only one of its spellings is ours.
        whole = text == _spelled(raw) and len(body) >= _HEAD.size and (len(body) - _HEAD.size) % 4 == 0
        if (
            not whole
            or not hmac.compare_digest(seal, self._seal(body))
            or body[0] != VERSION
            or len(body) > _HEAD.size + 4 * LIMIT
        ):
            raise CallerError("cursor", "is not one that this service wrote")
        return body

    def _seal(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, digest_size=_SEAL, key=self._key).digest()


def _spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _list_of(request: Request) -> int:
    """What makes two requests ask for the same list."""
    parts = [
        request.kind,
        request.user_id,
        request.placement,
        request.text,
        request.item_id,
        request.filter,
        [dict(boost) for boost in request.boost],
        request.include_seen,
    ]
    return zlib.crc32(_plain(parts).encode())
