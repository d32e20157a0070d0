import numpy as np
import pytest

from models.data.columns import ABSENT, Queries, Relations
from models.data.dataset import load_dataset, write_dataset
from models.data.problems import DataError
from models.schema import FieldKind
from tests.unit.models.data.tiny import tiny_dataset

DECLARATION = """
name = "shop"
event_kinds = ["view", "buy"]
[item_fields]
title = "text"
tags = "set"
"""


def canonical(folder, declaration=DECLARATION, **tables):
    folder.mkdir(exist_ok=True)
    (folder / "dataset.toml").write_text(declaration)
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_a_written_data_set_loads_equal_in_every_column(tmp_path):
    dataset = tiny_dataset()
    write_dataset(tmp_path / "out", dataset)
    loaded = load_dataset(tmp_path / "out")
    assert loaded.fingerprint == dataset.fingerprint
    assert loaded.name == "tiny"
    assert loaded.item_fields["tags"] is FieldKind.SET
    assert loaded.item_records == dataset.item_records
    assert loaded.user_records == dataset.user_records
    np.testing.assert_array_equal(loaded.event_value, dataset.event_value)
    np.testing.assert_array_equal(loaded.impressions.user, dataset.impressions.user)


def test_the_fingerprint_is_of_the_content_and_not_of_the_name():
    dataset = tiny_dataset()
    assert tiny_dataset(name="other").fingerprint == dataset.fingerprint
    assert tiny_dataset(event_item=np.array([2, 1, 0, 0], np.int32)).fingerprint != dataset.fingerprint
    assert tiny_dataset(impressions=None).fingerprint != dataset.fingerprint
    assert tiny_dataset(event_kinds=("view", "like")).fingerprint != dataset.fingerprint


QUERIES = Queries(
    ["horror", "日本 film"], np.array([ABSENT, 1], np.int32), np.array([2, 0], np.int32), np.array([5, 9])
)


RELATED = Relations(
    np.array([0, 2, 0], np.int32), np.array([1, 0, 1], np.int32), np.array([0, 1, 1], np.int8)
)


def test_relations_are_written_and_loaded(tmp_path):
    dataset = tiny_dataset(relations=RELATED)
    write_dataset(tmp_path / "out", dataset)
    loaded = load_dataset(tmp_path / "out")
    assert loaded.fingerprint == dataset.fingerprint != tiny_dataset().fingerprint
    assert loaded.relations.item.tolist() == [0, 2, 0]
    assert loaded.relations.related.tolist() == [1, 0, 1]
    assert loaded.relations.relation.tolist() == [0, 1, 1]


def test_a_pair_counts_once_per_relation_and_may_bring_items(tmp_path):
    events = "user_id,item_id,event,timestamp\nu,a,view,1\n"
    relations = "item_id,related_id,relation\na,b,similar\na,b,similar\na,b,complementary\n"
    loaded = load_dataset(canonical(tmp_path / "shop", events=events, relations=relations))
    assert loaded.item_ids == ["a", "b"]
    assert loaded.relations.relation.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,b,twin", r"relations\.csv:2: relation: not one of similar, complementary"),
        ("a,b,", r"relations\.csv:2: relation: missing"),
        ("a,a,similar", r"relations\.csv:2: related_id: the item itself"),
        ("a,,similar", r"relations\.csv:2: related_id"),
    ],
)
def test_a_bad_relation_is_named(tmp_path, row, said):
    events = "user_id,item_id,event,timestamp\nu,a,view,1\n"
    relations = f"item_id,related_id,relation\n{row}\n"
    with pytest.raises(DataError, match=said):
        load_dataset(canonical(tmp_path / "shop", events=events, relations=relations))


def test_relations_follow_their_items_to_other_rows():
    kept = RELATED.renumbered(np.array([1, 0, -1], np.int32))
    assert (kept.item.tolist(), kept.related.tolist(), kept.relation.tolist()) == ([1, 1], [0, 0], [0, 1])


