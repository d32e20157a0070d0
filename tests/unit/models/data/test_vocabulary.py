import numpy as np

from models.data.vocabulary import build_schema
from models.encode import encode_records
from models.schema import FieldKind
from tests.unit.models.data.tiny import events_dataset, tiny_dataset


def with_records(records, **kinds):
    count = len(records)
    dataset = events_dataset(users=[0] * count, items=range(count), times=range(count))
    return dataset.__class__(**{**columns_of(dataset), "item_fields": kinds, "item_records": records})


def columns_of(dataset):
    return {name: getattr(dataset, name) for name in dataset.__dataclass_fields__}


def schema_of(records, events=None, **kinds):
    dataset = with_records(records, **kinds)
    return build_schema(dataset, np.arange(dataset.events) if events is None else np.array(events))


def test_frequent_values_come_first_and_ties_by_name():
    schema = schema_of([{"c": "b"}, {"c": "a"}, {"c": "z"}, {"c": "z"}], c=FieldKind.CATEGORY)
    assert schema.item_field("c").vocabulary == ("z", "a", "b")


def test_values_of_items_without_a_training_event_are_unknown():
    schema = schema_of([{"c": "seen"}, {"c": "later"}], events=[0], c=FieldKind.CATEGORY)
    assert schema.item_field("c").vocabulary == ("seen",)


def test_the_vocabulary_is_capped_and_rare_values_can_be_left_out():
    records = [{"c": f"v{row // 2}"} for row in range(19)]
    dataset = with_records(records, c=FieldKind.CATEGORY)
    everything = np.arange(dataset.events)
    assert len(build_schema(dataset, everything, max_values=3).item_field("c").vocabulary) == 3
    assert "v9" not in build_schema(dataset, everything, min_count=2).item_field("c").vocabulary


def test_a_set_is_as_wide_as_most_records_need_and_never_endless():
    few = schema_of([{"s": ["a"]}] * 19 + [{"s": ["a", "b", "c"]}], s=FieldKind.SET)
    assert few.item_field("s").width == 2
    many = schema_of([{"s": [str(n) for n in range(40)]}] * 3, s=FieldKind.SET)
    assert many.item_field("s").width == 12


def test_number_buckets_hold_about_equal_shares_and_none_is_empty():
    values = np.random.default_rng(0).lognormal(size=4000)
    schema = schema_of([{"n": value} for value in values.tolist()], n=FieldKind.NUMBER)
    edges = schema.item_field("n").edges
    counts = np.bincount(np.searchsorted(edges, values, side="right"))
    assert len(counts) == 16
    assert counts.min() > 200
    assert schema_of([{"n": 3}] * 5, n=FieldKind.NUMBER).item_field("n").edges == ()
    assert schema_of([{}] * 5, n=FieldKind.NUMBER).item_field("n").edges == ()


def test_the_schema_carries_kinds_placements_and_length_and_encodes_the_records():
    dataset = tiny_dataset()
    schema = build_schema(dataset, np.arange(dataset.events), history_length=7)
    assert schema.event_kinds == ("view", "buy")
    assert schema.placements == ("home", "cart")
    assert schema.history_length == 7
    assert schema.item_field("title").width == 32
    assert [field.name for field in schema.user_fields] == ["town"]
    tokens = encode_records(schema.item_fields, dataset.item_records)
    assert tokens[0].any()
    assert not tokens[2].any()
