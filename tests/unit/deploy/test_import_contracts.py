import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("service", "retrieval", "ranking", "models")

VIOLATIONS = [
    ("retrieval/intruder.py", "import ranking", "Retrieval and ranking do not know each other"),
    ("retrieval/intruder.py", "import service.errors", "Imports point one way"),
    ("models/intruder.py", "import fastapi", "Only the service knows the web framework"),
    ("ranking/intruder.py", "def late():\n    import torch", "Nothing online imports the offline half"),
    ("service/intruder.py", "import models.training", "Nothing online imports the offline half"),
    ("service/intruder.py", "import service.replay", "Nobody imports the replay"),
    ("service/cascade/intruder.py", "import starlette", "know nothing of HTTP"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    copy = tmp_path_factory.mktemp("tree")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "500"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("path", "code", "contract"), VIOLATIONS)
def test_a_forbidden_import_breaks_its_contract(tree, path, code, contract):
    intruder = tree / path
    intruder.write_text(code + "\n")
    try:
        told = lint(tree)
    finally:
        intruder.unlink()
    broken = [line for line in told.stdout.splitlines() if " BROKEN" in line]
    assert told.returncode != 0
    assert any(contract in line for line in broken), told.stdout


def test_every_module_of_models_is_either_shared_or_offline():
    contracts = {
        one["id"]: one
        for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    }
    shared = set(contracts["layers"]["layers"][-1].split(" : "))
    online, offline = contracts["online"]["source_modules"], contracts["online"]["forbidden_modules"]
    assert {name for name in online if name.startswith("models.")} == shared
    tree = ROOT / "models"
    modules = {f"models.{path.stem}" for path in tree.glob("*.py") if path.stem != "__init__"}
    packages = {f"models.{path.parent.name}" for path in tree.glob("*/__init__.py")}
    assert modules | packages == shared | {name for name in offline if name.startswith("models.")}


def test_the_replay_may_import_the_offline_half(tree):
    intruder = tree / "service/replay/intruder.py"
    before = lint(tree).stdout.count("BROKEN")
    intruder.write_text("import models.training\nimport torch\n")
    try:
        assert lint(tree).stdout.count("BROKEN") == before
    finally:
        intruder.unlink()
