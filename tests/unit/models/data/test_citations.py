import numpy as np
import pytest

from models.data.citations import held_out_parts, load_hep_th
from models.data.problems import DataError
from models.data.splits import given
from tests.unit.models.data.research_sets import HEP_TH, write


def test_who_cites_is_the_user_and_what_is_cited_the_item(tmp_path):
    dataset = load_hep_th(write(tmp_path / "in", HEP_TH, packed=True))
    assert dataset.user_ids == ["7", "1001"]
    assert dataset.items == 21
    assert (dataset.events, dataset.order, dataset.event_kinds) == (21, "none", ("cite",))


def test_a_tenth_validates_and_a_fifth_tests_drawn_at_random_and_alike_every_time(tmp_path):
    folder = write(tmp_path / "in", HEP_TH)
    dataset = load_hep_th(folder)
    split = given(dataset)
    assert (len(split.train), len(split.validation), len(split.test)) == (15, 2, 4)
    tested = sorted(int(dataset.item_ids[row]) for row in dataset.event_item[split.test])
    assert tested not in ([0, 1, 2, 3], [16, 17, 18, 19])
    assert load_hep_th(folder).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("events", "parts"),
    [(1, (1, 0, 0)), (4, (4, 0, 0)), (5, (3, 1, 1)), (8, (5, 1, 2)), (15, (10, 2, 3)), (100, (70, 10, 20))],
)
def test_shares_are_rounded_and_at_least_one_and_a_short_list_only_trains(events, parts):
    users = np.repeat([3, 9], [events, 2])
    drawn = held_out_parts(users)
    assert tuple(np.bincount(drawn[:events], minlength=3)) == parts
    assert not drawn[events:].any()
    assert np.all(np.diff(drawn[:events]) >= 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# a comment\n1 2\n", r"cit-HepTh\.txt:2: expected two papers, separated by a tab, found '1 2'"),
        ("1\t2\n1\tx\n", r"cit-HepTh\.txt:2: expected to: a whole number from 0, found 'x'"),
        ("# nothing\n", r"cit-HepTh\.txt: no citation"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        load_hep_th(write(tmp_path / "in", {"cit-HepTh.txt": text}))
