import numpy as np
import pytest

from models.data.amazon import load_amazon_beauty, load_amazon_grocery
from models.data.columns import RELATIONS
from models.data.problems import DataError
from models.data.splits import leave_last_out
from models.schema import FieldKind
from tests.unit.models.data.research_sets import BEAUTY, GROCERY, write


class TestBeauty:
    def test_a_line_is_a_sequence_and_its_last_item_is_the_last(self, tmp_path):
        dataset = load_amazon_beauty(write(tmp_path / "in", BEAUTY, packed=True))
        assert dataset.order == "sequence"
        assert dataset.event_part is None
        mine = dataset.event_user == 0
        assert [dataset.item_ids[row] for row in dataset.event_item[mine]] == ["3", "1", "2", "5", "4"]
        assert np.all(np.diff(dataset.event_time_ms[mine]) > 0)
        split = leave_last_out(dataset)
        assert [dataset.item_ids[row] for row in dataset.event_item[split.test]] == ["4", "1"]

    def test_an_empty_file_is_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"Beauty\.txt: no event"):
            load_amazon_beauty(write(tmp_path / "in", {"Beauty.txt": "\n"}))


class TestGrocery:
    def test_dates_are_real_and_ties_keep_the_order_of_the_file(self, tmp_path):
        dataset = load_amazon_grocery(write(tmp_path / "in", GROCERY, packed=True))
        assert dataset.order == "time"
        assert dataset.event_time_ms.tolist() == [86_400_000, 86_400_000, 172_800_000, 259_200_000]
        assert [dataset.user_ids[row] for row in dataset.event_user] == ["5", "6", "5", "6"]

    def test_the_category_is_the_only_attribute_of_all_items_bought_or_not(self, tmp_path):
        dataset = load_amazon_grocery(write(tmp_path / "in", GROCERY))
        assert dataset.item_fields == {"category": FieldKind.CATEGORY}
        assert dataset.item_ids == ["1", "2", "3"]
        assert dataset.item_records == [{"category": "56"}, {"category": "0"}, {"category": "0"}]

    def test_what_was_bought_along_is_complementary_and_what_was_viewed_along_is_similar(self, tmp_path):
        dataset = load_amazon_grocery(write(tmp_path / "in", GROCERY))
        known = dataset.relations
        pairs = {
            (dataset.item_ids[i], dataset.item_ids[j], RELATIONS[kind])
            for i, j, kind in zip(known.item, known.related, known.relation, strict=True)
        }
        assert len(known) == len(pairs)
        assert pairs == {
            ("2", "1", "complementary"),
            ("1", "2", "complementary"),
            ("1", "3", "complementary"),
            ("1", "2", "similar"),
        }

    @pytest.mark.parametrize(
        ("name", "line", "said"),
        [
            ("interactions.csv", "5\t1\tsoon", r"interactions\.csv:6: expected time: a whole number"),
            ("interactions.csv", "5\t\t7", r"interactions\.csv:6: expected item_id: a whole number"),
            (
                "interactions.csv",
                f"5\t1\t{10**15}",
                r"interactions\.csv:6: expected time: seconds since 1970",
            ),
            ("items.csv", "1\t0\t[]\t[]", r"items\.csv:5: item 1 has a line already"),
            ("items.csv", "9\tx\t[]\t[]", r"items\.csv:5: expected i_category: a whole number"),
            ("items.csv", "9\t0\t[]\t[1,", r"items\.csv:5: expected r_substitute: a list of items"),
            ("items.csv", '9\t0\t["a"]\t[]', r"items\.csv:5: expected r_complement: a list of items"),
            ("items.csv", "9\t0\t[]\t[1, 77]", r"items\.csv:5: expected r_substitute: other items .* '77'"),
            ("items.csv", "9\t0\t[9]\t[]", r"items\.csv:5: expected r_complement: other items .* '9'"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path, name, line, said):
        files = {**GROCERY, name: f"{GROCERY[name]}{line}\n"}
        with pytest.raises(DataError, match=said):
            load_amazon_grocery(write(tmp_path / "in", files))

    def test_an_empty_table_is_refused(self, tmp_path):
        files = {**GROCERY, "interactions.csv": "user_id\titem_id\ttime\n"}
        with pytest.raises(DataError, match=r"interactions\.csv: no event"):
            load_amazon_grocery(write(tmp_path / "in", files))
