"""Build and tune, on a tiny bundle and on the same files without a manifest, which is how a run looks."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from models import artifacts
from models.artifacts import list_files, verify
from models.indexing import place as placing
from models.indexing.command import main
from models.indexing.grid import builds, searches
from models.indexing.place import place
from models.indexing.plot import frontier
from models.indexing.source import IndexSource
from models.indexing.tuning import Tried, tune
from retrieval.exact import index_recall
from retrieval.index import KINDS, IndexSettings, open_index
from retrieval.index_card import IndexCard, MissedRecall, Recall
from service.bundle import Bundle
from service.bundles import list_bundles
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import DIM, ITEMS, USERS

NOW = datetime(2025, 1, 2, tzinfo=UTC)
K = 10


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "bundles")


@pytest.fixture
def run(bundle: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(bundle, folder)
    (folder / artifacts.MANIFEST).unlink()
    return folder


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


class TestQueries:
    def test_every_user_asks_with_their_own_vector_first_and_some_interests(self, run: Path) -> None:
        source = IndexSource.open(run)
        assert len(source.queries) == USERS
        for one, queries in zip(source.snapshot.vectors, source.queries, strict=True):
            np.testing.assert_array_equal(queries[0], one)
            assert 1 < len(queries) <= 1 + source.plan.interests
            lengths = np.linalg.norm(queries[:, :-1], axis=1)
            np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)

    def test_what_is_neither_run_nor_bundle_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(artifacts.BundleError, match="neither a training run nor a bundle"):
            IndexSource.open(tmp_path)


class TestGrid:
    def test_clusters_that_suit_are_tried_as_cells(self) -> None:
        assert 300 in [each.lists for each in builds("ivf", 100_000, 300)]
        assert 64 not in [each.lists for each in builds("ivf", 100_000, 64)]

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_has_settings_of_rising_thoroughness(self, kind: str) -> None:
        (first, *_) = builds(kind, 10_000, 100)
        for rising in searches(first):
            assert rising == sorted(rising, key=lambda one: (one.probes, one.breadth))
            assert len(set(rising)) == len(rising)
            assert {each.kind for each in rising} == {kind}

    def test_one_item_has_settings_too(self) -> None:
        for kind in KINDS:
            for plan in builds(kind, 1, 1):
                assert all(searches(plan))


class TestTuning:
    def test_the_cheapest_that_passes_is_chosen(self, run: Path, tmp_path: Path) -> None:
        source = IndexSource.open(run)
        found = tune(source, ["flat", "ivf", "hnsw"], Recall(0.9, k=K), tmp_path, seed=1)
        passing = [each for each in found.tried if each.passes(0.9)]
        assert found.chosen == min(passing, key=lambda each: each.micros)
        assert {each.settings.kind for each in found.tried} == {"flat", "ivf", "hnsw"}
        assert found.card.recall == Recall(
            0.9, round(found.chosen.held_out, 6), K, sum(map(len, source.queries))
        )
        assert len(found.card.curve) == len(found.tried)

    def test_the_recall_is_that_of_the_held_out_users(self, run: Path, tmp_path: Path) -> None:
        source = IndexSource.open(run)
        found = tune(source, ["ivf"], Recall(0.5, k=K), tmp_path, seed=1)
        opened = open_index(found.path, found.card.settings)
        by_user = [index_recall(opened, source.vectors, each, K) for each in source.queries]
        assert found.chosen.held_out == pytest.approx(np.mean(by_user[1::2]), abs=1e-6)
        assert found.chosen.recall == pytest.approx(np.mean(by_user[::2]), abs=1e-6)

    def test_a_poor_setting_shows_in_the_curve(self, run: Path, tmp_path: Path) -> None:
        found = tune(IndexSource.open(run), ["ivf"], Recall(0.9, k=K), tmp_path, seed=1)
        recalls = [each.held_out for each in found.tried]
        assert min(recalls) < 0.9 <= max(recalls)

    def test_what_is_more_thorough_than_needed_is_not_tried(self, run: Path, tmp_path: Path) -> None:
        source = IndexSource.open(run)
        (low,) = [tune(source, ["hnsw"], Recall(0.3, k=K), tmp_path, seed=1)]
        high = tune(source, ["hnsw"], Recall(0.95, k=K), tmp_path, seed=1)
        assert len(low.tried) <= len(high.tried) < 2 * 8

    def test_only_the_chosen_index_is_left(self, run: Path, tmp_path: Path) -> None:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        found = tune(IndexSource.open(run), ["flat", "ivf"], Recall(0.9, k=K), scratch, seed=1)
        assert list(scratch.iterdir()) == [found.path]

    def test_a_lucky_half_is_not_enough(self) -> None:
        def tried(recall: float, error: float, held_out: float) -> Tried:
            return Tried(IndexSettings("ivf"), 1.0, recall, error, held_out, 1.0)

        assert tried(0.96, 0.005, 0.955).passes(0.95)
        assert not tried(0.96, 0.005, 0.949).passes(0.95)
        assert not tried(0.952, 0.005, 0.96).passes(0.95)
        assert tried(1.0, 0.0, 1.0).passes(1.0)

    def test_what_no_index_reaches_is_refused_with_the_best(self, run: Path, tmp_path: Path) -> None:
        with pytest.raises(
            MissedRecall, match=r"no index of sq8 finds 1 of the exact best 10; the best is sq8"
        ):
            tune(IndexSource.open(run), ["sq8"], Recall(1.0, k=K), tmp_path, seed=1)


class TestPlace:
    def test_a_run_is_changed_in_place(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["tune", str(run), "--k", str(K), "--kinds", "flat,ivf"]) == 0
        card = IndexCard.read(run)
        assert card.kind in ("flat", "ivf")
        assert card.recall.k == K
        assert (card.recall.measured or 0) >= 0.95
        assert card.curve
        assert (run / artifacts.INDEX_PLOT).read_bytes().startswith(b"\x89PNG")
        assert f"to {run}" in capsys.readouterr().out
        assert IndexSource.open(run).judged().recall.stated == 0.95
        assert hidden(run) == hidden(run.parent) == []

    def test_a_bundle_gets_a_successor_and_stays_as_it_was(self, bundle: Path) -> None:
        before = list_files(bundle)
        arguments = [str(bundle), "--k", str(K), "--kinds", "ivf", "--recall", "0.9"]
        assert main(["tune", *arguments]) == 0
        assert main(["build", str(bundle), "--kind", "hnsw", "--k", str(K)]) == 0
        assert list_files(bundle) == before
        tuned, built = bundle.parent / "tiny-1-index1", bundle.parent / "tiny-1-index2"
        assert Bundle.open(tuned).index.kind == "ivf"
        assert Bundle.open(built).index.kind == "hnsw"
        manifest = verify(tuned)
        assert manifest.version == tuned.name
        assert manifest.metrics["index"] == IndexCard.read(tuned).metrics()
        assert artifacts.INDEX_PLOT in manifest.files
        assert artifacts.INDEX_PLOT not in verify(built).files
        assert next(each.folder for each in list_bundles(bundle.parent)) == built
        assert hidden(bundle.parent) == []

    def test_the_successor_of_a_successor_has_one_suffix(self, bundle: Path) -> None:
        assert main(["build", str(bundle)]) == 0
        assert main(["build", str(bundle.parent / "tiny-1-index1")]) == 0
        names = sorted(path.name for path in bundle.parent.iterdir())
        assert names == ["tiny-1", "tiny-1-index1", "tiny-1-index2"]

    def test_a_stale_plot_goes_with_its_index(self, run: Path) -> None:
        (run / artifacts.INDEX_PLOT).write_bytes(b"old")
        assert main(["build", str(run)]) == 0
        assert not (run / artifacts.INDEX_PLOT).exists()

    def test_stopped_half_way_a_run_has_no_card_and_is_not_exported(
        self, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(placing, "write_bytes", full)
        assert main(["tune", str(run), "--k", str(K), "--kinds", "flat"]) == 2
        assert "No space left" in capsys.readouterr().err
        with pytest.raises(artifacts.BundleError, match=r"index\.json: missing"):
            IndexSource.open(run).judged()
        assert hidden(run.parent) == []

    def test_a_bundle_that_was_changed_has_no_successor(
        self, bundle: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (bundle / artifacts.CALIBRATOR).write_text("{}")
        assert main(["build", str(bundle)]) == 2
        assert "calibrator.json: sha256" in capsys.readouterr().err
        assert list(bundle.parent.iterdir()) == [bundle]

    def test_an_index_that_misses_its_recall_makes_no_bundle(
        self, bundle: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        poor = ["--kind", "ivf", "--lists", "20", "--probes", "1", "--k", "5"]
        assert main(["build", str(bundle), *poor]) == 2
        assert "cascada index tune" in capsys.readouterr().err
        assert list(bundle.parent.iterdir()) == [bundle]

    def test_place_needs_no_users(self, run: Path, tmp_path: Path) -> None:
        for name in ("VECTORS", "CLUSTERS", "WEIGHTS", "CENTROIDS"):
            file = run / getattr(artifacts, f"SNAPSHOT_{name}")
            np.save(file, np.load(file)[:0])
        source = IndexSource.open(run)
        index = source.build(IndexSettings("flat"), 0)
        index.save(tmp_path / "x")
        recall = source.measure(index, Recall(0.95))
        assert recall.measured is None
        card = IndexCard.of(index, IndexSettings("flat"), recall, source.schema_hash)
        assert place(source, tmp_path / "x", card, None, NOW) == run


class TestCommand:
    @pytest.mark.parametrize("kind", ["auto", *KINDS])
    def test_build_says_what_it_built(self, run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["build", str(run), "--kind", kind, "--k", str(K)]) == 0
        built = "flat" if kind == "auto" else kind
        assert f"built {built} of {ITEMS} vectors; recall@10 " in capsys.readouterr().out
        assert open_index(run / artifacts.INDEX).kind == built
        assert open_index(run / artifacts.INDEX).dim == DIM + 1

    def test_build_says_when_the_export_will_refuse(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        poor = ["--kind", "ivf", "--lists", "20", "--probes", "1", "--k", "5"]
        assert main(["build", str(run), *poor]) == 0
        assert f"refuse it: run cascada index tune {run}" in capsys.readouterr().out

    def test_a_vector_that_is_not_finite_is_named_by_its_item(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        vectors = np.load(run / artifacts.ITEM_VECTORS)
        vectors[17, 2] = np.nan
        np.save(run / artifacts.ITEM_VECTORS, vectors)
        before = (run / artifacts.INDEX).read_bytes()
        for verb in ("build", "tune"):
            assert main([verb, str(run)]) == 2
            error = capsys.readouterr().err
            assert "item 'item-17' (row 17)" in error
            assert error.count("\n") == 1
        assert (run / artifacts.INDEX).read_bytes() == before

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--recall", "0"], "not above 0"),
            (["--recall", "1.5"], "up to 1"),
            (["--k", "0"], "not positive"),
            (["--kinds", "flat,tree"], "unknown kind 'tree'"),
        ],
    )
    def test_what_cannot_be_is_refused_by_its_option(
        self, run: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            main(["tune", str(run), *arguments])
        assert words in capsys.readouterr().err

    def test_nothing_to_index(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["build", str(tmp_path)]) == 2
        assert capsys.readouterr().err.startswith(f"cascada index: {tmp_path}: neither")

    def test_the_card_is_plain_json(self, run: Path) -> None:
        assert main(["tune", str(run), "--k", str(K), "--kinds", "hnsw"]) == 0
        raw = json.loads((run / artifacts.INDEX_CARD).read_bytes())
        assert set(raw["curve"][0]) >= {"kind", "links", "breadth", "micros", "recall", "held_out"}


def test_the_line_of_the_plot_is_what_nothing_beats() -> None:
    def at(micros: float, held_out: float) -> Tried:
        return Tried(IndexSettings("ivf"), micros, held_out, 0.0, held_out, 1.0)

    tried = [at(3, 0.9), at(1, 0.5), at(2, 0.4), at(3, 0.8), at(5, 0.95), at(6, 0.95)]
    assert [(each.micros, each.held_out) for each in frontier(tried)] == [(1, 0.5), (3, 0.9), (5, 0.95)]
