import numpy as np
import pytest
import scipy.sparse
import torch

from models.networks.item_tower import ItemTower
from models.schema import Schema
from tests.support.networks import ITEMS, SCHEMA, item_tokens, small_networks


@pytest.fixture
def tower() -> ItemTower:
    return small_networks().items


def test_rows_are_a_unit_vector_and_a_bias(tower):
    rows = tower.all()
    assert rows.shape == (ITEMS, 9)
    torch.testing.assert_close(rows[:, :-1].norm(dim=1), torch.ones(ITEMS))
    assert rows[:, -1].std() > 0


def test_a_new_item_is_an_old_one_without_its_id(tower):
    tower.id.weight.zero_()
    tower.id_bias.weight.zero_()
    torch.testing.assert_close(tower.new(tower.tokens), tower.all())


def test_the_id_matters_and_new_items_have_none(tower):
    new, known = tower.new(tower.tokens), tower.all()
    assert not torch.allclose(new, known)
    tower.id.weight.normal_()
    torch.testing.assert_close(tower.new(tower.tokens), new)


def test_an_item_without_any_content_is_finite(tower):
    assert tower.tokens[0].sum() == 0
    assert tower.new(tower.tokens[:1]).isfinite().all()
    assert tower.all()[0].isfinite().all()


def test_a_field_counts_by_the_mean_of_its_tokens(tower):
    twice = torch.tensor([[3, 3, 0, 0, 0, 0, 0]])
    once = torch.tensor([[3, 0, 0, 0, 0, 0, 0]])
    torch.testing.assert_close(tower.new(twice), tower.new(once))


def test_items_of_one_batch_do_not_mix(tower):
    together = tower.new(tower.tokens)
    for row in (0, 7, ITEMS - 1):
        torch.testing.assert_close(tower.new(tower.tokens[row : row + 1])[0], together[row])


def test_in_training_a_share_of_the_ids_is_hidden(tower):
    torch.manual_seed(0)
    tower.train()
    tower.id_dropout = 0.5
    hidden = torch.stack([torch.isclose(tower.all(), tower.new(tower.tokens)).all(1) for _ in range(20)])
    assert 0.4 < hidden.float().mean() < 0.6
    tower.eval()
    torch.testing.assert_close(tower.all(), tower.all())
    assert not torch.isclose(tower.all(), tower.new(tower.tokens)).all(1).any()


def test_items_without_fields_have_their_ids():
    schema = Schema((), (), ("view",))
    tower = ItemTower(schema, torch.zeros(4, 1, dtype=torch.int64), 8, 0.0).eval()
    assert tower.all().shape == (4, 9)
    assert tower.new(torch.zeros(2, 1, dtype=torch.int64)).isfinite().all()


def test_tokens_fit_the_schema_that_the_tests_use():
    assert item_tokens().shape == (ITEMS, sum(field.width for field in SCHEMA.item_fields))


def mixed(share: float, graph: np.ndarray, **changes) -> ItemTower:
    """The tower of these tests with its items in a graph."""
    torch.manual_seed(0)
    tower = ItemTower(
        SCHEMA,
        torch.from_numpy(item_tokens()),
        8,
        0.0,
        graph=scipy.sparse.csr_matrix(graph.astype(np.float32)),
        graph_share=share,
        **changes,
    ).eval()
    tower.id_bias.weight.data.normal_()
    return tower.requires_grad_(False)


def chain() -> np.ndarray:
    """Item i goes to i + 1 and, a third as often, to i + 2; the last ten have no neighbours."""
    graph = np.zeros((ITEMS, ITEMS))
    for row in range(ITEMS - 10):
        graph[row, row + 1], graph[row, row + 2] = 0.75, 0.25
    return graph


def test_an_id_is_mixed_with_its_neighbours_and_one_without_any_keeps_itself():
    tower, graph = mixed(0.4, chain()), torch.from_numpy(chain()).float()
    own, found = tower.id.weight, tower.identities()
    torch.testing.assert_close(found[:-10], (0.6 * own + 0.4 * graph @ own)[:-10])
    torch.testing.assert_close(found[-10:], own[-10:])
    assert not torch.allclose(found[:-10], own[:-10])


def test_a_share_of_nothing_is_no_graph():
    torch.testing.assert_close(mixed(0.0, chain()).identities(), mixed(0.0, chain()).id.weight)


