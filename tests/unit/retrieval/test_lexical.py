import os
import stat
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.artifacts import BundleError
from retrieval.lexical import LexicalIndex, build_lexical

TITLES = [
    "Amélie",
    "The Matrix",
    "Matrix Reloaded",
    "Star Wars",
    "Toy Story",
    "The Straße",
    "",
    "Terminator 2",
]
TEXTS = [
    "comedy romance",
    "action sci-fi",
    "action",
    "sci-fi",
    "animation comedy",
    "drama",
    "matrix",
    "action",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lexical")
    build_lexical(folder, TITLES, TEXTS)
    return folder


@pytest.fixture(scope="module")
def index(folder):
    return LexicalIndex.open(folder)


def found(index, text, k=10):
    return index.search(text, k)[0].tolist()


def test_titles_weigh_more_than_attributes(index):
    rows, scores = index.search("matrix", 10)
    assert rows.dtype == np.int32
    assert scores.dtype == np.float32
    assert set(rows[:2].tolist()) == {1, 2}
    assert rows[2] == 6
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("text", ["amelie", "AMÉLIE", "  amélie!!", '"Amelie', "ame\u0301lie", "Amélie AND"])
def test_case_accents_and_signs_are_ignored(index, text):
    assert found(index, text)[0] == 0


def test_more_words_that_match_come_first(index):
    assert found(index, "the matrix")[0] == 1
    assert found(index, "action sci-fi")[0] == 1


@pytest.mark.parametrize(("text", "row"), [("amlie", 0), ("matirx", 1), ("termintaor", 7), ("sotry", 4)])
def test_a_typo_still_finds_it(index, text, row):
    assert row in found(index, text)


def test_a_word_that_matches_is_not_guessed_at(index):
    assert found(index, "star") == [3]


def test_an_exact_word_beats_a_guess(index):
    assert found(index, "terminatr romance")[0] == 0


def test_at_most_k(index):
    assert len(found(index, "matrix", 1)) == 1
    assert found(index, "matrix", 0) == []


@pytest.mark.parametrize("text", ["", "   ", "😀", "...", "()[]{}", "xyzzyqwert"])
def test_nothing_to_find_is_nothing_found(index, text):
    rows, scores = index.search(text, 5)
    assert len(rows) == len(scores) == 0
    assert rows.dtype == np.int32


NASTY = [
    'title:"', "+-*/~^", "a AND", "OR OR", "NOT", "[1 TO", "{", "\\", "\x00", "\ud800", "title:matrix^99",
    "row:1", "a" * 10_000, "ab " * 5_000, "é" * 10_000, "日本語", "*", "ma?rix", "/(((/", "\u202e", "'; DROP",
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY)
def test_no_text_raises(index, text):
    rows, scores = index.search(text, 10)
    assert len(rows) == len(scores)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(codec=None)) | st.text('+-"()[]{}:^~*?\\/ andotr', max_size=40),
    k=st.integers(0, 20),
)
def test_search_never_raises_and_rows_are_distinct(index, text, k):
    rows = found(index, text, k)
    assert len(rows) == len(set(rows)) <= k
    assert all(0 <= row < len(TITLES) for row in rows)


def test_opening_leaves_a_read_only_folder_as_it_was(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        opened = LexicalIndex.open(folder)
        assert found(opened, "star") == [3]
    finally:
        folder.chmod(stat.S_IRWXU)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_no_lock_file_is_left_in_the_bundle(folder):
    assert not [name for name in os.listdir(folder) if "lock" in name]


def test_a_relative_path_works(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert LexicalIndex.open(type(folder)(folder.name)).size == len(TITLES)


def test_threads_share_one_index(index):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: found(index, "matrix action"), range(100)))
    assert all(answer == answers[0] for answer in answers)


def test_a_folder_without_an_index_is_refused(tmp_path):
    with pytest.raises(BundleError, match="not a readable lexical index"):
        LexicalIndex.open(tmp_path)
    with pytest.raises(BundleError, match="nowhere"):
        LexicalIndex.open(tmp_path / "nowhere")


def test_a_damaged_index_is_refused(tmp_path):
    build_lexical(tmp_path, TITLES, TEXTS)
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(BundleError, match="not a readable lexical index"):
        LexicalIndex.open(tmp_path)


def test_as_many_texts_as_titles(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        build_lexical(tmp_path, ["a"], [])


def test_an_empty_catalogue(tmp_path):
    build_lexical(tmp_path, [], [])
    assert found(LexicalIndex.open(tmp_path), "anything") == []


def test_the_last_word_may_be_unfinished(index):
    assert set(found(index, "matr")[:2]) == {1, 2}
    assert 7 in found(index, "the termina")
    assert 7 not in found(index, "termina the")


def test_fields_have_weights(tmp_path):
    build_lexical(tmp_path, ["red", "blue", "green"], ["", "", ""], {"colour": ["blue", "red", "red"]})
    index = LexicalIndex.open(tmp_path)
    assert set(index.fields) == {"title", "text", "colour"}
    assert found(index, "red")[0] == 0
    assert index.search("red", 3, {"title": 0.1, "colour": 5.0})[0].tolist()[-1] == 0


def test_an_attribute_whose_name_is_no_field_is_refused(tmp_path):
    with pytest.raises(ValueError, match="genre of film"):
        build_lexical(tmp_path, ["a"], [""], {"genre of film": ["b"]})


def test_scripts_without_spaces_are_found_by_their_parts(tmp_path):
    titles = ["東京物語", "千と千尋の神隠し", "기생충", "ฉลาดเกมส์โกง", "京都"]
    build_lexical(tmp_path, titles, [""] * len(titles))
    index = LexicalIndex.open(tmp_path)
    assert found(index, "東京")[0] == 0
    assert found(index, "神隠し")[0] == 1
    assert found(index, "생충") == [2]
    assert found(index, "เกมส์")[0] == 3
    assert set(found(index, "京")) == {0, 4}