def test_searches_are_written_and_loaded(tmp_path):
    dataset = tiny_dataset(queries=QUERIES)
    write_dataset(tmp_path / "out", dataset)
    loaded = load_dataset(tmp_path / "out")
    assert loaded.fingerprint == dataset.fingerprint != tiny_dataset().fingerprint
    assert loaded.queries.text == QUERIES.text
    assert loaded.queries.user.tolist() == [ABSENT, 1]
    assert loaded.queries.item.tolist() == [2, 0]
    assert loaded.queries.at(np.array([False, True])).text == ["日本 film"]


def test_searches_may_come_as_csv_and_without_users(tmp_path):
    folder = canonical(
        tmp_path / "shop",
        events="user_id,item_id,event,timestamp\nu,a,view,20\n",
        queries="query,item_id,timestamp\nlater,a,30\nearlier,new,10\n",
    )
    loaded = load_dataset(folder)
    assert loaded.queries.text == ["earlier", "later"]
    assert loaded.queries.user.tolist() == [ABSENT, ABSENT]
    assert [loaded.item_ids[row] for row in loaded.queries.item] == ["new", "a"]


@pytest.mark.parametrize(("row", "reason"), [(",a,30", "missing"), (f"{'x' * 10_001},a,30", "longer than")])
def test_a_search_that_cannot_be_is_named(tmp_path, row, reason):
    folder = canonical(
        tmp_path / "shop",
        events="user_id,item_id,event,timestamp\nu,a,view,20\n",
        queries=f"query,item_id,timestamp\n{row}\n",
    )
    with pytest.raises(DataError, match=rf"queries\.csv:2: query: {reason}"):
        load_dataset(folder)


def test_an_existing_folder_is_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        write_dataset(tmp_path / "out", tiny_dataset())


def test_a_failing_write_leaves_nothing_behind(tmp_path):
    def fail(folder):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_dataset(tmp_path / "out", tiny_dataset(), beside=fail)
    assert list(tmp_path.iterdir()) == []


def test_csv_tables_are_read_and_sorted_by_time_with_ties_in_file_order(tmp_path):
    folder = canonical(
        tmp_path / "shop",
        events="user_id,item_id,event,timestamp\nu,late,view,30\nu,b,buy,20\nu,a,view,20\nu,first,view,10\n",
        items="item_id,title,tags\na,An item,x|y\n",
    )
    dataset = load_dataset(folder)
    assert [dataset.item_ids[row] for row in dataset.event_item] == ["first", "b", "a", "late"]
    assert dataset.item_records[dataset.item_row["a"]] == {"title": "An item", "tags": ["x", "y"]}
    assert dataset.item_records[dataset.item_row["late"]] == {}
    assert dataset.item_available.all()


