from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import artifacts
from models.artifacts import BundleError, read_manifest, verify
from models.export import bundle as export
from models.export.bundle import ParityError, check_parity, write_bundle
from models.export.command import main
from models.export.eight_bit_ranker import ROUNDED
from models.export.translate import Exported
from models.graph import Graph
from models.indexing.command import main as index_command
from models.indexing.source import IndexSource
from models.training.run_folder import Run, read_run
from retrieval.index_card import IndexCard, MissedRecall
from service.bundle import Bundle
from service.bundles import list_bundles
from tests.support.trained import TrainedWorld

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
GRAPHS = (
    artifacts.USER_TOWER,
    artifacts.PRERANKER,
    artifacts.RANKER,
    artifacts.RANKER_EXPLAIN,
    artifacts.ITEM_TOWERS,
)


@pytest.fixture(scope="module")
def run(trained_world: TrainedWorld) -> Run:
    return read_run(trained_world.run)


@pytest.fixture(scope="module")
def graphs(trained_world: TrainedWorld) -> list[Exported]:
    """What the exporter gave when the bundle was written."""
    with np.load(trained_world.bundle / artifacts.PARITY) as archive:
        recorded = dict(archive)
    found = []
    for name in GRAPHS:
        content = (trained_world.bundle / name).read_bytes()
        graph, stem = Graph.open(content), Path(name).stem
        inputs = {key: recorded[f"{stem}/{key}"] for key in graph.inputs}
        outputs = {key: recorded[f"{stem}/{key}"] for key in graph.outputs}
        found.append(Exported(stem, content, inputs, outputs))
    return found


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch, graphs: list[Exported]) -> Any:
    """Let `write_bundle` find these graphs instead of translating the networks again."""

    def use(exported: Sequence[Exported] = graphs) -> None:
        monkeypatch.setattr(export, "export_graphs", lambda *_: list(exported))

    use()
    return use


def tampered(graphs: list[Exported], tensor: str, change: Any) -> list[Exported]:
    name, output = tensor.split("/")
    return [
        replace(each, outputs={**each.outputs, output: change(each.outputs[output])})
        if each.name == name
        else each
        for each in graphs
    ]


def everything(folder: Path) -> list[Path]:
    return list(folder.rglob("*")) if folder.exists() else []


class TestWhatIsWritten:
    def test_a_bundle_that_serving_opens(self, run, exporter, tmp_path):
        folder = write_bundle(run, tmp_path, NOW)
        assert folder.name.startswith("20240506T070809Z-")
        assert Bundle.open(folder).version == folder.name
        assert [each.folder for each in list_bundles(tmp_path)] == [folder]

    def test_the_manifest_says_what_it_is_made_of(self, run, exporter, tmp_path, trained_world):
        folder = write_bundle(run, tmp_path, NOW)
        manifest = verify(folder)
        dataset = trained_world.dataset
        assert manifest.version == folder.name == f"20240506T070809Z-{dataset.fingerprint[:8]}"
        assert manifest.created == "2024-05-06T07:08:09+00:00"
        assert manifest.dataset["fingerprint"] == dataset.fingerprint
        assert manifest.dataset["items"] == dataset.items
        assert manifest.schema_hash == run.schema.hash
        assert manifest.metrics["validation"] == run.about["metrics"]["validation"]
        assert manifest.training["config"]["seed"] == run.config.seed
        assert {"cascada", "torch", "onnxruntime", "faiss-cpu", "numpy"} <= set(manifest.software)

    def test_every_file_is_listed_and_none_is_of_training_alone(self, run, exporter, tmp_path):
        folder = write_bundle(run, tmp_path, NOW)
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert names == {*read_manifest(folder).files, artifacts.MANIFEST}
        assert not [name for name in names if name.endswith((".safetensors", ".pt", ".pkl"))]
        assert "run.json" not in names

    def test_the_ranker_is_in_8_bits_unless_the_configuration_says_no(
        self, run, graphs, tmp_path, monkeypatch, trained_world
    ):
        with np.load(trained_world.bundle / artifacts.PARITY) as archive:
            assert archive["ranker/tolerance"] == ROUNDED
        given = []
        monkeypatch.setattr(export, "export_graphs", lambda *asked: given.append(asked[-1]) or list(graphs))
        ranker = run.config.ranker.model_copy(update={"eight_bits": False})
        single = replace(run, config=run.config.model_copy(update={"ranker": ranker}))
        write_bundle(run, tmp_path / "8 bits", NOW)
        write_bundle(single, tmp_path / "single", NOW)
        assert run.ranges is not None
        assert given == [run.ranges, None]

    def test_an_empty_history_is_among_the_recorded_ones(self, graphs):
        for each in graphs[:2]:
            assert not each.inputs["mask"][0].any()
            assert each.inputs["mask"][-1].all()

    def test_the_words_of_lexical_search_are_the_attributes_but_the_title(self):
        record = {"title": "No", "genres": ["Drama", "War"], "year": 1999}
        assert export.words(record) == "Drama War 1999"


