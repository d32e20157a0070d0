from __future__ import annotations

import numpy as np

from models.training.pairs import train_pairs
from retrieval.neighbours import Neighbours
from retrieval.pairs import Pairs, pairs_of, pruned

ITEMS, USERS = 60, 200


def world(seed: int = 0) -> tuple[list[Pairs], np.ndarray]:
    """Users whose target is, of their trigger's list, the item that their vector points to most."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(ITEMS, 5)).astype(np.float32)
    near = np.stack([rng.permutation(np.delete(np.arange(ITEMS), i))[:20] for i in range(ITEMS)])
    lists = Neighbours(near.astype(np.int32), np.sort(rng.random((ITEMS, 20)))[:, ::-1].astype(np.float32))
    pairs, targets = [], []
    for _ in range(USERS):
        user = rng.normal(size=5).astype(np.float32)
        history = rng.integers(0, ITEMS, 3).astype(np.int32)
        found = pairs_of(lists, history, np.ones(ITEMS, np.float32), vectors, user)
        pairs.append(found)
        targets.append(found.rows[np.argmax(vectors[found.rows] @ user)])
    return pairs, np.array(targets, np.int32)


def place(scorer, pairs, targets) -> float:
    """Mean place of the target in the pruned lists."""
    return float(
        np.mean([pruned(each, scorer)[0].tolist().index(t) for each, t in zip(pairs, targets, strict=True)])
    )


def test_a_scorer_learns_what_the_users_vector_says_and_repeats_with_its_seed():
    pairs, targets = world()
    learned = train_pairs(pairs.__getitem__, targets, seed=0)
    unseen = world(seed=1)
    unable = train_pairs(pairs.__getitem__, np.full(USERS, -1, np.int32), seed=0)
    assert place(learned, *unseen) < 0.3 * place(unable, *unseen)
    again = train_pairs(pairs.__getitem__, targets, seed=0)
    assert np.array_equal(learned.first, again.first)


def test_without_any_target_in_a_list_similarity_decides():
    pairs, _ = world()
    scorer = train_pairs(pairs.__getitem__, np.full(USERS, -1, np.int32), seed=0)
    for each in pairs[:5]:
        rows, scores = pruned(each, scorer)
        sums = np.bincount(each.target, weights=np.exp(each.features[:, 0]), minlength=len(each.rows))
        assert set(rows[:1]) == {each.rows[np.argmax(sums)]}
        np.testing.assert_allclose(np.exp(scores), np.sort(sums)[::-1], rtol=1e-4)
