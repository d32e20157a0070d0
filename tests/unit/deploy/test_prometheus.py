import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from service.metrics import Metrics

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "prometheus"
ALERTS = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]


def series() -> set[str]:
    """Every name that a scrape may bring."""
    return {
        name
        for family in Metrics().registry.collect()
        for name in (
            [f"{family.name}_total"]
            if family.type == "counter"
            else [f"{family.name}_{part}" for part in ("bucket", "sum", "count")]
            if family.type == "histogram"
            else [family.name]
        )
    }


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_accepts_the_files_and_alerts_fire_as_their_tests_say(words):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH (Debian: apt install prometheus)")
    told = subprocess.run([promtool, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_series_that_exist(rule):
    asked = set(re.findall(r"\bcascada_\w+", rule["expr"]))
    assert asked <= series()
    assert asked or "up{" in rule["expr"]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_it_means(rule):
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


def test_the_rules_are_loaded_and_the_service_is_scraped():
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert all((FOLDER / name).is_file() for name in config["rule_files"])
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())
    host, _, port = jobs["cascada"][0].partition(":")
    assert host in compose["services"]
    assert compose["services"][host]["ports"][0].endswith(f":{port}")