def test_bad_rows_of_a_canonical_folder_are_refused_by_file_and_line(tmp_path):
    folder = canonical(
        tmp_path / "shop",
        events="user_id,item_id,event,timestamp\nu,a,view,1\n,a,view,2\nu,a,stolen,3\nu,a,view,soon\n",
    )
    with pytest.raises(DataError) as refused:
        load_dataset(folder)
    lines = str(refused.value).splitlines()
    assert lines[0].endswith("events.csv:3: user_id: missing")
    assert "events.csv:4: event: not one of view, buy" in lines[1]
    assert "events.csv:5: timestamp: not a finite number: 'soon'" in lines[2]
    assert lines[3] == "3 bad rows in all"


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("event_kinds = 3", "event_kinds: expected a list"),
        ('colour = "red"', "unknown key 'colour'"),
        (
            '[item_fields]\nsize = "vector"',
            "expected a kind out of category, set, number, text; found 'vector'",
        ),
        ('[item_fields]\nitem_id = "text"', "'item_id' is a column of the table itself"),
        ("item_fields = 1", "expected a table"),
        ("name = ", "dataset.toml"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_place(tmp_path, declaration, message):
    folder = canonical(
        tmp_path / "shop",
        declaration,
        events="user_id,item_id,event,timestamp\nu,a,view,1\n",
        items="item_id\na\n",
    )
    with pytest.raises(DataError, match=message):
        load_dataset(folder)


def test_a_column_that_is_not_declared_is_refused(tmp_path):
    folder = canonical(
        tmp_path / "shop",
        events="user_id,item_id,event,timestamp\nu,a,view,1\n",
        items="item_id,title,tags,colour\na,A,x,red\n",
    )
    with pytest.raises(DataError, match="'colour' is not declared"):
        load_dataset(folder)


@pytest.mark.parametrize("missing", ["user_id", "item_id", "event", "timestamp"])
def test_a_missing_column_is_named(tmp_path, missing):
    cells = {"user_id": "u", "item_id": "a", "event": "view", "timestamp": "1"}
    del cells[missing]
    folder = canonical(tmp_path / "shop", events=f"{','.join(cells)}\n{','.join(cells.values())}\n")
    with pytest.raises(DataError, match=f"events.csv: no column for '{missing}'"):
        load_dataset(folder)


def test_a_folder_that_is_no_data_set_is_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match=r"no dataset\.toml"):
        load_dataset(tmp_path)
    with pytest.raises(DataError, match=r"no events\.parquet or events\.csv"):
        load_dataset(canonical(tmp_path / "shop"))


def test_events_out_of_order_cannot_become_a_data_set():
    with pytest.raises(ValueError, match="order of time"):
        tiny_dataset(event_time_ms=np.array([4, 3, 2, 1], np.int64))


def test_parts_and_order_of_a_canonical_folder_are_read(tmp_path):
    folder = canonical(
        tmp_path / "shop",
        f'order = "none"\n{DECLARATION}',
        events="user_id,item_id,event,timestamp,part\nu,b,buy,2,test\nu,a,view,1,train\nv,a,view,3,validation\n",
    )
    dataset = load_dataset(folder)
    assert dataset.order == "none"
    assert dataset.event_part.tolist() == [0, 2, 1]
    write_dataset(tmp_path / "out", dataset)
    again = load_dataset(tmp_path / "out")
    assert again.fingerprint == dataset.fingerprint
    assert again.event_part.tolist() == [0, 2, 1]


def test_a_part_that_is_none_is_a_bad_row(tmp_path):
    folder = canonical(
        tmp_path / "shop",
        events="user_id,item_id,event,timestamp,part\nu,a,view,1,train\nu,a,view,2,\nu,a,view,3,held-out\n",
    )
    with pytest.raises(DataError) as refused:
        load_dataset(folder)
    assert "events.csv:3: part: missing" in str(refused.value)
    assert "events.csv:4: part: not one of train, validation, test: 'held-out'" in str(refused.value)


def test_an_unknown_order_is_refused(tmp_path):
    folder = canonical(tmp_path / "shop", f'order = "backwards"\n{DECLARATION}', events="user_id\n")
    with pytest.raises(
        DataError, match=r"dataset\.toml: order: expected one of time, sequence, none, found 'b"
    ):
        load_dataset(folder)


def test_parts_and_order_are_of_the_fingerprint_and_leave_that_of_older_data_sets_alone():
    plain = tiny_dataset()
    assert plain.fingerprint == "5b9d38ad520205c1c73bac992561e29d1853b9fa087d237326c5a30418fc9d98"
    others = [
        tiny_dataset(order="sequence"),
        tiny_dataset(order="none"),
        tiny_dataset(event_part=np.zeros(4, np.int8)),
        tiny_dataset(event_part=np.array([0, 0, 1, 2], np.int8)),
    ]
    assert len({plain.fingerprint, *(each.fingerprint for each in others)}) == 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"order": "backwards"}, "order: expected one of"),
        ({"event_part": np.zeros(3, np.int8)}, "3 parts for 4"),
    ],
)
def test_a_data_set_that_contradicts_itself_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        tiny_dataset(**changes)
