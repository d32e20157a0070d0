from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.errors import OperatorError
from service.settings import PREFIX, Settings, load_settings, markdown


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*Settings.model_fields, "config", "cache"):
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_an_argument_beats_the_environment_and_that_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cascada.toml").write_text('port = 1\nhost = "file"\npermits = 3\n')
    monkeypatch.setenv("CASCADA_PORT", "2")
    monkeypatch.setenv("CASCADA_HOST", "environment")
    settings = load_settings(port=4)
    assert (settings.port, settings.host, settings.permits) == (4, "environment", 3)


def test_a_file_elsewhere_is_read_instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cascada.toml").write_text("port = 1\n")
    (tmp_path / "other.toml").write_text("permits = 9\n[plan]\nranked = 50\n")
    monkeypatch.setenv("CASCADA_CONFIG", str(tmp_path / "other.toml"))
    settings = load_settings()
    assert (settings.port, settings.permits, settings.plan) == (8000, 9, {"ranked": 50})


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CASCADA_PROT", "1", "CASCADA_PROT: unknown setting; did you mean CASCADA_PORT?"),
        ("CASCADA_PORT", "x", "CASCADA_PORT: "),
        ("CASCADA_PORT", "70000", "CASCADA_PORT: "),
        ("CASCADA_PLAN", "{", "plan"),
        ("CASCADA_PLAN", '{"widht": 1}', "CASCADA_PLAN: unknown plan keys ['widht']"),
        (
            "CASCADA_PLAN",
            '{"smoothing": "most"}',
            "CASCADA_PLAN: smoothing: Input should be 'both', 'weights'",
        ),
        (
            "CASCADA_PLAN",
            '{"own_weight": "half"}',
            "CASCADA_PLAN: own_weight: Input should be a valid number",
        ),
        ("CASCADA_PLAN", '{"quotas": {"popular": []}}', "CASCADA_PLAN: quotas.popular: "),
        ("CASCADA_REDIS_PREFIX", "a{b", "CASCADA_REDIS_PREFIX: "),
        ("CASCADA_CONFIG", "/nowhere/x.toml", "there is no file /nowhere/x.toml"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(OperatorError) as refusal:
        load_settings()
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [("prot = 1", "prot: unknown setting in"), ("port = 'x'", "port: "), ("port = ", "not TOML")],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "cascada.toml").write_text(text)
    with pytest.raises(OperatorError) as refusal:
        load_settings()
    assert words in str(refusal.value)


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADA_REDIS_URL", "redis://:hunter2@host")
    monkeypatch.setenv("CASCADA_API_KEYS", "hunter2, hunter3")
    settings = load_settings()
    assert [key.get_secret_value() for key in settings.api_keys] == ["hunter2", "hunter3"]
    assert "hunter" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_every_kind_of_plan_override_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"ranked": 50, "quotas": {"popular": 1}, "smoothing": "none", "own_weight": null, "kappa": 3}'
    monkeypatch.setenv("CASCADA_PLAN", text)
    assert load_settings().plan == json.loads(text)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADA_REDIS_URL", "")
    assert load_settings().redis_url is None


def test_every_setting_is_described() -> None:
    table = markdown()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `{PREFIX}{name.upper()}` |" in table
