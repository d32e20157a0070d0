import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.order import best_rows, descending, is_descending, top_mask

floats = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0, 1.0, np.nan, np.inf, -np.inf])


@given(st.lists(floats, max_size=80), st.randoms(use_true_random=False))
def test_best_first_with_non_finite_last_and_ties_by_row(scores, random):
    rows = list(range(len(scores)))
    random.shuffle(rows)
    order = descending(np.array(scores, np.float32), np.array(rows, np.int32))

    def key(position):
        score = np.float32(scores[position])
        return (0, -score, rows[position]) if np.isfinite(score) else (1, 0, rows[position])

    assert order.tolist() == sorted(range(len(scores)), key=key)


@given(st.lists(floats, max_size=80), st.randoms(use_true_random=False))
def test_double_precision_scores_have_the_same_order(scores, random):
    rows = np.array(random.sample(range(1000), len(scores)), np.int32)
    single = np.array(scores, np.float32)
    assert descending(single.astype(np.float64), rows).tolist() == descending(single, rows).tolist()


@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5, np.nan, np.inf, -np.inf]), max_size=6), st.booleans())
def test_what_is_in_order_is_told(scores, sort):
    scores = np.array(scores, np.float32)
    rows = np.random.default_rng(len(scores)).permutation(len(scores)).astype(np.int32)
    order = descending(scores, rows)
    if sort:
        scores, rows = scores[order], rows[order]
    same = descending(scores, rows).tolist() == list(range(len(scores)))
    told = is_descending(scores, rows)
    assert told <= same
    if np.isfinite(scores).all():
        assert told == same


@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, -3.0, np.nan, np.inf]), min_size=1, max_size=20),
    st.integers(1, 25),
)
def test_top_mask_marks_the_first_k_of_the_order(scores, k):
    block = np.array([scores], np.float32)
    finite = int(np.isfinite(block).sum())
    order = descending(block[0], np.arange(len(scores), dtype=np.int32))
    expected = set(order[: min(k, finite)].tolist())
    assert set(np.flatnonzero(top_mask(block, k)[0]).tolist()) == expected


@given(
    st.lists(
        st.lists(
            st.sampled_from([0.0, 1.0, 2.0, -3.0, np.nan, np.inf, -np.inf]),
            min_size=6,
            max_size=6,
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 9),
)
def test_best_rows_are_the_order_of_each_row_by_itself(lists, k):
    block = np.array(lists, np.float32)
    rows = best_rows(block, k)
    assert rows.shape == (len(block), min(k, 6))
    for scores, found in zip(block, rows, strict=True):
        expected = descending(scores, np.arange(6, dtype=np.int32))[: np.isfinite(scores).sum()][:k]
        assert found.tolist() == [*expected.tolist(), *[-1] * (len(found) - len(expected))]


def test_best_rows_of_nobody_are_none():
    assert best_rows(np.zeros((0, 4), np.float32), 2).shape == (0, 2)
