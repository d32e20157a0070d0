from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models import artifacts
from models.artifacts import StringColumn
from models.training import run_folder
from models.training.features import Features
from models.training.run_folder import RunError, read_run, write_run
from ranking.calibration import calibrator_from_json
from retrieval.index import open_index
from tests.support.trained import CONFIG, TrainedWorld


def test_what_was_written_reads_back(trained_world: TrainedWorld):
    trained = trained_world.trained
    run = read_run(trained_world.run)
    assert run.config == CONFIG
    assert run.schema == trained.schema
    assert run.about["dataset"]["fingerprint"] == trained_world.dataset.fingerprint
    assert run.about["metrics"] == json.loads(json.dumps(trained.metrics))
    stages = {"towers", "preranker", "query", "retrieval", "ranker", "calibration", "complements"}
    stages |= {"distillation"}
    assert set(run.about["seconds"]) == stages
    np.testing.assert_array_equal(
        np.load(trained_world.run / artifacts.COMPLEMENT_OUT), trained.complements.outward
    )


def test_every_network_answers_as_it_was_trained(trained_world: TrainedWorld):
    trained, networks = trained_world.trained, read_run(trained_world.run).networks
    pairs = [
        (networks.items, trained.encoders.towers.items),
        (networks.prerank_items, trained.encoders.preranker.items),
        (networks.rank_items, trained.ranker.items),
        (networks.users, trained.encoders.towers.users),
        (networks.preranker, trained.encoders.preranker.users),
        (networks.ranker, trained.ranker.ranker),
    ]
    for loaded, original in pairs:
        assert not loaded.training
        for (name, value), expected in zip(
            loaded.state_dict().items(), original.state_dict().values(), strict=True
        ):
            assert torch.equal(value, expected), name
    with torch.no_grad():
        assert torch.equal(networks.items.all(), trained.encoders.towers.items.all())


def test_the_tables_are_the_trained_ones(trained_world: TrainedWorld):
    trained, folder, dataset = trained_world.trained, trained_world.run, trained_world.dataset
    expected = {
        artifacts.ITEM_VECTORS: trained.encoders.space.vectors,
        artifacts.PRERANK_VECTORS: artifacts.half(trained.encoders.preranker.item_vectors()),
        artifacts.RANK_VECTORS: artifacts.half(trained.ranker.item_vectors()),
        artifacts.POPULARITY: trained.tables.popularity,
        artifacts.CENTROIDS: trained.encoders.space.clusters.centroids,
        artifacts.ASSIGNMENT: trained.encoders.space.clusters.assignment,
        artifacts.NEIGHBOUR_ROWS: trained.tables.neighbours.rows,
        artifacts.NEIGHBOUR_SCORES: trained.tables.neighbours.scores,
        artifacts.SNAPSHOT_VECTORS: trained.snapshot.vectors,
        artifacts.SNAPSHOT_CENTROIDS: trained.snapshot.centroids,
        artifacts.ITEM_TOKENS: Features.of(dataset, trained.schema).items,
        artifacts.ITEM_CREATED: dataset.item_created_ms,
        artifacts.ITEM_AVAILABLE: dataset.item_available,
    }
    for name, table in expected.items():
        np.testing.assert_array_equal(np.load(folder / name), table, err_msg=name)
    assert StringColumn.open(folder, artifacts.ITEM_IDS).tolist() == dataset.item_ids
    records = StringColumn.open(folder, artifacts.ITEM_RECORDS).tolist()
    assert [json.loads(record) for record in records] == dataset.item_records
    assert open_index(folder / artifacts.INDEX).size == dataset.items
    plan = json.loads((folder / artifacts.SERVING).read_bytes())["plan"]
    assert plan == json.loads(json.dumps(trained.plan.to_json()))
    calibrator = calibrator_from_json(json.loads((folder / artifacts.CALIBRATOR).read_bytes()))
    assert calibrator(np.array([0.5])) == trained.calibrator(np.array([0.5]))


def test_nothing_is_pickled(trained_world: TrainedWorld):
    suffixes = {path.suffix for path in trained_world.run.iterdir()}
    assert suffixes == {".npy", ".npz", ".json", ".safetensors", ".faiss"}
    for path in trained_world.run.glob("*.npy"):
        np.load(path, allow_pickle=False)


def test_a_run_is_not_written_over_another(trained_world: TrainedWorld):
    with pytest.raises(FileExistsError, match="exists already"):
        write_run(trained_world.run, trained_world.trained)


@pytest.mark.parametrize("step", ["write_strings", "_write_tables", "write_json"])
def test_a_full_disk_leaves_nothing(
    trained_world: TrainedWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_run(tmp_path / "run", trained_world.trained)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["run.json", "schema.json", "item_tokens.npy", "ranker.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
def test_what_is_missing_or_broken_is_one_sentence(
    trained_world: TrainedWorld, tmp_path: Path, name: str, content: bytes | None
):
    folder = tmp_path / "run"
    shutil.copytree(trained_world.run, folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(RunError, match="not a finished training run of this version") as caught:
        read_run(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    assert "\n" not in str(caught.value)


def test_networks_of_another_size_are_refused(trained_world: TrainedWorld, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(trained_world.run, folder)
    about = json.loads((folder / "run.json").read_bytes())
    about["config"]["ranker"]["experts"] = 5
    (folder / "run.json").write_text(json.dumps(about))
    with pytest.raises(RunError, match="size mismatch"):
        read_run(folder)
