import numpy as np
import pytest
import torch

from models.data.columns import Dataset
from models.data.vocabulary import build_schema
from models.training.config import PreRankerConfig
from models.training.features import Features
from models.training.networks import item_tower
from models.training.preranker import PreRankerModel, best_of, interest_cosine, train_preranker
from tests.support.simulated import simulated_world
from tests.unit.models.data.tiny import events_dataset


def learn(seed: int, **changes) -> PreRankerModel:
    world = simulated_world()
    own = {"dim": 16, "interests": 3, "iterations": 1, "epochs": 2, "batch": 64, "learning_rate": 0.01}
    config = PreRankerConfig.model_validate(own | changes)
    torch.manual_seed(seed)
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


def test_likeness_is_the_mean_cosine_over_pairs_and_none_of_one():
    two = np.array([[[3, 0, 1], [0, 2, 1]], [[1, 1, 1], [2, 2, 1]]], np.float32)
    assert interest_cosine(two).tolist() == pytest.approx([0.0, 1.0])
    assert interest_cosine(two[:, :1]).tolist() == [0.0, 0.0]
    assert interest_cosine(two[:0]).shape == (0,)


class TestLittleToLearn:
    """What is hardly anything to learn from gives a model without NaN, and says what it found."""

    def learned(self, dataset: Dataset, **changes) -> tuple[Features, PreRankerModel]:
        events = np.arange(dataset.events)
        features = Features.of(dataset, build_schema(dataset, events, history_length=4))
        requests = features.timeline.requests(events)
        start = item_tower(features.schema, features.items, 8, 0.0)
        config = PreRankerConfig.model_validate({"dim": 8, "epochs": 1, "batch": 2, **changes})
        return features, train_preranker(features, events, requests.at(slice(0, 2)), start, config, 0)

    @pytest.mark.parametrize("loss", ["full-softmax", "sampled-softmax"])
    @pytest.mark.parametrize("hierarchy", ["none", "residual", "weighted"])
    @pytest.mark.parametrize(
        ("users", "items"),
        [
            ([0, 1, 2], [0, 0, 0]),  # one item, and nobody has a history
            ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]),  # everybody goes for the same
            ([0], [0]),
        ],
    )
    def test_the_model_is_finite(self, users, items, hierarchy, loss):
        dataset = events_dataset(users, items, range(len(users)))
        features, model = self.learned(dataset, loss=loss, hierarchy=hierarchy, negatives=4)
        everybody = features.timeline.requests(np.arange(dataset.events))
        interests = model.interests(features.batch(everybody))
        assert np.isfinite(interests).all()
        assert np.isfinite(model.item_vectors()).all()
        assert 0 <= model.best <= 1

    def test_no_validation_keeps_the_first_epoch_and_no_request_has_no_interests(self):
        features, _ = self.learned(events_dataset([0, 0], [0, 1], range(2)))
        nobody = features.timeline.requests(np.arange(2)).at(slice(0, 0))
        start = item_tower(features.schema, features.items, 8, 0.0)
        model = train_preranker(
            features, np.arange(2), nobody, start, PreRankerConfig(dim=8, interests=3, epochs=1), 0
        )
        assert model.best == 0.0
        assert model.interests(features.batch(nobody)).shape == (0, 3, 9)
