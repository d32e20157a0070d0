import ast
import importlib.metadata
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
TOP_LEVEL = ("service", "retrieval", "ranking", "models", "benchmarks")
OFFLINE_LIBRARIES = {"matplotlib", "torch", "onnx", "onnxscript", "pyarrow", "safetensors", "scipy"}
BROUGHT = ("starlette", "pydantic_core")
"""What FastAPI and pydantic are made of, and expose."""
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def test_the_package_list_names_every_package_of_the_tree():
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for name in TOP_LEVEL
        for path in (ROOT / name).rglob("__init__.py")
    }
    assert set(PACKAGES) == found


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_a_package_is_imported_from_this_tree(name):
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert Path(spec.origin).resolve() == ROOT / name / "__init__.py"


def test_every_python_file_of_a_package_folder_is_shipped():
    folders = {path.parent for name in TOP_LEVEL for path in (ROOT / name).rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(PACKAGES)


@pytest.mark.parametrize("verb", sorted(PROJECT["project"]["entry-points"]["cascada.verbs"]))
def test_every_verb_can_be_loaded_and_called(verb):
    (entry,) = importlib.metadata.entry_points(group="cascada.verbs", name=verb)
    assert callable(entry.load())


def test_every_pin_is_exact():
    loose = [str(pin) for pin in PINS if not re.fullmatch(r"==[^*,]+", str(pin.specifier))]
    assert loose == []


def test_torch_is_pinned_to_the_tested_release():
    assert [str(pin) for pin in PINS if pin.name == "torch"] == ["torch==2.13.0"]


def test_every_requirement_of_every_extra_is_pinned():
    extras = PROJECT["project"]["optional-dependencies"]
    pinned = {canonicalize_name(pin.name) for pin in PINS}
    wanted = [*PROJECT["project"]["dependencies"], *(one for extra in extras.values() for one in extra)]
    assert {canonicalize_name(Requirement(one).name) for one in wanted} <= pinned


def test_the_environment_follows_the_pins():
    different = {}
    for pin in PINS:
        if pin.marker is None or pin.marker.evaluate():
            try:
                installed = importlib.metadata.version(pin.name)
            except importlib.metadata.PackageNotFoundError:
                continue
            if not pin.specifier.contains(installed, prereleases=True):
                different[pin.name] = installed
    assert different == {}


def test_a_plain_install_brings_no_offline_library():
    reached, todo = set(), [Requirement(one) for one in PROJECT["project"]["dependencies"]]
    while todo:
        one = todo.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in reached:
            continue
        reached.add(key)
        todo += [Requirement(line) for line in _requires(one)]
    names = {name for name, _ in reached}
    assert len(names) > len(PROJECT["project"]["dependencies"])
    assert names.isdisjoint(OFFLINE_LIBRARIES)


def _requires(one: Requirement) -> list[str]:
    """What an installed package needs in this environment, with the extras asked for."""
    lines = importlib.metadata.requires(one.name) or []
    extras = [*one.extras, ""]
    return [
        line
        for line in lines
        if (marker := Requirement(line).marker) is None
        or any(marker.evaluate({"extra": extra}) for extra in extras)
    ]


def test_every_import_is_of_a_declared_package():
    declared = {
        canonicalize_name(Requirement(one).name)
        for one in (
            *PROJECT["project"]["dependencies"],
            *PROJECT["project"]["optional-dependencies"]["train"],
            *PROJECT["project"]["optional-dependencies"]["text"],
        )
    }
    owners = importlib.metadata.packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)}: {module}"
        for name in TOP_LEVEL
        for path in (ROOT / name).rglob("*.py")
        for module in _imported(path)
        if module not in sys.stdlib_module_names
        and module not in (*TOP_LEVEL, *BROUGHT)
        and declared.isdisjoint(canonicalize_name(owner) for owner in owners.get(module, ()))
    }
    assert undeclared == set()


def _imported(path: Path) -> set[str]:
    """The top-level modules that a file imports anywhere."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    from_ = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | from_}
