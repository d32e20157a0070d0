from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from service import command


def use_verbs(monkeypatch: pytest.MonkeyPatch, folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        (folder / f"verb_{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, f"verb_{name}", raising=False)
    monkeypatch.syspath_prepend(folder)
    points = [EntryPoint(name, f"verb_{name}:main", command.GROUP) for name in sources]
    monkeypatch.setattr(command.importlib.metadata, "entry_points", lambda group: points)


def test_a_verb_gets_its_arguments_and_gives_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use_verbs(monkeypatch, tmp_path, one="def main(argv):\n    print(argv)\n    return 7\n")
    assert command.main(["one", "a", "--b"]) == 7
    assert capsys.readouterr().out == "['a', '--b']\n"


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_overview_describes_verbs_without_running_them(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    use_verbs(
        monkeypatch, tmp_path, one='"""`cascada one`: does this.\n\nMore."""\nraise SystemExit("ran")\n'
    )
    assert command.main(arguments) == 0
    assert "  one  does this\n" in capsys.readouterr().out


def test_an_unknown_verb_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["frobnicate"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cascada: no verb 'frobnicate'; there are ")
    assert error.count("\n") == 1


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use_verbs(monkeypatch, tmp_path, one="raise ModuleNotFoundError('no', name='torch.nn')\n")
    assert command.main(["one"]) == 1
    assert "`pip install 'cascada[train]'`" in capsys.readouterr().err


def test_a_broken_verb_is_not_blamed_on_an_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_verbs(monkeypatch, tmp_path, one="import no_such_module_anywhere\n")
    with pytest.raises(ModuleNotFoundError):
        command.main(["one"])


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_verbs(monkeypatch, tmp_path, one="def main(argv):\n    raise KeyboardInterrupt\n")
    assert command.main(["one"]) == 130


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "service.command"], stdout=write, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write)
    assert (result.returncode, result.stderr) == (0, b"")


def test_serving_and_the_overview_never_import_training() -> None:
    script = (
        "import sys, service.command, service.serve\n"
        "service.command.main([])\n"
        "print('heavy:', *{'torch', 'pyarrow', 'scipy', 'onnx', 'matplotlib'} & set(sys.modules))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "heavy:"
