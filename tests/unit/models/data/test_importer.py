import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.data.importer import import_dataset
from models.data.problems import DataError, Problems

MAPPING = """
name = "shop"
event_kinds = { viewed = "view", bought = "buy" }

[events]
user_id = "customer"
item_id = "sku"
event = "action"
timestamp = "at"
value = "paid"
time_unit = "iso"

[items]
item_id = "sku"
available = "sold"
created_at = "listed"
time_unit = "s"
[items.attributes]
title = { column = "name", kind = "text" }
colours = { kind = "set", separator = "," }
price = { kind = "number" }
"""
EVENTS = """customer,sku,action,at,paid
ann,1,viewed,2024-01-01T00:00:01Z,
ann,9,bought,2024-01-01T00:00:00Z,3.5
bob,1,,2024-01-01T00:00:02Z,
bob,1,stole,2024-01-01T00:00:02Z,
bob,1,viewed,not a time,x
"""
ITEMS = 'sku,name,colours,price,sold,listed\n1,Lamp,"red,blue",9.5,yes,1700000000\n1,Lamp again,,,,\n'


@pytest.fixture
def shop(tmp_path):
    paths = {"mapping": tmp_path / "m.toml", "events": tmp_path / "e.csv", "items": tmp_path / "i.csv"}
    for path, text in zip(paths.values(), (MAPPING, EVENTS, ITEMS), strict=True):
        path.write_text(text)
    return paths


def run(shop, problems):
    return import_dataset({"events": shop["events"], "items": shop["items"]}, shop["mapping"], problems)


def test_the_mapping_names_columns_kinds_units_and_separators(shop):
    dataset = run(shop, Problems())
    assert dataset.name == "shop"
    assert dataset.event_kinds == ("view", "buy")
    assert dataset.item_ids == ["1", "9"]
    assert dataset.item_records[0] == {"title": "Lamp", "colours": ["red", "blue"], "price": 9.5}
    assert dataset.item_created_ms.tolist() == [1700000000000, 0]
    assert [dataset.event_kinds[k] for k in dataset.event_kind] == ["buy", "view"]
    assert dataset.event_time_ms.tolist() == [1704067200000, 1704067201000]
    np.testing.assert_array_equal(dataset.event_value, np.array([3.5, np.nan], np.float32))


def test_every_bad_row_is_named_by_file_line_and_column(shop):
    problems = Problems()
    run(shop, problems)
    assert problems.rows == 4
    found = {(cell.path.name, cell.line, cell.column) for cell in problems.cells}
    assert found == {
        ("e.csv", 4, "action"),
        ("e.csv", 5, "action"),
        ("e.csv", 6, "at"),
        ("e.csv", 6, "paid"),
        ("i.csv", 3, "sku"),
    }


def test_an_event_without_a_kind_takes_the_default(shop):
    shop["mapping"].write_text('default_event = "view"\n' + MAPPING)
    dataset = run(shop, Problems())
    assert dataset.events == 3
    assert dataset.event_kind.tolist() == [1, 0, 0]


def test_a_default_outside_the_kinds_is_refused(shop):
    shop["mapping"].write_text('default_event = "gone"\n' + MAPPING)
    with pytest.raises(DataError, match="default_event 'gone' is not one of"):
        run(shop, Problems())


def test_parquet_imports_as_csv_does(shop, tmp_path):
    from_csv = run(shop, Problems())
    columns = {
        "customer": ["ann", "ann"],
        "sku": [1, 9],
        "action": ["viewed", "bought"],
        "at": ["2024-01-01T00:00:01Z", "2024-01-01T00:00:00Z"],
        "paid": [None, 3.5],
    }
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    shop["events"] = tmp_path / "e.parquet"
    assert run(shop, Problems()).fingerprint == from_csv.fingerprint


def test_impressions_are_read_with_their_auctions(shop, tmp_path):
    shop["mapping"].write_text(
        MAPPING + '[impressions]\nrequest_id="r"\nuser_id="u"\nitem_id="i"\nposition="p"\ntimestamp="t"\n'
        'clicked="c"\npropensity="q"\nbid_micros="b"\nplacement="where"\n'
    )
    path = tmp_path / "shown.csv"
    path.write_text(
        "r,u,i,p,t,c,q,b,where\nr1,,77,0,2,1,0.5,100,top\nr1,ann,1,1,1,0,,,\nr2,ann,1,x,1,0,2,,top\n"
    )
    problems = Problems()
    dataset = import_dataset({"events": shop["events"], "impressions": path}, shop["mapping"], problems)
    shown = dataset.impressions
    assert [dataset.item_ids[row] for row in shown.item] == ["1", "77"]
    assert shown.user.tolist() == [dataset.user_row["ann"], -1]
    assert shown.clicked.tolist() == [False, True]
    assert shown.bid_micros.tolist() == [-1, 100]
    assert [dataset.placements[place] for place in shown.placement] == ["default", "top"]
    assert {(c.line, c.column) for c in problems.cells if c.path == path} == {(4, "p"), (4, "q")}


def test_nothing_usable_is_refused(shop):
    shop["events"].write_text(EVENTS.splitlines()[0] + "\n,1,viewed,2024-01-01,\n")
    with pytest.raises(DataError, match="no usable event"):
        run(shop, Problems())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x =", "m.toml"),
        ("", r"no \[events\] table"),
        ("[events]\ncolour='c'", "events: unknown key 'colour'"),
        ("[events]\nuser_id=3", "events.user_id: expected a text, found 3"),
        ("events = 1", "events: expected a table"),
        ("[events]\ntime_unit='h'", "expected one of ms, s, iso"),
        ("[events]\n[events.attributes]", "events: unknown key 'attributes'"),
        ("[events]\n[items.attributes]\nx={kind='odd'}", "expected a kind"),
        ("[events]\n[items.attributes]\nx=1", "expected a table"),
        ("[events]\n[items.attributes]\nitem_id={kind='text'}", "column of the table itself"),
        ("event_kinds=1\n[events]", "event_kinds: expected a table"),
        ("order=1\n[events]", "order: expected one of time, sequence, none, found 1"),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_place(shop, text, message):
    shop["mapping"].write_text(text)
    with pytest.raises(DataError, match=message):
        run(shop, Problems())


def test_a_column_that_the_file_lacks_is_named(shop):
    shop["mapping"].write_text(MAPPING.replace('"at"', '"when"'))
    with pytest.raises(DataError, match="no column 'when'"):
        run(shop, Problems())


def test_a_column_of_endless_kinds_is_questioned(shop):
    rows = "".join(f"u,1,kind{n},2024-01-01,\n" for n in range(1200))
    shop["events"].write_text("customer,sku,action,at,paid\n" + rows)
    shop["mapping"].write_text(MAPPING.replace('event_kinds = { viewed = "view", bought = "buy" }', ""))
    with pytest.raises(DataError, match="1200 distinct values; is this the event"):
        run(shop, Problems())


def test_a_split_and_an_order_of_ones_own_are_imported(shop):
    mapping = MAPPING.replace('name = "shop"', 'name = "shop"\norder = "sequence"')
    shop["mapping"].write_text(mapping.replace('value = "paid"', 'part = "paid"'))
    shop["events"].write_text(EVENTS.replace("01Z,\nann", "01Z,train\nann").replace("3.5", "test"))
    problems = Problems()
    dataset = run(shop, problems)
    assert dataset.order == "sequence"
    assert dataset.event_part.tolist() == [2, 0]
    assert problems.rows == 4
