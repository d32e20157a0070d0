"""How long a new item waits until it is shown to somebody for the first time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from service.cascade.query import ItemId
from service.features.streams import Impression

Write = Callable[[Sequence[Impression]], Awaitable[None]]
Take = Callable[[Sequence[ItemId]], Awaitable[Sequence[int | None]]]
Observe = Callable[[float], None]


class FirstImpressions:
    """A side effect around `write`: tells `observe` how many seconds new items waited to be shown.

    `take` says when each item was put, once: whoever asks first, in whichever process, has the impression.
    """

    def __init__(self, write: Write, take: Take, observe: Observe) -> None:
        self._write = write
        self._take = take
        self._observe = observe

    async def write(self, impressions: Sequence[Impression]) -> None:
        """Record answers, then tell the new items among them.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        await self._write(impressions)
        shown_ms: dict[ItemId, int] = {}
        for one in impressions:
            for item in one.new_items:
                shown_ms[item] = min(one.timestamp_ms, shown_ms.get(item, one.timestamp_ms))
        if not shown_ms:
            return
        for item, put_ms in zip(shown_ms, await self._take(list(shown_ms)), strict=True):
            if put_ms is not None:
                self._observe(max(0, shown_ms[item] - put_ms) / 1000)
