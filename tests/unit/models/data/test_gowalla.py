import numpy as np
import pytest

from models.data.columns import PARTS
from models.data.dataset import load_dataset, write_dataset
from models.data.gowalla import load_gowalla
from models.data.problems import DataError
from models.data.splits import given
from tests.unit.models.data.research_sets import GOWALLA, write


def listed(dataset, part):
    """Items by user, as sets."""
    rows = np.flatnonzero(dataset.event_part == PARTS.index(part))
    found: dict[str, set[str]] = {}
    for row in rows.tolist():
        user = dataset.user_ids[dataset.event_user[row]]
        found.setdefault(user, set()).add(dataset.item_ids[dataset.event_item[row]])
    return found


def test_the_split_of_the_files_is_kept(tmp_path):
    dataset = load_gowalla(write(tmp_path / "in", GOWALLA, packed=True))
    assert listed(dataset, "train")["1"] == {"10", "12", "16", "17"}
    assert listed(dataset, "validation") == {"0": {"16"}, "1": {"11"}}
    assert listed(dataset, "test") == {"0": {"17", "18"}, "1": {"13", "18"}}
    split = given(dataset)
    assert (len(split.train), len(split.validation), len(split.test)) == (11, 2, 4)
    assert (dataset.users, dataset.items, dataset.order) == (3, 9, "none")


def test_times_are_made_up_and_differ_and_the_test_comes_last(tmp_path):
    dataset = load_gowalla(write(tmp_path / "in", GOWALLA))
    assert len(set(dataset.event_time_ms.tolist())) == dataset.events
    for user in range(dataset.users):
        mine = dataset.event_user == user
        assert np.all(np.diff(dataset.event_part[mine]) >= 0)
        assert np.all(np.diff(dataset.event_time_ms[mine]) == 1000)


def test_the_order_of_the_numbers_is_shuffled_away_alike_every_time(tmp_path):
    many = {**GOWALLA, "train.txt": "0 " + " ".join(map(str, range(100, 200))) + "\n"}
    folder = write(tmp_path / "in", many)
    dataset = load_gowalla(folder)
    items = dataset.event_item[(dataset.event_part == 0) & (dataset.event_user == 0)]
    assert 30 < np.count_nonzero(np.diff(items) > 0) < 70
    assert load_gowalla(folder).fingerprint == dataset.fingerprint


def test_parts_and_order_outlive_the_disk(tmp_path):
    dataset = load_gowalla(write(tmp_path / "in", GOWALLA))
    write_dataset(tmp_path / "out", dataset)
    loaded = load_dataset(tmp_path / "out")
    assert loaded.fingerprint == dataset.fingerprint
    assert loaded.order == "none"
    np.testing.assert_array_equal(loaded.event_part, dataset.event_part)


def test_a_file_that_is_missing_or_empty_is_named(tmp_path):
    folder = write(tmp_path / "in", {**GOWALLA, "valid.txt": "\n"})
    with pytest.raises(DataError, match=r"valid\.txt: no event; take data/gowalla of https://"):
        load_gowalla(folder)
    (folder / "valid.txt").unlink()
    with pytest.raises(DataError, match=r"valid\.txt: no such file"):
        load_gowalla(folder)
