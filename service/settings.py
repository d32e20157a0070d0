"""Every setting of the service: `CASCADA_*` variables, then a TOML file, then these defaults."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from service.errors import OperatorError
from service.placements import Placement, usable_plan

PREFIX = "CASCADA_"
DEFAULT_FILE = Path("cascada.toml")
OUTSIDE = {
    "CASCADA_CONFIG": "path of the TOML file",
    "CASCADA_CACHE": "folder for downloads",
    "CASCADA_DEMO_DIR": "folder of the demo's artefacts",
}
"""Variables with our prefix that are no settings of the service."""


class Settings(BaseSettings):
    """Frozen after start. Read them with `load_settings`, which also refuses what nobody knows."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    bundles: Path = Field(Path("bundles"), description="Folder of bundles; the newest one is served.")
    bundle: Path | None = Field(None, description="Serve exactly this bundle folder instead.")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(
        0, ge=0, le=1024, description="Processes that answer; 0 starts one per core, or per share of one."
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Keys, comma-separated; if any, each call under /v1 needs `Authorization: Bearer KEY`.",
    )
    operator_token: SecretStr | None = Field(
        None,
        min_length=8,
        description="Token for calls that change what is served (docs/bundles.md); empty: nobody may.",
    )
    max_body_bytes: int = Field(1_000_000, ge=1, description="Largest request body.")
    max_batch_body_bytes: int = Field(5_000_000, ge=1, description="Largest body of an event or item batch.")

    redis_url: SecretStr | None = Field(
        None, description="redis://, rediss:// or unix:// URL; empty starts a redis-server of our own."
    )
    redis_data: Path | None = Field(
        None, description="Folder in which our own redis-server keeps its state; empty forgets it at the end."
    )
    redis_prefix: str = Field(
        "cascada", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="First part of every key; one per tenant."
    )
    redis_read_timeout_ms: float = Field(
        50, gt=0, description="Longest wait for a user's state; then the answer goes without it, labelled."
    )
    redis_write_timeout_ms: float = Field(1000, gt=0, description="Longest wait for a write to be stored.")
    history_limit: int = Field(1000, ge=1, le=10_000, description="Newest events kept of a user.")
    event_id_hours: float = Field(24, gt=0, description="How long a repeated event_id is recognised.")
    exposure_limit: int = Field(200, ge=1, le=10_000, description="Newest exposures kept of a user.")
    item_log_limit: int = Field(10_000, ge=100, description="Entries kept in the stream of item changes.")
    event_log_limit: int = Field(100_000, ge=0, description="Entries kept in the stream of accepted events.")
    impression_log_limit: int = Field(100_000, ge=0, description="Entries kept in the stream of answers.")

    trend_half_life_hours: float = Field(
        168, ge=0.01, description="Time in which an event's weight in the trend of its placement halves."
    )
    trend_interval_ms: float = Field(1000, gt=0, description="Pause between two readings of the trends.")

    permits: int = Field(64, ge=1, description="Calls in progress at once; more are refused with 503.")
    deadline_ms: int = Field(1000, ge=1, le=60_000, description="Time for an answer if the call names none.")
    latency_target_ms: float | None = Field(
        None,
        gt=0,
        description="99th percentile of latency to keep by narrower answers, then refusals; empty: six times "
        "what an answer takes here.",
    )
    least_quality: float = Field(
        0.25, gt=0, le=1, description="Least share of the plan's widths that an answer is ranked with."
    )
    remembered_users: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Users whose vectors are kept for their next answer, while it reads the same of them; "
        "0: none.",
    )
    side_effect_queue: int = Field(
        1000, ge=1, description="Answers that wait to be logged; more are dropped and counted."
    )
    trace_share: float = Field(
        0.0, ge=0, le=1, description="Share of answers whose trace is kept unasked, for GET /v1/explain."
    )
    trace_limit: int = Field(1000, ge=0, le=100_000, description="Traces kept, the newest; 0 keeps none.")
    trace_hours: float = Field(24, gt=0, le=8760, description="How long a trace is kept.")
    counterfactual_seconds: float = Field(
        5, gt=0, le=60, description="Time for the re-runs of one call with counterfactual=true."
    )
    index_recall_share: float = Field(
        0.001,
        ge=0,
        le=1,
        description="Share of answers one of whose index queries is asked again exactly, for the metric; "
        "fewer where that would take more than 0.5% of a core.",
    )
    ranker_rounding_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of answers whose candidates are ranked again in single precision, for the metric; "
        "fewer where that would take more than 0.5% of a core.",
    )
    follow_interval_ms: float = Field(
        200, gt=0, description="Longest pause between two looks for item changes; a change ends it at once."
    )
    live_item_limit: int = Field(
        50_000, ge=1, description="Items that may differ from the bundle; further new ones are refused."
    )
    deleted_item_hours: float = Field(
        720,
        gt=0,
        description="How long Redis keeps the mark of a deleted item that the bundle in use does not have.",
    )
    drain_seconds: int = Field(
        10, ge=0, description="Time for calls in progress when the service is stopped."
    )

    threads: int = Field(1, ge=1, description="Threads of one ONNX run and of one index search.")
    warmup_requests: int = Field(20, ge=1, description="Requests through the whole cascade before ready.")
    cursor_key: SecretStr = Field(
        SecretStr("cascada"), description="Seals next-page cursors; the same for all replicas."
    )
    plan: dict[str, Any] = Field(
        {}, description="Overrides of the bundle's widths and weights (models/plan.py), as a JSON object."
    )

    placements: dict[str, Placement] = Field(
        {}, description="What lists at a placement mean (docs/lists.md), by name, as a JSON object."
    )

    sponsored_hold_seconds: float = Field(
        300,
        gt=0,
        le=86_400,
        description="How long a sold slot keeps its price reserved while no click comes.",
    )
    sponsored_click_hours: float = Field(
        24, gt=0, le=720, description="How long after it was served a sponsored item's click is charged."
    )
    sponsored_click_event: str = Field("click", min_length=1, description="The event that is charged.")
    advertiser_interval_ms: float = Field(
        1000, gt=0, description="Pause between two readings of the advertisers' accounts."
    )
    calibration_interval_seconds: float = Field(
        10, gt=0, description="Pause between two looks at whether sold clicks come as predicted."
    )
    calibration_delay_seconds: float = Field(
        600, ge=0, description="How long an answer's clicks are waited for before it is judged."
    )
    calibration_window_hours: float = Field(
        24, gt=0, le=720, description="Oldest answers that are judged; the logs may end sooner."
    )
    calibration_clicks: int = Field(
        300, ge=1, description="Clicks per placement, the newest, that are judged and refitted on."
    )
    calibration_least_clicks: int = Field(
        50, ge=10, description="Fewer clicks, predicted and observed, say nothing."
    )
    calibration_tolerance: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="So far from 1 the whole interval of predicted over observed clicks may lie; beyond it "
        "prices are made with another calibrator.",
    )
    ledger_limit: int = Field(
        100_000, ge=1, description="Charges listed per advertiser; older ones are kept as sums."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["json", "text"] = Field("json", description="One JSON object or one text per line.")
    access_log: bool = Field(True, description="Log one line per call.")

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(key for part in value.split(",") if (key := part.strip()))
        return value

    @field_validator("plan")
    @classmethod
    def _usable_plan(cls, value: dict[str, Any]) -> dict[str, Any]:
        return usable_plan(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the TOML file."""
        toml = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return (init_settings, env_settings, toml)


def config_file() -> Path:
    """The TOML file that would be read."""
    return Path(os.environ.get("CASCADA_CONFIG", DEFAULT_FILE))


def load_settings(**overrides: Any) -> Settings:
    """Read all sources; `overrides` (command-line options) win.

    Raises:
        OperatorError: names each setting that is unknown or wrong, where it came from, and never its value.
    """
    _refuse_unknown_variables(os.environ)
    path = config_file()
    if "CASCADA_CONFIG" in os.environ and not path.is_file():
        raise OperatorError(f"CASCADA_CONFIG: there is no file {path}")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise OperatorError("; ".join(_explain(part, path) for part in error.errors())) from None
    except tomllib.TOMLDecodeError as error:
        raise OperatorError(f"{path}: not TOML: {error}") from None
    except SettingsError as error:
        raise OperatorError(f"{error}; it takes JSON") from None


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | set(OUTSIDE)
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise OperatorError(f"{name}: unknown setting{_suggestion(name.upper(), known)}")


def _explain(error: Mapping[str, Any], path: Path) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"{name}: unknown setting in {path}{_suggestion(name, set(Settings.model_fields))}"
    variable = PREFIX + str(error["loc"][0]).upper() if error["loc"] else ""
    source = ".".join([variable, *map(str, error["loc"][1:])]) if variable in os.environ else name
    return f"{source}: {error['msg'].removeprefix('Value error, ')}"


def _suggestion(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else "; see docs/configuration.md"


def markdown() -> str:
    """The table of all settings, as `docs/configuration.md` shows it."""
    lines = [
        "| variable | in cascada.toml | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, (), {}) else f"`{field.default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | `{name}` | {default} | {field.description} |")
    lines += [f"| `{name}` | | | {meaning[0].upper()}{meaning[1:]}. |" for name, meaning in OUTSIDE.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