class TestRefusal:
    @pytest.mark.parametrize(
        "tensor",
        [
            *("user_tower/user", "preranker/interests", "ranker/logit"),
            *("item_towers/item", "item_towers/prerank", "item_towers/rank"),
        ],
    )
    def test_a_graph_that_differs_from_torch_is_refused_by_tensor(
        self, run, graphs, exporter, tmp_path, tensor
    ):
        exporter(tampered(graphs, tensor, lambda value: value * 1.001))
        with pytest.raises(
            ParityError, match=rf"{tensor}: ONNX differs from torch by 0\.001 relative; 0\.0001"
        ):
            write_bundle(run, tmp_path / "bundles", NOW)
        assert everything(tmp_path) == []

    @pytest.mark.parametrize("poison", [np.nan, np.inf])
    def test_an_answer_that_is_not_finite_is_refused(self, graphs, poison):
        for each in tampered(graphs, "ranker/logit", lambda value: value * poison)[2:3]:
            with pytest.raises(ParityError, match="ranker/logit"):
                check_parity(each)

    def test_a_rounding_difference_is_allowed(self, graphs):
        for each in tampered(graphs, "ranker/logit", lambda value: value * (1 + 1e-6)):
            check_parity(each)


@pytest.fixture
def poor_run(trained_world: TrainedWorld, tmp_path: Path) -> Path:
    """The run with an index that reads one of twenty cells and promises much."""
    folder = tmp_path / "run"
    shutil.copytree(trained_world.run, folder)
    settings = ["--kind", "ivf", "--lists", "20", "--probes", "1", "--k", "5", "--recall", "0.9"]
    assert index_command(["build", str(folder), *settings]) == 0
    return folder


class TestIndex:
    def test_an_index_that_misses_its_recall_is_refused_with_both_and_the_remedy(
        self, poor_run, exporter, tmp_path, capsys
    ):
        capsys.readouterr()
        assert main([str(poor_run), "--out", str(tmp_path / "bundles")]) == 2
        error = capsys.readouterr().err
        assert re.fullmatch(
            rf"cascada export: {poor_run}: the index finds 0\.\d+ of the exact best 5 and states 0\.9: "
            rf"run cascada index tune {poor_run} --recall 0\.9\n",
            error,
        )
        assert everything(tmp_path / "bundles") == []

    def test_the_remedy_helps(self, poor_run, exporter, tmp_path):
        assert index_command(["tune", str(poor_run), "--k", "5", "--recall", "0.9", "--kinds", "ivf"]) == 0
        folder = write_bundle(read_run(poor_run), tmp_path / "bundles", NOW)
        bundle = Bundle.open(folder)
        assert bundle.manifest.metrics["index"] == bundle.index_card.metrics()
        assert bundle.index_card.recall.measured >= 0.9
        assert {artifacts.INDEX_CARD, artifacts.INDEX_PLOT} <= set(bundle.manifest.files)

    def test_what_a_card_claims_is_measured_again(self, poor_run, exporter, tmp_path):
        card = IndexCard.read(poor_run)
        card.with_recall(replace(card.recall, measured=1.0)).write(poor_run)
        with pytest.raises(MissedRecall, match="states 0.9"):
            write_bundle(read_run(poor_run), tmp_path / "bundles", NOW)

    def test_an_index_of_other_vectors_is_refused(self, trained_world, poor_run, exporter, tmp_path):
        vectors = np.load(poor_run / artifacts.ITEM_VECTORS)
        np.save(poor_run / artifacts.ITEM_VECTORS, vectors[:, :-1])
        width = vectors.shape[1]
        with pytest.raises(BundleError, match=rf"dim is {width - 1}, index\.json says {width}"):
            IndexSource.open(poor_run).judged()


