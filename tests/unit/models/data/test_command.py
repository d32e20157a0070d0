import errno

import pytest

from models.data import command
from models.data.command import main
from models.data.dataset import load_dataset
from models.data.movielens import load_movielens_100k
from tests.unit.models.data.research_sets import BEAUTY, GOWALLA, GROCERY, HEP_TH, write
from tests.unit.models.data.wheels import build_wheel

MAPPING = '[events]\nuser_id="u"\nitem_id="i"\nevent="e"\ntimestamp="t"\n'


@pytest.fixture
def own(tmp_path):
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "e.csv").write_text("u,i,e,t\na,x,view,1\n,x,view,2\nb,x,view,3\n")
    return ["import", "--events", str(tmp_path / "e.csv"), "--mapping", str(tmp_path / "m.toml")]


def test_an_import_with_bad_rows_is_refused_and_writes_nothing(own, tmp_path, capsys):
    assert main([*own, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "e.csv:3: u: missing" in error
    assert "1 bad row in all" in error
    assert not (tmp_path / "out").exists()


def test_bad_rows_are_skipped_when_asked_and_still_told(own, tmp_path, capsys):
    assert main([*own, "--skip-bad", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert "skipped: 1 bad row in all" in shown.err
    assert f"wrote {tmp_path / 'out'}" in shown.out
    assert load_dataset(tmp_path / "out").events == 2


def test_an_existing_folder_is_refused_before_any_work(own, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "import_dataset", lambda *_: pytest.fail("worked in vain"))
    assert main([*own, "--out", str(tmp_path)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_simulate_writes_the_data_set_and_the_truth(tmp_path, capsys):
    out = tmp_path / "world"
    assert main(["simulate", "--users", "40", "--items", "60", "--seed", "2", "--out", str(out)]) == 0
    assert {"truth.json", "truth.npz", "dataset.toml", "impressions.parquet"} <= {
        p.name for p in out.iterdir()
    }
    assert load_dataset(out).users == 40
    assert "the planted truth" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "--items", "3"],
        ["movielens-small", "--source", "nowhere"],
        ["gowalla", "--source", "nowhere"],
        ["amazon-beauty", "--source", "nowhere"],
        ["amazon-grocery", "--source", "nowhere"],
        ["hep-th", "--source", "nowhere"],
        ["import", "--events", "no.csv", "--mapping", "no.toml"],
    ],
)
def test_bad_input_is_one_line_and_a_failure(tmp_path, capsys, arguments):
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("cascada data: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_full_disk_says_what_to_do(tmp_path, capsys, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(command, "write_dataset", no_space)
    assert main(["simulate", "--users", "9", "--items", "20", "--out", str(tmp_path / "out")]) == 1
    assert "free some space" in capsys.readouterr().err


def test_an_interrupt_is_told_apart(tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "load_movielens_100k", interrupt)
    assert main(["movielens-100k", "--out", str(tmp_path / "out")]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_movielens_is_written_as_a_canonical_folder(tmp_path, capsys, monkeypatch):
    wheel = build_wheel(tmp_path / "cache")
    monkeypatch.setattr(
        command, "load_movielens_100k", lambda: load_movielens_100k(wheel, tmp_path / "cache")
    )
    assert main(["movielens-100k", "--out", str(tmp_path / "out")]) == 0
    assert "4 events of 2 users on 4 items" in capsys.readouterr().out
    assert load_dataset(tmp_path / "out").event_kinds == ("watch", "like")


@pytest.mark.parametrize(
    ("name", "files", "told"),
    [
        ("gowalla", GOWALLA, "gowalla, 17 events of 3 users on 9 items"),
        ("amazon-beauty", BEAUTY, "amazon-beauty, 8 events of 2 users on 5 items"),
        ("amazon-grocery", GROCERY, "amazon-grocery, 4 events of 2 users on 3 items"),
        ("hep-th", HEP_TH, "hep-th, 21 events of 2 users on 21 items"),
    ],
)
def test_a_research_set_is_written_as_a_canonical_folder(tmp_path, capsys, name, files, told):
    source, out = write(tmp_path / "in", files), tmp_path / "out"
    assert main([name, "--source", str(source), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert told in said
    assert load_dataset(out).fingerprint[:12] in said


def test_an_unknown_source_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["netflix", "--out", "x"])
    assert stopped.value.code == 2
    assert "movielens-100k" in capsys.readouterr().err
