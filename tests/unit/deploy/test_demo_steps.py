import sys

import pytest

from deploy.demo import steps
from deploy.demo.steps import Step, plan
from deploy.demo.trouble import DemoError

MAKES = "import pathlib, sys; out = pathlib.Path(sys.argv[-1]); out.mkdir(); print(f'wrote {out.name}')"
FAILS = "import sys; print('cascada train: bad row 7', file=sys.stderr); sys.exit(1)"
FULL = "import sys; print('OSError: [Errno 28] No space left on device', file=sys.stderr); sys.exit(1)"


@pytest.fixture
def program(monkeypatch):
    """Let every step run a Python program of the test's instead of a verb."""

    def use(code: str) -> None:
        monkeypatch.setattr(steps, "cascada", lambda *words: [sys.executable, "-c", code, *map(str, words)])

    return use


@pytest.fixture
def step(tmp_path):
    return Step("train", ("train", tmp_path / "run"), tmp_path / "run", key="1")


def test_a_step_makes_its_folder_and_reports_what_the_verb_said(step, program, tmp_path, capsys):
    program(MAKES)
    step.run(tmp_path / "logs")
    assert step.output.is_dir()
    assert capsys.readouterr().out.split() == ["train", "0", "s", "wrote", "run"]


def test_a_current_step_is_kept(step, program, tmp_path, capsys):
    program(MAKES)
    step.run(tmp_path / "logs")
    program(FAILS)
    step.run(tmp_path / "logs")
    assert capsys.readouterr().out.splitlines()[-1].split() == ["train", "kept", "wrote", "run"]


@pytest.mark.parametrize("reason", ["another key", "no folder", "a broken record"])
def test_a_step_that_is_not_current_runs_again(step, program, tmp_path, reason):
    program(MAKES)
    step.run(tmp_path / "logs")
    (step.output / "old").touch()
    if reason == "another key":
        step = Step(step.name, step.arguments, step.output, key="2")
    elif reason == "no folder":
        (step.output / "old").unlink()
        step.output.rmdir()
    else:
        (tmp_path / "run.json").write_text("{")
    step.run(tmp_path / "logs")
    assert step.output.is_dir()
    assert not (step.output / "old").exists()


def test_a_failed_step_gives_the_verbs_reason_and_is_not_kept(step, program, tmp_path):
    program(FAILS)
    with pytest.raises(DemoError, match="cascada train failed: cascada train: bad row 7"):
        step.run(tmp_path / "logs")
    program(MAKES)
    step.run(tmp_path / "logs")
    assert step.output.is_dir()


def test_a_full_disk_is_told_with_what_to_do(step, program, tmp_path):
    program(FULL)
    with pytest.raises(DemoError, match="the disk is full: make room"):
        step.run(tmp_path / "logs")


def test_the_plan_leads_from_the_data_to_the_bundles(tmp_path):
    dataset, made, loaded = plan(tmp_path, None)
    assert dataset == tmp_path / "data"
    assert [step.name for step in made] == ["data", "train", "export"]
    assert made[-1].output == tmp_path / "bundles"
    assert loaded.folder == tmp_path / "redis"


def test_own_data_are_used_where_they_are_and_a_change_is_noticed(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "events.csv").write_text("a")
    dataset, before, _ = plan(tmp_path / "work", own)
    (own / "events.csv").write_text("b")
    _, after, _ = plan(tmp_path / "work", own)
    assert dataset == own
    assert [step.name for step in before] == ["train", "export"]
    assert all(a.key != b.key for a, b in zip(before, after, strict=True))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DemoError, match="no folder"):
        plan(tmp_path, tmp_path / "nowhere")
