"""iPinYou's logs of won auctions (Liao et al. 2014, "iPinYou Global RTB Bidding Algorithm Competition").

Files in the form of `make-ipinyou-data` (Zhang et al. 2014, arXiv 1407.7073), `train.log.txt` and
`test.log.txt`, one campaign, for research; for example campaign 2259 at https://github.com/rk2900/DLF.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.data.columns import ABSENT, Dataset, Impressions, time_order
from models.data.lines import as_id, bad_line, read_lines, text_file
from models.data.problems import DataError
from models.schema import FieldKind

FILES = ("train.log.txt", "test.log.txt")
COLUMNS = (
    "click", "weekday", "hour", "bidid", "timestamp", "logtype", "ipinyouid", "useragent", "IP", "region",
    "city", "adexchange", "domain", "url", "urlid", "slotid", "slotwidth", "slotheight", "slotvisibility",
    "slotformat", "slotprice", "creative", "bidprice", "payprice", "keypage", "advertiser", "usertag",
)  # fmt: skip
BEHIND = 2
"""A test file may have the counts of clicks and conversions behind."""
MICROS = 10
"""A price is in fen per thousand impressions; a micro is a millionth of a yuan, per impression."""
ITEM_FIELDS = {"size": FieldKind.CATEGORY, "advertiser": FieldKind.CATEGORY}
USER_FIELDS = {
    "region": FieldKind.CATEGORY,
    "city": FieldKind.CATEGORY,
    "agent": FieldKind.CATEGORY,
    "tags": FieldKind.SET,
}

_SOURCE = (
    "take train.log.txt and test.log.txt of a campaign in the form of make-ipinyou-data, give their folder"
)
_CHINA = timedelta(hours=8)
_NOTHING = ("null", "Na", "")


class _Row(NamedTuple):
    bid_id: str
    user: str
    creative: str
    placement: str
    time_ms: int
    clicked: bool
    bid: int
    price: int
    user_record: dict[str, Any]
    item_record: dict[str, Any]


def load_ipinyou(folder: Path) -> Dataset:
    """The won impressions of both files (perhaps with `.gz`) by time; clicks are the events.

    Items are creatives, placements the exchange with the slot's visibility, users what the log calls so; an
    attribute is what the first row of its owner says. Bid and market price are in micros per impression.

    Raises:
        DataError: a file is missing, a line is of another form, or nothing was clicked.
    """
    rows = [
        _row(path, line, text)
        for path in (text_file(folder, name, _SOURCE) for name in FILES)
        for line, text in read_lines(path)
    ]
    rows = [rows[place] for place in time_order(np.array([row.time_ms for row in rows], np.int64)).tolist()]
    if not any(row.clicked for row in rows):
        raise DataError(f"{folder}: none of {len(rows)} impressions was clicked; {_SOURCE}")
    users = {row.user: row.user_record for row in reversed(rows)}
    items = {row.creative: row.item_record for row in reversed(rows)}
    placements = ("default", *sorted({row.placement for row in rows}))
    user_row, item_row = ({name: at for at, name in enumerate(ids)} for ids in (users, items))
    user = np.array([user_row[row.user] for row in rows], np.int32)
    item = np.array([item_row[row.creative] for row in rows], np.int32)
    placement = np.array([placements.index(row.placement) for row in rows], np.int16)
    time_ms = np.array([row.time_ms for row in rows], np.int64)
    clicked = np.array([row.clicked for row in rows])
    requests = {row.bid_id: None for row in rows}
    number = {bid_id: at for at, bid_id in enumerate(requests)}
    click = np.flatnonzero(clicked)
    return Dataset(
        name="ipinyou",
        item_fields=ITEM_FIELDS,
        user_fields=USER_FIELDS,
        item_ids=list(items),
        item_records=list(items.values()),
        item_created_ms=np.zeros(len(items), np.int64),
        item_available=np.ones(len(items), bool),
        item_bid_micros=np.full(len(items), ABSENT, np.int64),
        user_ids=list(users),
        user_records=list(users.values()),
        event_kinds=("click",),
        event_user=user[click],
        event_item=item[click],
        event_kind=np.zeros(len(click), np.int16),
        event_time_ms=time_ms[click],
        event_value=np.full(len(click), np.nan, np.float32),
        placements=placements,
        event_placement=placement[click],
        impressions=Impressions(
            request_ids=list(requests),
            request=np.array([number[row.bid_id] for row in rows], np.int32),
            user=user,
            item=item,
            position=np.zeros(len(rows), np.int32),
            time_ms=time_ms,
            clicked=clicked,
            propensity=np.full(len(rows), np.nan, np.float32),
            bid_micros=np.array([row.bid for row in rows], np.int64) * MICROS,
            market_price_micros=np.array([row.price for row in rows], np.int64) * MICROS,
            placement=placement,
        ),
    )


def _row(path: Path, line: int, text: str) -> _Row:
    cells = text.split("\t")
    if len(cells) not in (len(COLUMNS), len(COLUMNS) + BEHIND):
        raise bad_line(path, line, f"{len(COLUMNS)} columns, separated by tabs", text)
    cell = dict(zip(COLUMNS, cells, strict=False))
    if cell["click"] not in ("0", "1"):
        raise bad_line(path, line, "click: 0 or 1", cell["click"])
    for name in ("bidid", "ipinyouid", "creative", "adexchange"):
        if cell[name] in _NOTHING:
            raise bad_line(path, line, f"{name}: an id", cell[name])
    bid, price = (as_id(path, line, name, cell[name]) for name in ("bidprice", "payprice"))
    if price > bid:
        raise bad_line(path, line, f"payprice: at most the bid {bid}", cell["payprice"])
    visibility = "unknown" if cell["slotvisibility"] in _NOTHING else cell["slotvisibility"]
    tags = [] if cell["usertag"] in _NOTHING else list(dict.fromkeys(cell["usertag"].split(",")))
    return _Row(
        cell["bidid"],
        cell["ipinyouid"],
        cell["creative"],
        f"exchange-{cell['adexchange']} {visibility}",
        _time(path, line, cell["timestamp"]),
        cell["click"] == "1",
        bid,
        price,
        dict(_given({"region": cell["region"], "city": cell["city"], "agent": cell["useragent"]}))
        | ({"tags": tags} if tags else {}),
        dict(_given({"size": f"{cell['slotwidth']}x{cell['slotheight']}", "advertiser": cell["advertiser"]})),
    )


def _given(record: dict[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in record.items() if value not in _NOTHING)


def _time(path: Path, line: int, cell: str) -> int:
    """Milliseconds since 1970 of yyyyMMddHHmmssSSS in China."""
    try:
        if not re.fullmatch("[0-9]{17}", cell):
            raise ValueError
        moment = datetime.strptime(cell[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC) - _CHINA
    except ValueError:
        raise bad_line(path, line, "timestamp: yyyyMMddHHmmssSSS", cell) from None
    return int(moment.timestamp()) * 1000 + int(cell[14:])
