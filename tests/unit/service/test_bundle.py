from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from models import artifacts
from models.artifacts import BundleError, write_json
from retrieval.exact import index_recall
from retrieval.faiss_index import FaissIndex
from retrieval.index import IndexSettings, VectorIndex, build_index
from retrieval.index_card import IndexCard, Recall
from service.bundle import Bundle
from tests.support import tiny_graphs
from tests.support.tiny_bundle import PLAN, reseal, write_tiny_bundle
from tests.support.tiny_world import DIM, ITEMS, SCHEMA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path)


def rewrite(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    raw = json.loads((folder / name).read_bytes())
    write_json(folder / name, change(raw))


def test_a_whole_bundle_opens(folder: Path) -> None:
    bundle = Bundle.open(folder)

    assert bundle.version == "tiny-1"
    assert bundle.schema == SCHEMA
    assert bundle.plan == PLAN
    assert bundle.item_vectors.shape == (ITEMS, DIM + 1)
    assert len(bundle.item_ids) == ITEMS


def test_large_arrays_are_mapped_not_read(folder: Path) -> None:
    bundle = Bundle.open(folder)

    for array in (bundle.item_vectors, bundle.popularity, bundle.neighbours.rows, bundle.snapshot.vectors):
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable


def test_a_flipped_bit_is_found(folder: Path) -> None:
    path = folder / artifacts.ITEM_VECTORS
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)

    with pytest.raises(BundleError, match=r"item_vectors.npy: sha256 is [0-9a-f]{64}.*says [0-9a-f]{64}"):
        Bundle.open(folder)


def test_a_file_cut_short_is_found(folder: Path) -> None:
    path = folder / artifacts.INDEX
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(BundleError, match=r"index\.faiss"):
        Bundle.open(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / artifacts.RANKER).unlink()

    with pytest.raises(BundleError, match=r"ranker\.onnx: missing"):
        Bundle.open(folder)


def test_a_file_that_nothing_vouches_for_is_refused(folder: Path) -> None:
    (folder / "more.npy").write_bytes(b"?")

    with pytest.raises(BundleError, match=r"more\.npy"):
        Bundle.open(folder)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        Bundle.open(tmp_path)


def test_another_schema_than_the_manifests_is_refused(folder: Path) -> None:
    rewrite(folder, artifacts.SCHEMA, lambda raw: {**raw, "history_length": 21})
    reseal(folder)

    with pytest.raises(BundleError, match=r"schema\.json: schema hash"):
        Bundle.open(folder)


def test_a_schema_of_another_version_is_refused(folder: Path) -> None:
    rewrite(folder, artifacts.SCHEMA, lambda raw: {"fields": []})
    reseal(folder)

    with pytest.raises(BundleError, match=r"schema\.json: not a schema"):
        Bundle.open(folder)


def test_an_unknown_plan_key_is_refused(folder: Path) -> None:
    rewrite(folder, artifacts.SERVING, lambda raw: {"plan": {**raw["plan"], "magic": 1}})
    reseal(folder)

    with pytest.raises(BundleError, match=r"serving\.json.*magic"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    "name",
    [
        artifacts.ITEM_CREATED,
        artifacts.ITEM_AVAILABLE,
        artifacts.PRERANK_VECTORS,
        artifacts.RANK_VECTORS,
        artifacts.ASSIGNMENT,
        artifacts.NEIGHBOUR_ROWS,
    ],
)
def test_tables_of_other_items_are_refused(folder: Path, name: str) -> None:
    np.save(folder / name, np.load(folder / name)[:-1])
    reseal(folder)

    with pytest.raises(BundleError, match=f"{name}: {ITEMS - 1} items"):
        Bundle.open(folder)


