import pytest
import torch

from models.networks.user_tower import UserTower
from tests.support.networks import SCHEMA, empty, history, one, padded, small_networks

DIM = 8
READ = ("events", "kind", "gap", "mask", "profile")


@pytest.fixture
def tower() -> UserTower:
    return small_networks().users


def run(tower: UserTower, inputs):
    return tower(**{name: inputs[name] for name in READ})


def test_a_query_has_the_length_of_the_temperature_and_weighs_the_bias_with_one(tower):
    queries = run(tower, history(DIM, 5, 7))
    torch.testing.assert_close(queries[:, :-1].norm(dim=1), torch.full((5,), 1 / tower.temperature))
    assert (queries[:, -1] == 1).all()


def test_an_empty_history_is_the_profile_alone(tower):
    queries = run(tower, empty(history(DIM, 5, 7)))
    assert queries.isfinite().all()
    shorter = run(tower, empty(history(DIM, 5, 1)) | {"profile": history(DIM, 5, 7)["profile"]})
    torch.testing.assert_close(queries, shorter)


def test_two_profiles_without_events_differ(tower):
    inputs = empty(history(DIM, 2, 1)) | {"profile": torch.tensor([[1, 4], [2, 4]])}
    queries = run(tower, inputs)
    assert not torch.allclose(queries[0], queries[1])


def test_padding_changes_nothing(tower):
    inputs = history(DIM, 5, 7)
    torch.testing.assert_close(run(tower, padded(inputs, 4)), run(tower, inputs), rtol=1e-4, atol=1e-4)


def test_a_batch_is_its_singles(tower):
    inputs = history(DIM, 5, 7)
    together = run(tower, inputs)
    for b in range(5):
        torch.testing.assert_close(run(tower, one(inputs, b))[0], together[b], rtol=1e-4, atol=1e-4)


def test_the_query_of_a_prefix_is_the_query_at_its_place(tower):
    inputs = {key: value[-1:] for key, value in history(DIM, 3, 7).items()}
    every = tower.positions(**{name: inputs[name] for name in READ})
    for length in (1, 4, 7):
        prefix = {key: value if key == "profile" else value[:, :length] for key, value in inputs.items()}
        torch.testing.assert_close(run(tower, prefix)[0], every[0, length - 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in READ if name != "mask"])
def test_every_input_is_read(tower, name):
    inputs, other = history(DIM, 4, 7, seed=0), history(DIM, 4, 7, seed=1)
    assert not torch.allclose(run(tower, inputs)[-1], run(tower, inputs | {name: other[name]})[-1])


@pytest.fixture
def of_sets() -> UserTower:
    torch.manual_seed(0)
    tower = UserTower(SCHEMA, "mean", DIM, 1, 1, 0.0, 0.1).eval()
    for parameter in tower.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return tower.requires_grad_(False)


def test_who_reads_sets_says_so(tower, of_sets):
    assert tower.ordered
    assert not of_sets.ordered


def test_of_a_set_each_place_asks_without_its_own_event(of_sets):
    inputs = {key: value[-1:] for key, value in history(DIM, 3, 7).items()}
    inputs["mask"] = torch.ones(1, 7, dtype=torch.bool)
    every = of_sets.others(**{name: inputs[name] for name in READ})
    for place in range(7):
        rest = [other for other in range(7) if other != place]
        kept = {key: value if key == "profile" else value[:, rest] for key, value in inputs.items()}
        torch.testing.assert_close(run(of_sets, kept)[0], every[0, place], rtol=1e-3, atol=1e-3)


def test_a_single_event_is_asked_for_as_a_stranger_asks(of_sets):
    inputs = history(DIM, 5, 7)
    inputs["mask"] = torch.arange(7).expand(5, -1) == 6
    asked = of_sets.others(**{name: inputs[name] for name in READ})[:, -1]
    assert asked.isfinite().all()
    nothing = empty(inputs) | {"mask": torch.zeros_like(inputs["mask"])}
    torch.testing.assert_close(asked, run(of_sets, nothing))


def test_of_a_set_the_query_is_that_of_the_last_place(of_sets):
    inputs = history(DIM, 4, 7)
    positions = of_sets.positions(**{name: inputs[name] for name in READ})
    torch.testing.assert_close(run(of_sets, inputs), positions[:, -1], rtol=1e-4, atol=1e-4)