def test_gradients_reach_the_neighbours_through_the_graph():
    tower = mixed(0.4, chain())
    tower.id.weight.requires_grad_()
    tower.identities()[0].sum().backward()
    moved = tower.id.weight.grad[:, 0].tolist()
    assert moved[:4] == pytest.approx([0.6, 0.4 * 0.75, 0.4 * 0.25, 0])


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_settling_keeps_known_items_and_leaves_others_their_content(share):
    tower = mixed(share, chain())
    known = torch.arange(ITEMS) % 3 > 0
    before, new = tower.all(), tower.new(tower.tokens)
    tower.settle(known)
    after = tower.all()
    torch.testing.assert_close(after[known], before[known])
    torch.testing.assert_close(after[~known], new[~known])
    assert not torch.isclose(after[known], new[known]).all(1).any()
    tower.settle(known)
    torch.testing.assert_close(tower.all(), after)


def test_a_settled_tower_is_its_weights_alone():
    """What a bundle stores must not need the graph."""
    tower = mixed(0.4, chain())
    tower.settle(torch.ones(ITEMS, dtype=torch.bool))
    plain = ItemTower(SCHEMA, torch.from_numpy(item_tokens()), 8, 0.0).eval()
    plain.load_state_dict(tower.state_dict())
    torch.testing.assert_close(plain.all(), tower.all())


def test_a_free_length_is_the_sums_own():
    tower = small_networks().items
    unit = tower.all()[:, :-1]
    tower.unit_length = False
    free = tower.all()[:, :-1]
    torch.testing.assert_close(torch.nn.functional.normalize(free, dim=1), unit)
    assert free.norm(dim=1).std() > 0.1
    tower.id.weight.mul_(2)
    tower.content.weight.mul_(2)
    torch.testing.assert_close(tower.all()[:, :-1], 2 * free)


def test_an_untrained_tower_of_free_length_starts_at_about_one():
    tower = ItemTower(SCHEMA, torch.from_numpy(item_tokens()), 64, 0.0, unit_length=False)
    assert 0.8 < tower.all()[:, :-1].norm(dim=1).mean() < 1.4


def test_a_view_reads_the_fields_that_it_keeps_and_no_other(tower):
    tokens, other = tower.tokens[1:2].clone(), tower.tokens[1:2].clone()
    title, year = slice(0, 4), 6
    keep = torch.tensor([1.0, 1.0, 0.0])
    assert tokens[0, year] > 0
    other[0, year] = 0
    torch.testing.assert_close(tower.view(tokens, keep), tower.view(other, keep))
    other[0, title] = 0
    assert not torch.allclose(tower.view(tokens, keep), tower.view(other, keep))
    torch.testing.assert_close(tower.view(tokens, keep).norm(dim=1), torch.ones(1))


def test_a_view_of_nothing_is_zero_and_has_a_finite_gradient(tower):
    assert tower.view(tower.tokens, torch.zeros(3)).abs().sum() == 0
    tower.content.weight.requires_grad_()
    tower.view(tower.tokens[:2], torch.ones(3)).sum().backward()
    assert tower.tokens[0].sum() == 0
    assert tower.content.weight.grad.isfinite().all()


def test_a_tower_that_starts_from_another_of_its_dimension_is_its_copy(tower):
    other = ItemTower(SCHEMA, torch.from_numpy(item_tokens()), tower.dim, 0.1).eval()
    other.start_from(tower)
    torch.testing.assert_close(other.all(), tower.all())


def test_a_narrower_tower_starts_with_the_inner_products_of_the_wider_one():
    """Vectors that lie in a plane keep them in two dimensions, however the plane lies in the wider space."""
    wide, narrow = (ItemTower(SCHEMA, torch.from_numpy(item_tokens()), dim, 0.1).eval() for dim in (8, 2))
    plane, _ = torch.linalg.qr(torch.randn(8, 2))
    with torch.no_grad():
        wide.id.weight.copy_(torch.randn(ITEMS, 2) @ plane.T)
        wide.content.weight.copy_(torch.randn(len(wide.content.weight), 2) @ plane.T)
        wide.content_bias.weight.copy_(torch.randn(1, 2) @ plane.T)
        wide.id_bias.weight.normal_()
    narrow.start_from(wide)
    found, expected = narrow.all(), wide.all()
    torch.testing.assert_close(found[:, :-1] @ found[:, :-1].T, expected[:, :-1] @ expected[:, :-1].T)
    torch.testing.assert_close(found[:, -1], expected[:, -1])
    torch.testing.assert_close(narrow.new(narrow.tokens)[:, -1], wide.new(wide.tokens)[:, -1])


def test_a_wider_tower_starts_with_the_vectors_of_the_narrower_one(tower):
    wide = ItemTower(SCHEMA, torch.from_numpy(item_tokens()), 16, 0.1).eval()
    wide.start_from(tower)
    torch.testing.assert_close(wide.all()[:, : tower.dim], tower.all()[:, :-1])