@pytest.mark.parametrize("odd", [np.nan, -np.inf])
@pytest.mark.parametrize("name", [artifacts.PRERANK_VECTORS, artifacts.RANK_VECTORS])
def test_a_table_of_halves_that_are_no_numbers_is_refused(folder: Path, name: str, odd: float) -> None:
    table = np.load(folder / name)
    assert table.dtype == np.float16
    table[3, 1] = odd
    np.save(folder / name, table)
    reseal(folder)

    with pytest.raises(BundleError, match=f"{name}: a component is not finite"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    "tensor", ["user_tower/user", "preranker/interests", "ranker/logit", "item_towers/rank"]
)
def test_a_graph_that_answers_otherwise_is_refused_by_tensor(folder: Path, tensor: str) -> None:
    with np.load(folder / artifacts.PARITY) as archive:
        recorded = dict(archive)
    recorded[tensor] = recorded[tensor] * 1.01 + 0.01
    np.savez(folder / artifacts.PARITY, **recorded)
    reseal(folder)

    with pytest.raises(BundleError, match=f"parity.npz: {tensor} differs"):
        Bundle.open(folder)


def test_a_graph_without_recorded_answers_is_refused(folder: Path) -> None:
    with np.load(folder / artifacts.PARITY) as archive:
        recorded = {key: value for key, value in archive.items() if not key.startswith("ranker/")}
    np.savez(folder / artifacts.PARITY, **recorded)
    reseal(folder)

    with pytest.raises(BundleError, match="no recorded ranker/"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    "name",
    [artifacts.PARITY, artifacts.ITEM_VECTORS, artifacts.USER_TOWER, artifacts.INDEX, artifacts.CALIBRATOR],
)
def test_rubbish_with_the_right_hash_is_refused_by_file(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"rubbish")
    reseal(folder)

    with pytest.raises(BundleError, match=name):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("calibrator", "said"),
    [
        ('{"kind": "platt", "slope": -1, "intercept": 0}', "platt: slope -1.0 .*no rising curve"),
        ('{"kind": "isotonic", "logits": [0, 1], "odds": [0, NaN]}', "isotonic: .*no rising curve"),
        ('{"kind": "beta", "below": 1, "above": -0.5, "intercept": 0}', "beta: slopes 1.0, -0.5"),
        ('{"kind": "temperature", "temperature": Infinity}', "temperature: inf"),
        (
            '{"kind": "platt", "slope": 1, "intercept": 0, "placements": {"top": {"kind": "platt"}}}',
            "placements.top: platt",
        ),
    ],
)
def test_a_calibrator_that_does_not_rise_or_is_not_finite_is_refused_with_the_reason(
    folder: Path, calibrator: str, said: str
) -> None:
    (folder / artifacts.CALIBRATOR).write_text(calibrator)
    reseal(folder)

    with pytest.raises(BundleError, match=rf"calibrator\.json: .*{said}"):
        Bundle.open(folder)


def other_index(folder: Path, index: VectorIndex, **card: Any) -> None:
    """Put another index into the bundle, with a card of its own but for `card`, and seal it."""
    index.save(folder / artifacts.INDEX)
    own = IndexCard.of(index, IndexSettings(), Recall(0.95), SCHEMA.hash)
    replace(own, **card).write(folder)
    reseal(folder)


def flat(folder: Path, width: int = DIM + 1) -> VectorIndex:
    vectors = np.load(folder / artifacts.ITEM_VECTORS)
    return build_index(np.ascontiguousarray(vectors[:, :width]), IndexSettings("flat"), seed=0)


