import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from service.settings import OUTSIDE, PREFIX, Settings

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
CHECK = str(Path(sys.executable).with_name("check-jsonschema"))
OURS = [name for name, service in SERVICES.items() if str(service["image"]).startswith("cascada")]


def test_the_file_follows_the_compose_specification():
    told = subprocess.run(
        [CHECK, "--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name):
    tag = SERVICES[name]["image"].partition(":")[2]
    assert re.search(r"\d+\.\d+\.\d+", tag), SERVICES[name]["image"]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_confined(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_redis_keeps_an_append_only_file_on_a_volume():
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]


def test_nothing_starts_before_what_it_needs():
    needs = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
        if isinstance(service.get("depends_on"), dict)
    }
    assert needs["service"] == {"redis": "service_healthy", "trainer": "service_completed_successfully"}
    assert needs["loader"] == {"service": "service_healthy"}


def test_the_service_can_only_read_the_bundles_that_the_trainer_writes():
    assert "bundles:/bundles" in SERVICES["trainer"]["volumes"]
    assert SERVICES["service"]["volumes"] == ["bundles:/bundles:ro"]


def test_every_volume_is_declared():
    used = {
        mount.partition(":")[0]
        for service in SERVICES.values()
        for mount in service.get("volumes", ())
        if not mount.startswith(".")
    }
    assert used == set(COMPOSE["volumes"])


def test_mounted_files_exist():
    mounts = [m.partition(":")[0] for s in SERVICES.values() for m in s.get("volumes", ()) if m[0] == "."]
    assert mounts
    assert all((ROOT / mount).exists() for mount in mounts)


def test_only_settings_that_exist_are_set():
    known = {PREFIX + name.upper() for name in Settings.model_fields} | set(OUTSIDE)
    dockerfile = (ROOT / "Dockerfile").read_text()
    given = set(re.findall(rf"\b{PREFIX}[A-Z_]+(?==)", dockerfile))
    for name in OURS:
        given |= set(SERVICES[name].get("environment", {}))
    assert given
    assert given <= known


def verb_lines() -> list[list[str]]:
    """Every `cascada` command line that the containers run, as words after `cascada`."""
    lines = [SERVICES[name]["command"] for name in OURS if "entrypoint" not in SERVICES[name]]
    script = (ROOT / "deploy" / "container" / "train.sh").read_text()
    variables = {"$data": "/data", "$bundles": "/bundles"}
    for found in re.findall(r"(?:^|\|\| )cascada (.*)$", script, re.MULTILINE):
        for name, value in variables.items():
            found = found.replace(name, value)
        lines.append(shlex.split(found))
    return lines


class Parsed(Exception):
    """Raised in place of doing the work."""


@pytest.mark.parametrize("words", verb_lines(), ids=" ".join)
def test_every_command_is_a_verb_with_real_options(words, monkeypatch, capsys):
    import importlib.metadata

    (entry,) = importlib.metadata.entry_points(group="cascada.verbs", name=words[0])
    main = entry.load()
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self, *arguments, **options):
        parse(self, *arguments, **options)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    with pytest.raises(Parsed):
        main(words[1:])
    assert capsys.readouterr().err == ""


def test_all_verbs_of_the_way_to_a_bundle_are_run():
    assert [words[0] for words in verb_lines()] == ["serve", "load", "data", "train", "export"]
