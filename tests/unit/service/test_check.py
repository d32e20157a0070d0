from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import artifacts
from models.artifacts import write_json
from retrieval.index import IndexSettings, build_index
from retrieval.index_card import Recall
from retrieval.snapshot import Snapshot
from service.bundle import Bundle
from service.check import main, recall
from tests.support.tiny_bundle import reseal, write_tiny_bundle
from tests.support.tiny_world import DIM, ITEMS, USERS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path)


def lines(text: str) -> dict[str, str]:
    """Values by name; a file by its own name."""
    named = {line[:16].strip(): line[17:] for line in text.splitlines() if line[:16].strip()}
    files = re.findall(r"^ {17}\s*(\S+ \S?B)  (\S+)$", text, re.MULTILINE)
    return named | {name: size for size, name in files}


def test_it_says_what_is_in_a_bundle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reseal(
        folder,
        dataset={"name": "tiny", "items": ITEMS},
        metrics={"validation": {"ndcg@10": 0.123456, "log_loss": {"platt": 0.5}}},
        software={"numpy": "2.0"},
    )
    assert main([str(folder)]) == 0

    said = lines(capsys.readouterr().out)
    assert said["version"] == "tiny-1"
    assert said["created"] == "2024-01-01T00:00:00Z"
    assert said["data set"] == f"items {ITEMS}, name tiny"
    assert said["items"] == f"{ITEMS}, {ITEMS - 1} of them available"
    assert said["events"] == "view, like; the newest 20 are read"
    assert said["placements"] == "default, home"
    assert "genres (set, 4 values, 3 at most)" in said["item fields"]
    assert said["user fields"] == "segment (category, 2 values)"
    shares = "shares factors 0.5, fresh 0.02, interests 0.6"
    assert said["widths"].startswith(f"60 candidates -> 30 ranked; {shares}")
    assert said["index"] == f"flat, {ITEMS} vectors of {DIM + 1}"
    assert said["clusters"] == f"4; {USERS} users in the snapshot"
    assert said["calibrator"] == "platt"
    assert said["ranker"].endswith("candidates, cross -> logit")
    assert said["validation"] == "log_loss.platt 0.5, ndcg@10 0.1235"
    assert said["software"] == "numpy 2.0"
    for name, entry in artifacts.list_files(folder).items():
        number, unit = said[name].split()
        assert float(number) == pytest.approx(entry.bytes / {"B": 1, "kB": 1e3, "MB": 1e6}[unit], rel=1e-3)


def test_recall_is_measured_when_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--recall"]) == 0
    said = lines(capsys.readouterr().out)["recall@200"]
    assert re.fullmatch(
        rf"1\.0000 of exact search, 0\.95 stated, over \d+ queries of {USERS} users of .*", said
    )


def test_an_index_that_misses_items_shows_in_the_recall(folder: Path) -> None:
    bundle = Bundle.open(folder)
    poor = build_index(
        np.ascontiguousarray(bundle.item_vectors), IndexSettings("ivf", lists=20, probes=1), seed=1
    )
    few = bundle.index_card.with_recall(Recall(0.95, k=5))
    value = float(recall(replace(bundle, index=poor, index_card=few))[1].split()[0])
    assert 0.0 < value < 0.9


def test_without_users_in_the_snapshot_the_recall_is_unknown(folder: Path) -> None:
    bundle = replace(Bundle.open(folder), snapshot=Snapshot.empty(DIM))
    assert recall(bundle)[1].startswith("unknown")


def test_a_changed_file_is_one_line_with_both_hashes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / artifacts.RANKER
    said = json.loads((folder / artifacts.MANIFEST).read_bytes())["files"][artifacts.RANKER]["sha256"]
    path.write_bytes(path.read_bytes() + b"\0")

    assert main([str(folder)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        f"cascada check: {path}: sha256 is {artifacts.sha256_file(path)}, the manifest says {said}\n"
    )


def test_a_schema_that_was_changed_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = json.loads((folder / artifacts.SCHEMA).read_bytes())
    write_json(folder / artifacts.SCHEMA, {**raw, "history_length": 3})
    reseal(folder)

    assert main([str(folder)]) == 2
    assert re.fullmatch(
        r"cascada check: \S+schema\.json: schema hash is \w{64}, the manifest says \w{64}\n",
        capsys.readouterr().err,
    )


def test_a_graph_that_answers_otherwise_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(folder / artifacts.PARITY) as archive:
        recorded = {**archive}
    recorded["ranker/cross"] = recorded["ranker/cross"][:, :-1]
    np.savez(folder / artifacts.PARITY, **recorded)
    reseal(folder)

    assert main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert "ranker" in error
    assert error.count("\n") == 1


def test_no_bundle_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "no manifest.json" in capsys.readouterr().err
