from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.data.dataset import write_dataset
from models.studies.knn_embed import SINGLES, VARIANTS
from models.studies.towers import METRICS
from service import command
from service.replay.command import main
from tests.unit.models.studies.worlds import split_world, strangers_world

TOML = """
threads = 1
history_length = 10
[split]
protocol = "given"
[tower]
dim = 8
layers = 1
epochs = 1
learning_rate = 0.01
[retrieval]
clusters = 6
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set `world` and a configuration `train.toml`."""
    folder = tmp_path_factory.mktemp("studies")
    write_dataset(folder / "world", split_world())
    (folder / "train.toml").write_text(TOML)
    return folder


def asked(folder: Path, study: str, *more: str) -> list[str]:
    return [str(folder / "world"), "--study", study, "--config", str(folder / "train.toml"), *more]


def rows_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_tower_study_prints_a_line_per_seed_and_writes_every_figure(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures" / "tower.json"
    call = ["evaluate", *asked(folder, "tower", "--seeds", "0, 1", "--json", str(file))]
    assert command.main(call) == 0
    title, table, cold, _ = capsys.readouterr().out.strip().split("\n\n")
    found = json.loads(file.read_text())
    assert [trial["seed"] for trial in found["trials"]] == [0, 1]
    users = found["trials"][0]["users"]
    assert f"given, {users} users" in title
    assert "trained on training and validation events" in title
    head, _, *rows = rows_of(table)
    assert head == ["seed", *METRICS, "validation NDCG@10", "seconds", "peak GB"]
    assert [row[0] for row in rows] == ["0", "1", "mean"]
    for row, trial in zip(rows, found["trials"], strict=False):
        shown = [f"{trial[name]:.4f} ({trial[f'{name} error']:.4f})" for name in METRICS]
        assert row[1:6] == shown
    means = [sum(trial[name] for trial in found["trials"]) / 2 for name in METRICS]
    assert [float(cell) for cell in rows[2][1:6]] == pytest.approx(means, abs=1e-4)
    assert f"went for {found['trials'][0]['cold items']} items" in cold


def test_without_a_refit_the_table_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(folder, "tower", "--fit", "validate")) == 0
    told = capsys.readouterr().out
    assert "the epoch that validation liked" in told
    assert "mean" not in [row[0] for row in rows_of(told)]


def test_the_knn_embed_study_prints_every_variant_beside_the_single_queries(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "knn.json"
    assert main(asked(folder, "knn-embed", "--seeds", "3", "--fit", "validate", "--json", str(file))) == 0
    title, figures, _, tests, _, lengths = capsys.readouterr().out.strip().split("\n\n")
    found = json.loads(file.read_text())["trials"][0]
    assert f"{found['users']} users, 6 clusters" in title
    for table in (figures, tests, lengths):
        assert [row[0] for row in rows_of(table)[2:]] == [variant.name for variant in VARIANTS]
    for row in rows_of(figures)[2:]:
        assert float(row[4]) == pytest.approx(found["variants"][row[0]]["recall@500"], abs=1e-4)
    against = {row[0]: row[1:] for row in rows_of(tests)[2:]}
    for place, name in zip((0, 2), SINGLES, strict=True):
        assert against[name][place] == "+0.0000"
        assert "p = " in against["shipped"][place]


@pytest.mark.parametrize(
    ("seeds", "named"), [("a", "'a'"), ("0,", "''"), ("0,1.5", "'1.5'"), ("-1", "'-1'"), ("", "''")]
)
def test_a_seed_that_is_none_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], seeds: str, named: str
) -> None:
    assert main(asked(folder, "tower", f"--seeds={seeds}")) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        f"cascada evaluate: --seeds {seeds!r}: {named} is no seed; write whole numbers, such as 0,1,2\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("[tower]\ndimm = 8", "tower.dimm: Extra inputs are not permitted"),
        ("[tower]\nencoder = 'magic'", "tower.encoder: unknown name 'magic'"),
        ("[plan]\nsmoothing = 'most'", "plan.smoothing: Input should be 'both', 'weights'"),
        ("[split]\nprotocol = 'leave-last-out'\n[tower]\nviews_weight = 'x'", "tower.views_weight: "),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_its_key(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    config = tmp_path / "other.toml"
    if text is not None:
        config.write_text(text)
    assert main([str(folder / "world"), "--study", "tower", "--config", str(config)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("cascada evaluate: ")
    assert told.count("\n") == 1
    assert said in told


def test_a_data_set_that_is_not_there_is_named(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [str(tmp_path / "nothing"), "--study", "tower", "--config", str(folder / "train.toml")]
    assert main(call) == 2
    assert str(tmp_path / "nothing") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--study", "magic"], "invalid choice: 'magic'"),
        (["--study", "tower", "--bundle", "bundles"], "not allowed with argument"),
        ([], "one of the arguments --bundle --study is required"),
        (["--bundle", "bundles", "--config", "train.toml"], "--config goes with --study"),
        (["--study", "tower", "--after-last"], "--after-last goes with --bundle"),
    ],
)
def test_what_to_judge_is_one_bundle_or_one_study(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as exit:
        main([str(folder / "world"), *arguments])
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


def test_a_file_that_cannot_be_written_costs_no_result(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(folder, "tower", "--fit", "validate", "--json", str(tmp_path))) == 2
    told = capsys.readouterr()
    assert "Towers alone on" in told.out
    assert str(tmp_path) in told.err


def test_the_cold_study_tells_strangers_before_and_after_their_first_event(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "strangers", strangers_world())
    call = [str(tmp_path / "strangers"), *asked(folder, "cold", "--fit", "final")[1:]]
    assert main([*call, "--json", str(tmp_path / "cold.json")]) == 0
    title, first, known, second, known_one = capsys.readouterr().out.strip().split("\n\n")
    situations = json.loads((tmp_path / "cold.json").read_text())["trials"][0]["situations"]
    assert title.startswith("Users without a past on simulated")
    told = {"nothing is known": (first, known), "after the first event": (second, known_one)}
    assert set(told) == set(situations)
    for name, (head, table) in told.items():
        found = situations[name]
        assert head.lower() == f"{name}, {found['users']} users:"
        rows = rows_of(table)[2:]
        assert [row[0] for row in rows] == [
            "towers",
            "towers, profiles hidden",
            "popularity",
            "popularity of the last 90 days",
        ]
        for row in rows:
            line = found["methods"][row[0]]
            assert row[2] == f"{line['Recall@20']:.4f} ({line['Recall@20 error']:.4f})"


def test_a_data_set_without_strangers_is_refused_by_the_cold_study(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(folder, "cold", "--fit", "final")) == 2
    assert "users without a history, 2 are needed" in capsys.readouterr().err
