"""The training configuration: a TOML file whose unknown keys are refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.plan import Plan


class ConfigError(Exception):
    """A configuration that cannot be used; the message names the key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitConfig(_Section):
    """Which events are held out, and which the earlier stages leave to the ranker."""

    protocol: Literal["leave-last-out", "global-time"] = "leave-last-out"
    test: float = Field(0.1, ge=0, lt=1, description="global-time: share of the events")
    validation: float = Field(0.1, ge=0, lt=1, description="global-time: share of the events")
    ranker_events: int = Field(
        4, ge=1, description="leave-last-out: newest training events per user for the ranker"
    )
    ranker_share: float = Field(
        0.1, gt=0, lt=1, description="global-time: newest share of the training events"
    )


class TowerConfig(_Section):
    """Item and user towers."""

    encoder: str = Field("hstu", description="a name in models.networks.encoders")
    loss: str = Field("auto", description="full-softmax, sampled-softmax, or auto: full up to 20,000 items")
    dim: int = Field(64, ge=4)
    layers: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    dropout: float = Field(0.3, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0)
    learning_rate: float = Field(2e-3, gt=0)
    batch: int = Field(64, ge=1, description="windows per step")
    epochs: int = Field(18, ge=1)
    negatives: int = Field(1024, ge=1, description="uniform negatives of the sampled softmax")


class PreRankerConfig(_Section):
    """HCN."""

    dim: int = Field(64, ge=4)
    interests: int = Field(4, ge=1)
    iterations: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0)
    overlap_weight: float = Field(0.1, ge=0)
    overlap_margin: float = Field(0.5, ge=-1, le=1)
    learning_rate: float = Field(2e-3, gt=0)
    batch: int = Field(256, ge=1, description="requests per step")
    epochs: int = Field(6, ge=1)
    requests: int = Field(30_000, ge=1, description="requests per epoch at most")
    loss: str = "auto"
    negatives: int = Field(1024, ge=1)


class RankerConfig(_Section):
    """AW-MoE."""

    dim: int = Field(32, ge=4)
    experts: int = Field(4, ge=1)
    hidden: tuple[int, int] = (64, 32)
    activation: int = Field(16, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, lt=1)
    loss: str = Field("mixed", description="a name in models.training.ranker_losses")
    contrast_weight: float = Field(0.05, ge=0)
    mask_share: float = Field(0.3, ge=0, lt=1)
    candidates: int = Field(40, ge=2, description="the positive and sampled negatives per request")
    hard_share: float = Field(0.7, ge=0, le=1, description="negatives from the funnel; the rest is uniform")
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    batch: int = Field(64, ge=1, description="requests per step")
    warmup_requests: int = Field(
        20_000, ge=0, description="older requests per warm-up epoch, funnel scores hidden"
    )
    warmup_epochs: int = Field(1, ge=0)
    epochs: int = Field(4, ge=1)
    requests: int = Field(20_000, ge=1, description="requests of the ranker's own slice at most")


class RetrievalConfig(_Section):
    """Clusters, neighbours, the index and the user snapshot."""

    clusters: int = Field(64, ge=1)
    neighbours: int = Field(200, ge=1, description="neighbours per item")
    neighbour_method: str = Field(
        "auto", description="cooccurrence, ease, or auto: ease up to 5,000 items"
    )
    ease_l2: float = Field(200.0, gt=0)
    shrinkage: float = Field(10.0, ge=0)
    index: Literal["auto", "flat", "ivf", "hnsw"] = "auto"
    snapshot_users: int = Field(20_000, ge=1)
    snapshot_clusters: int = Field(8, ge=1)


class TrainConfig(_Section):
    """Everything that a training run depends on, beside the data."""

    seed: int = 0
    threads: int = Field(2, ge=1)
    history_length: int = Field(50, ge=1)
    split: SplitConfig = SplitConfig()
    tower: TowerConfig = TowerConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    preranker: PreRankerConfig = PreRankerConfig()
    ranker: RankerConfig = RankerConfig()
    calibration: str = Field("auto", description="isotonic, platt, or auto: the better on held-out requests")
    plan: dict[str, Any] = Field(default_factory=dict, description="overrides of models.plan.Plan")

    def base_plan(self) -> Plan:
        """The plan with this configuration's overrides."""
        return Plan.from_json(self.plan)


def load_config(path: Path | None) -> TrainConfig:
    """Read a TOML file; None gives the defaults.

    Raises:
        ConfigError: no such file, no TOML, an unknown key or a value out of range; the message names it.
    """
    if path is None:
        return TrainConfig()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        config = TrainConfig.model_validate(raw)
        config.base_plan()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {key}: {first['msg']}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: plan: {error}") from error
    return config
