import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "Dockerfile").read_text()
HADOLINT = Path(sys.executable).with_name("hadolint")


def stages() -> dict[str, list[str]]:
    """Instructions of each stage, by its name; continued lines are joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE))
    found: dict[str, list[str]] = {}
    for line in joined.splitlines():
        if start := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            found[start[2]] = [line]
        elif line.strip():
            found[list(found)[-1]].append(line)
    return found


def test_hadolint_has_nothing_to_say():
    if not HADOLINT.exists() and not shutil.which("hadolint"):
        pytest.skip("hadolint has no wheel for this platform")
    command = [str(HADOLINT) if HADOLINT.exists() else "hadolint", str(ROOT / "Dockerfile")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
    assert told.stdout == ""


def test_every_base_image_is_pinned_or_a_stage_above():
    known: set[str] = set()
    for name, lines in stages().items():
        base = lines[0].split()[1]
        assert base in known or re.search(r":\d+\.\d+\.\d+", base), base
        known.add(name)


@pytest.mark.parametrize("name", ["serving", "training"])
def test_an_image_does_not_run_as_root(name):
    users = [line.split()[1] for line in stages()[name] if line.startswith("USER ")]
    assert users == ["10001"]


def test_the_serving_image_takes_the_packages_without_extras():
    copied = [line for line in stages()["serving"] if line.startswith("COPY --from")]
    assert copied == ["COPY --from=packages /opt/cascada /opt/cascada"]
    installs = [line for line in stages()["packages"] if "requirements.py" in line and line.startswith("RUN")]
    assert installs == [
        "RUN python deploy/container/requirements.py > requirements.txt "
        "&& pip install -c constraints.txt -r requirements.txt"
    ]


def test_the_serving_requirements_are_those_of_a_plain_install():
    script = ROOT / "deploy" / "container" / "requirements.py"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def printed(*extras: str) -> list[str]:
        command = [sys.executable, str(script), *extras]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
            "\n"
        )

    assert printed()[:-1] == project["dependencies"]
    assert printed("train")[:-1] == project["dependencies"] + project["optional-dependencies"]["train"]


def test_the_health_check_asks_whether_the_service_is_ready():
    (check,) = [line for line in stages()["serving"] if line.startswith("HEALTHCHECK")]
    assert "/readyz" in check


def test_everything_copied_exists_and_is_not_ignored():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source == one or source.startswith(f"{one}/") for one in allowed), source


def test_every_package_is_copied():
    copied = set(re.findall(r"^COPY (\w+) \w+$", TEXT, re.MULTILINE))
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {name.partition(".")[0] for name in packages} <= copied
