"""What clicks on sponsored items cost: the price that their answer stored, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from service.catalogue import Catalogue
from service.features.accounts import Accounts, Charged, Slot
from service.features.keys import CorruptValue
from service.features.store import Event
from service.metrics import Metrics

AHEAD_MS = 5 * 60 * 1000
"""Clocks differ by so much at most: a click that is older than its impression by more is none."""
_RESULTS = {
    Charged.YES: "charged",
    Charged.REPEATED: "repeated",
    Charged.NO_ACCOUNT: "no_account",
    Charged.UNFUNDED: "unfunded",
}


class Clicks:
    """Charges the events of one name; what cannot be charged is counted, and harms nobody."""

    def __init__(self, accounts: Accounts, metrics: Metrics, event: str) -> None:
        self._accounts = accounts
        self._metrics = metrics
        self._event = event

    async def charge(self, events: Sequence[Event], catalogue: Catalogue) -> Mapping[str, int]:
        """Charge the clicks among events, repeated ones included, and count what became of them.

        charged; repeated: charged before; unfunded: so late that its hold had ended, and the budget is used
        up; unsold: the item has a bid, but no answer of this id sold it, or too long ago; early: the
        impression is from later than the click; corrupt: the stored impression cannot be read or has a price
        that cannot be; no_account. Clicks on items without a bid are not counted.

        Raises:
            StoreUnavailable: Redis does not answer; repeating the call is safe.
        """
        clicks = [one for one in events if one.event == self._event]
        asked = [(one.request_id, one.item_id) for one in clicks if one.request_id is not None]
        found = dict(zip(asked, await self._accounts.sold(asked), strict=True))
        results: Counter[str] = Counter()
        slots: list[Slot] = []
        unsold: list[Event] = []
        for click in clicks:
            slot = None if click.request_id is None else found[click.request_id, click.item_id]
            if slot is None:
                unsold.append(click)
            elif isinstance(slot, CorruptValue):
                results["corrupt"] += 1
            elif click.timestamp_ms + AHEAD_MS < slot.served_ms:
                results["early"] += 1
            else:
                slots.append(slot)
        results["unsold"] += _with_bid(unsold, catalogue)
        for slot, (charged, micros) in zip(slots, await self._accounts.charge(slots), strict=True):
            results[_RESULTS[charged]] += 1
            self._metrics.charged_micros.labels(slot.currency).inc(micros)
        results = +results
        for result, count in results.items():
            self._metrics.ad_clicks.labels(result).inc(count)
        return dict(results)


def _with_bid(clicks: Sequence[Event], catalogue: Catalogue) -> int:
    rows = catalogue.rows_of([click.item_id for click in clicks])
    return int(np.count_nonzero(np.isin(rows, catalogue.ads.rows)))
