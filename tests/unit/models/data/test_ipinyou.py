import numpy as np
import pytest

from models.data.command import main
from models.data.dataset import load_dataset
from models.data.ipinyou import COLUMNS, load_ipinyou
from models.data.problems import DataError
from tests.unit.models.data.research_sets import write

PLAIN = {
    "click": "0", "weekday": "3", "hour": "19", "bidid": "b1", "timestamp": "20131023193112417",
    "logtype": "1", "ipinyouid": "U1", "useragent": "windows_ie", "IP": "14.214.89.*", "region": "216",
    "city": "222", "adexchange": "3", "domain": "d", "url": "u", "urlid": "null", "slotid": "s",
    "slotwidth": "300", "slotheight": "250", "slotvisibility": "Na", "slotformat": "Na", "slotprice": "50",
    "creative": "7323", "bidprice": "294", "payprice": "148", "keypage": "null", "advertiser": "2259",
    "usertag": "null",
}  # fmt: skip


def line(**changes):
    cell = PLAIN | changes
    return "\t".join(cell[name] for name in COLUMNS)


TRAIN = (
    line() + "\n" + line(bidid="b2", ipinyouid="U2", usertag="10,11,10", timestamp="20131019000000000") + "\n"
)
TEST = (
    line(bidid="b3", click="1", timestamp="20131025000000001", slotvisibility="FirstView", bidprice="277")
    + "\t0\t0\n"
)
FILES = {"train.log.txt": TRAIN, "test.log.txt": TEST}


def test_won_auctions_are_impressions_in_order_of_time(tmp_path):
    dataset = load_ipinyou(write(tmp_path / "in", FILES, packed=True))
    shown = dataset.impressions
    assert [shown.request_ids[row] for row in shown.request] == ["b2", "b1", "b3"]
    assert [dataset.user_ids[row] for row in shown.user] == ["U2", "U1", "U1"]
    assert shown.clicked.tolist() == [False, False, True]
    # Fen per thousand are micros of a yuan for ten.
    assert shown.bid_micros.tolist() == [2940, 2940, 2770]
    assert shown.market_price_micros.tolist() == [1480] * 3
    assert [dataset.placements[row] for row in shown.placement] == [
        "exchange-3 unknown",
        "exchange-3 unknown",
        "exchange-3 FirstView",
    ]
    # 2013-10-25 00:00 in China is 16:00 of the day before.
    assert shown.time_ms[-1] == np.datetime64("2013-10-24T16:00:00.001", "ms").astype(np.int64)
    assert dataset.user_records[dataset.user_row["U2"]]["tags"] == ["10", "11"]
    assert dataset.item_records == [{"size": "300x250", "advertiser": "2259"}]
    assert (dataset.events, dataset.event_kinds) == (1, ("click",))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (line(click="2"), "click: 0 or 1, found '2'"),
        (line(payprice="295"), "payprice: at most the bid 294, found '295'"),
        (line(bidprice="x"), "bidprice: a whole number from 0, found 'x'"),
        (line(timestamp="20131323193112417"), "timestamp: yyyyMMddHHmmssSSS"),
        (line(ipinyouid="null"), "ipinyouid: an id"),
        ("0\t1", "27 columns, separated by tabs"),
    ],
)
def test_a_line_of_another_form_is_refused_by_file_and_number(tmp_path, wrong, said):
    folder = write(tmp_path / "in", {**FILES, "test.log.txt": TEST + wrong + "\n"})
    with pytest.raises(DataError, match=f"test.log.txt:2: expected {said}"):
        load_ipinyou(folder)


def test_a_missing_file_and_a_log_without_clicks_are_told(tmp_path):
    folder = write(tmp_path / "in", {"train.log.txt": TRAIN})
    with pytest.raises(DataError, match="test.log.txt: no such file"):
        load_ipinyou(folder)
    write(folder, {"test.log.txt": TRAIN})
    with pytest.raises(DataError, match="none of 4 impressions was clicked"):
        load_ipinyou(folder)


def test_the_command_writes_what_loads_again(tmp_path, capsys):
    folder = write(tmp_path / "in", FILES)
    assert main(["ipinyou", "--source", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "3 impressions" in capsys.readouterr().out
    assert load_dataset(tmp_path / "out").fingerprint == load_ipinyou(folder).fingerprint