class TestTrouble:
    def test_nothing_is_visible_before_the_end(self, run, exporter, tmp_path, monkeypatch):
        seen = []
        write_manifest = export.write_manifest

        def look(folder: Path, manifest: Any) -> None:
            seen.append((folder.name.startswith("."), list_bundles(tmp_path)))
            write_manifest(folder, manifest)
            seen.append((folder.name.startswith("."), list_bundles(tmp_path)))

        monkeypatch.setattr(export, "write_manifest", look)
        folder = write_bundle(run, tmp_path, NOW)
        assert seen == [(True, []), (True, [])]
        assert [each.folder for each in list_bundles(tmp_path)] == [folder]

    @pytest.mark.parametrize(
        ("where", "step"),
        [
            (shutil, "copyfile"),
            (export, "write_bytes"),
            (np, "savez"),
            (export, "build_lexical"),
            (export, "list_files"),
            (export, "write_manifest"),
            (Path, "rename"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_full_disk_leaves_nothing(
        self, run, trained_world, exporter, tmp_path, monkeypatch, capsys, where, step
    ):
        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(where, step, full)
        assert main([str(trained_world.run), "--out", str(tmp_path / "bundles")]) == 2
        assert capsys.readouterr().err == "cascada export: [Errno 28] No space left on device\n"
        assert [path for path in everything(tmp_path) if path.name != "bundles"] == []

    def test_an_interrupt_leaves_nothing(self, run, exporter, tmp_path, monkeypatch):
        def interrupted(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(export, "build_lexical", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_bundle(run, tmp_path, NOW)
        assert everything(tmp_path) == []

    def test_the_same_version_is_not_written_twice(self, run, exporter, tmp_path):
        folder = write_bundle(run, tmp_path, NOW)
        before = artifacts.list_files(folder)
        with pytest.raises(FileExistsError, match="exists already"):
            write_bundle(run, tmp_path, NOW)
        assert artifacts.list_files(folder) == before
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]


class TestCommand:
    def test_it_says_where_the_bundle_is(self, trained_world, exporter, tmp_path, capsys):
        assert main([str(trained_world.run), "--out", str(tmp_path)]) == 0
        (folder,) = tmp_path.iterdir()
        assert capsys.readouterr().out == f"wrote bundle {folder.name} to {folder}\n"

    def test_what_is_no_run_is_one_line(self, tmp_path, capsys):
        assert main([str(tmp_path), "--out", str(tmp_path / "bundles")]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"cascada export: {tmp_path}: not a finished training run")
        assert error.count("\n") == 1

    def test_a_graph_that_cannot_be_trusted_is_one_line(
        self, trained_world, graphs, exporter, tmp_path, capsys
    ):
        exporter(tampered(graphs, "preranker/interests", lambda value: value + 1))
        assert main([str(trained_world.run), "--out", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("cascada export: preranker/interests: ONNX differs from torch")
        assert error.count("\n") == 1


def test_a_run_of_another_configuration_is_one_line(trained_world, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(trained_world.run, folder)
    about = json.loads((folder / "run.json").read_bytes())
    about["config"]["tower"]["dim"] = 32
    (folder / "run.json").write_text(json.dumps(about))
    assert main([str(folder), "--out", str(tmp_path / "bundles")]) == 2
    error = capsys.readouterr().err
    assert "size mismatch" in error
    assert error.count("\n") == 1