class TestIndex:
    def test_an_index_of_another_dimension_is_refused_with_both(self, folder: Path) -> None:
        other_index(folder, flat(folder, DIM))
        with pytest.raises(BundleError, match=rf"user_tower\.onnx: dim is {DIM + 1}, index\.json says {DIM}"):
            Bundle.open(folder)

    def test_a_tower_of_another_dimension_is_refused_with_both(self, folder: Path) -> None:
        tiny_graphs.write_user_tower(folder / artifacts.USER_TOWER, DIM + 3)
        reseal(folder)
        with pytest.raises(
            BundleError, match=rf"user_tower\.onnx: dim is {DIM + 4}, index\.json says {DIM + 1}"
        ):
            Bundle.open(folder)

    def test_a_card_that_is_not_the_indexs_is_refused_with_both(self, folder: Path) -> None:
        other_index(folder, flat(folder, DIM), dim=DIM + 1)
        with pytest.raises(BundleError, match=rf"index\.faiss: dim is {DIM}, index\.json says {DIM + 1}"):
            Bundle.open(folder)

    def test_another_metric_is_refused_with_both(self, folder: Path) -> None:
        by_distance = faiss.IndexFlatL2(DIM + 1)
        by_distance.add(np.load(folder / artifacts.ITEM_VECTORS))
        other_index(folder, FaissIndex(by_distance))
        with pytest.raises(BundleError, match=r"metric is inner_product, index\.json says FAISS metric 1"):
            Bundle.open(folder)
        other_index(folder, FaissIndex(by_distance), metric="inner_product")
        with pytest.raises(
            BundleError, match=r"index\.faiss: metric is FAISS metric 1, index\.json says inner_product"
        ):
            Bundle.open(folder)

    def test_another_schema_is_refused_with_both(self, folder: Path) -> None:
        other_index(folder, flat(folder), schema_hash="0123")
        with pytest.raises(
            BundleError, match=rf"manifest\.json: schema hash is {SCHEMA.hash}, index\.json says 0123"
        ):
            Bundle.open(folder)

    def test_another_kind_is_refused_with_both(self, folder: Path) -> None:
        other_index(folder, flat(folder), kind="hnsw")
        with pytest.raises(BundleError, match=r"index\.faiss: kind is flat, index\.json says hnsw"):
            Bundle.open(folder)

    def test_other_items_are_refused_with_both(self, folder: Path) -> None:
        other_index(folder, flat(folder), items=ITEMS + 1)
        with pytest.raises(BundleError, match=rf"items is {ITEMS}, index\.json says {ITEMS + 1}"):
            Bundle.open(folder)

    def test_the_card_says_how_the_index_is_searched(self, folder: Path) -> None:
        vectors = np.load(folder / artifacts.ITEM_VECTORS)
        index = build_index(vectors, IndexSettings("ivf", lists=20, probes=20), seed=0)
        found = []
        for probes in (1, 20):
            settings = IndexSettings("ivf", lists=20, probes=probes)
            other_index(folder, index, settings=settings)
            found.append(index_recall(Bundle.open(folder).index, vectors, vectors, 5))
        assert found[0] < 0.9 < found[1] == 1.0

    def test_without_a_card_the_remedy_is_named(self, folder: Path) -> None:
        (folder / artifacts.INDEX_CARD).unlink()
        reseal(folder)
        with pytest.raises(BundleError, match=rf"index\.json: missing; .*cascada index build {folder}"):
            Bundle.open(folder)


def test_the_interest_model_is_made_once_per_plan(folder: Path) -> None:
    bundle = Bundle.open(folder)

    assert bundle.interest_model(bundle.plan) is bundle.interest_model(bundle.plan)


def test_a_graph_with_other_ports_than_the_manifest_says_is_refused_with_both_lists(folder: Path) -> None:
    bundle = Bundle.open(folder)
    true = {
        name: {"inputs": list(graph.inputs), "outputs": list(graph.outputs)}
        for name, graph in bundle.graphs.items()
    }
    reseal(folder, graphs=true)
    Bundle.open(folder)

    wrong = true["ranker"] | {"inputs": ["candidates", "cross", "weather"]}
    reseal(folder, graphs=true | {"ranker": wrong})
    listed = ", ".join(sorted(true["ranker"]["inputs"]))
    with pytest.raises(
        BundleError, match=f"ranker.onnx: inputs are {listed}; .* says candidates, cross, weather"
    ):
        Bundle.open(folder)

    reseal(folder, graphs=true | {"ranker": true["ranker"] | {"outputs": ["probability"]}})
    with pytest.raises(BundleError, match=r"ranker.onnx: outputs are logit; the manifest says probability"):
        Bundle.open(folder)
