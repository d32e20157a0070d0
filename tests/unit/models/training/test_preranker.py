import numpy as np

from models.training.config import PreRankerConfig
from models.training.networks import item_tower
from models.training.preranker import PreRankerModel, best_of, train_preranker
from tests.support.simulated import simulated_world


def learn(seed: int, **changes) -> PreRankerModel:
    world = simulated_world()
    own = {"dim": 16, "interests": 3, "iterations": 1, "epochs": 2, "batch": 64, "learning_rate": 0.01}
    config = PreRankerConfig.model_validate(own | changes)
    start = item_tower(world.features.schema, world.features.items, 8, 0.0)
    return train_preranker(world.features, world.split.train, world.validation, start, config, seed)


def alike(model: PreRankerModel) -> float:
    """Mean cosine of a user's interests."""
    interests = model.interests(simulated_world().features.batch(simulated_world().test))[..., :-1]
    unit = interests / np.linalg.norm(interests, axis=-1, keepdims=True)
    cosine = unit @ unit.transpose(0, 2, 1)
    upper = np.triu_indices(cosine.shape[1], 1)
    return float(cosine[:, upper[0], upper[1]].mean())


def test_it_learns_what_the_simulator_planted_and_repeats_with_its_seed():
    world = simulated_world()
    one, same, other = learn(0), learn(0), learn(1)
    interests = one.interests(world.features.batch(world.test))
    assert world.ndcg(world.test, interests, one.item_vectors()) > 2 * world.popularity_ndcg(world.test)
    assert one.best == same.best
    np.testing.assert_array_equal(one.item_vectors(), same.item_vectors())
    np.testing.assert_array_equal(interests, same.interests(world.features.batch(world.test)))
    assert not np.allclose(one.item_vectors(), other.item_vectors())


def test_the_penalty_keeps_interests_apart():
    assert alike(learn(0, overlap_weight=2.0, overlap_margin=0.0)) < alike(learn(0, overlap_weight=0.0)) - 0.1


def test_the_best_interest_judges():
    interests = np.array([[[1, 0, 1], [0, 1, 1]], [[1, 1, 1], [0, 0, 1]]], np.float32)
    items = np.array([[2, 5, 0.5], [-1, -3, 0]], np.float32)
    assert best_of(interests, items)(slice(1, 2)).tolist() == [[7.5, 0.0]]
