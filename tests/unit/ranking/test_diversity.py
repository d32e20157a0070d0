import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.diversity import diversify

floats = st.floats(-5, 5, width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0])


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def similarity(positions, table) -> float:
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    chosen = unit[positions]
    alike = chosen @ chosen.T
    return float(alike[np.triu_indices(len(chosen), 1)].mean())


METHODS = st.sampled_from(["dpp", "mmr"])


@given(st.lists(floats, max_size=40), st.integers(0, 50), st.floats(0, 1), METHODS)
def test_positions_are_distinct_and_as_many_as_there_can_be(scores, size, strength, method):
    scores = np.array(scores, np.float32)
    positions = diversify(scores, vectors(len(scores)), size, strength, method)
    assert len(positions) == min(size, len(scores))
    assert len(set(positions.tolist())) == len(positions)
    finite = np.isfinite(scores[positions])
    assert not (np.diff(finite.astype(int)) > 0).any()


@given(st.lists(floats, max_size=40), st.integers(0, 50), METHODS)
def test_strength_zero_is_the_order_of_the_scores(scores, size, method):
    def key(position):
        score = scores[position]
        return (0, -score, position) if np.isfinite(score) else (1, 0, position)

    positions = diversify(np.array(scores, np.float32), vectors(len(scores)), size, 0.0, method)
    assert positions.tolist() == sorted(range(len(scores)), key=key)[:size]


@pytest.mark.parametrize("method", ["dpp", "mmr"])
def test_more_strength_less_alike_and_less_score(method):
    scores = np.sort(np.random.default_rng(3).normal(size=200)).astype(np.float32)[::-1].copy()
    table = np.repeat(np.eye(6, dtype=np.float32), 40, axis=0)[:200] + 0.2 * vectors(200)
    lists = [diversify(scores, table, 10, strength, method) for strength in (0.0, 0.3, 0.7, 1.0)]
    alike = [similarity(positions, table) for positions in lists]
    value = [scores[positions].sum() for positions in lists]
    assert alike == sorted(alike, reverse=True)
    assert value == sorted(value, reverse=True)
    assert alike[0] > alike[-1] + 0.2


@pytest.mark.parametrize("method", ["dpp", "mmr"])
@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_the_best_item_stays_first(strength, method):
    scores = np.array([0.2, 0.9, 0.5], np.float32)
    assert diversify(scores, vectors(3), 3, strength, method)[0] == 1


@pytest.mark.parametrize("method", ["dpp", "mmr"])
def test_of_two_equal_items_the_second_waits(method):
    table = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    scores = np.array([1.0, 0.99, 0.5], np.float32)
    assert diversify(scores, table, 3, 0.3, method).tolist() == [0, 1, 2]
    assert diversify(scores, table, 3, 0.6, method).tolist() == [0, 2, 1]


def test_the_marginal_choice_is_the_one_of_its_definition():
    table, strength = vectors(12, seed=5), 0.6
    scores = np.random.default_rng(5).random(12).astype(np.float32)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    relevance = (scores - scores.min()) / np.ptp(scores)
    chosen: list[int] = []
    for _ in range(6):

        def worth(i):
            closest = max([0.0, *(float(unit[i] @ unit[j]) for j in chosen)])
            return (1 - strength) * relevance[i] - strength * closest

        chosen.append(max((i for i in range(12) if i not in chosen), key=worth))
    assert diversify(scores, table, 6, strength, "mmr").tolist() == chosen


def test_the_methods_differ_where_an_item_is_a_little_like_several():
    """Half like each of two picked ones: near to none of them, but nearly in their plane."""
    table = np.array([[1, 0, 0], [0, 1, 0], [0.7, 0.7, 0.14], [0.8, 0, 0.6]], np.float32)
    scores = np.array([1.0, 0.99, 0.5, 0.5], np.float32)
    assert diversify(scores, table, 3, 0.9, "dpp").tolist() == [0, 1, 3]
    assert diversify(scores, table, 3, 0.9, "mmr").tolist() == [0, 1, 2]


def test_the_greedy_choice_is_the_one_of_the_determinants():
    table, strength, size = vectors(12, seed=4), 0.6, 5
    scores = np.random.default_rng(4).random(12).astype(np.float32)
    unit = (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float64)
    kernel = 0.99 * unit @ unit.T + 0.01 * np.eye(12)
    relevance = (scores - scores.min()) / np.ptp(scores)
    chosen: list[int] = []
    for _ in range(size):

        def gain(i):
            both, before = kernel[np.ix_([*chosen, i], [*chosen, i])], kernel[np.ix_(chosen, chosen)]
            novelty = np.log(np.linalg.det(both) / (np.linalg.det(before) if chosen else 1.0))
            return (1 - strength) * relevance[i] + strength * novelty / -np.log(0.01)

        chosen.append(max((i for i in range(12) if i not in chosen), key=gain))
    assert diversify(scores, table, size, strength).tolist() == chosen


def test_vectors_that_say_nothing_leave_the_order():
    scores = np.array([0.1, 0.4, 0.3], np.float32)
    for table in (np.zeros((3, 2), np.float32), np.full((3, 2), np.nan, np.float32)):
        assert diversify(scores, table, 3, 0.9).tolist() == [1, 2, 0]
