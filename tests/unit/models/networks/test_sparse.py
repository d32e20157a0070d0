import numpy as np
import pytest
import scipy.sparse
import torch

from models.networks.item_tower import ItemTower
from models.networks.sparse import SparseMatrix, token_bags
from models.schema import Field, FieldKind, Schema
from tests.support.networks import ITEMS, SCHEMA, item_tokens, small_networks


def drawn(rows: int = 7, columns: int = 5, seed: int = 0) -> scipy.sparse.csr_matrix:
    """About a third of the cells; row 2 and column 3 are empty."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.4)
    dense[2], dense[:, 3] = 0, 0
    return scipy.sparse.csr_matrix(dense.astype(np.float32))


def test_the_product_is_the_dense_one():
    matrix, table = drawn(), torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    product = SparseMatrix(matrix) @ table
    torch.testing.assert_close(product, torch.from_numpy(matrix.toarray()) @ table)
    assert product[2].tolist() == [0, 0, 0]
    assert SparseMatrix(matrix).shape == (7, 5)


@pytest.mark.parametrize("transposed", [False, True], ids=["whole", "a gradient that is not contiguous"])
def test_the_gradient_is_that_of_the_dense_product(transposed):
    matrix = drawn()
    outer = torch.randn(3, 7, generator=torch.Generator().manual_seed(2)).T
    outer = outer if transposed else outer.contiguous()
    gradients = []
    for product in (lambda table: SparseMatrix(matrix) @ table, torch.from_numpy(matrix.toarray()).matmul):
        table = torch.ones(5, 3, requires_grad=True)
        product(table).backward(outer)
        gradients.append(table.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0][3].tolist() == [0, 0, 0]


def test_product_and_gradient_repeat_bit_for_bit():
    matrix = scipy.sparse.random(500, 300, 0.05, format="csr", random_state=0, dtype=np.float32)
    start = torch.randn(300, 16, generator=torch.Generator().manual_seed(3))

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        table = start.clone().requires_grad_()
        product = SparseMatrix(matrix) @ table
        product.square().sum().backward()
        return product.detach(), table.grad

    for one, other in zip(run(), run(), strict=True):
        assert torch.equal(one, other)


def test_the_bags_of_all_items_say_what_the_tokens_of_each_say():
    tower = small_networks().items
    tower.unit_length = False
    tower.id.weight.zero_()
    tower.id_bias.weight.zero_()
    assert (item_tokens()[0] == 0).all()
    torch.testing.assert_close(tower.all(), tower.new(tower.tokens))


def test_a_bag_is_the_mean_over_each_field_summed_over_fields():
    tokens = np.array([[1, 2, 0, 5], [3, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 6]])
    bags = token_bags(tokens, [3, 1], 7).toarray()
    expected = np.zeros((4, 7), np.float32)
    expected[0, [1, 2, 5]] = 0.5, 0.5, 1
    expected[1, 3] = 1
    expected[3, [2, 6]] = 1
    np.testing.assert_array_equal(bags, expected)


def test_fields_of_one_column_and_items_without_fields():
    random = np.random.default_rng(0)
    fields = tuple(Field(name, FieldKind.CATEGORY, vocabulary=("x", "y", "z")) for name in "abc")
    offsets = np.cumsum([0] + [field.size for field in fields[:-1]])
    drawn_tokens = random.integers(0, fields[0].size, (ITEMS, 3))
    tokens = np.where(drawn_tokens > 0, drawn_tokens + offsets, 0)
    assert (tokens == 0).any()
    tower = ItemTower(Schema(fields, (), ("view",)), torch.from_numpy(tokens), 4, 0.0).eval()
    tower.id.weight.data.zero_()
    torch.testing.assert_close(tower.all(), tower.new(tower.tokens))

    bare = token_bags(np.zeros((5, 1), np.int64), [1], 1)
    assert bare.shape == (5, 1)
    assert bare.nnz == 0


def test_the_schema_of_these_tests_has_wide_and_narrow_fields():
    assert {field.width for field in SCHEMA.item_fields} >= {1, 2}
