"""The training configuration: a TOML file whose unknown keys are refused."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from models.data.columns import Dataset
from models.data.splits import Split, given, global_time, leave_last_out, leave_users_out
from models.plan import Plan


class ConfigError(Exception):
    """A configuration that cannot be used; the message names the key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def heads_fit(section: Any) -> Any:
    """Refuse a dimension that the heads cannot share evenly.

    Raises:
        ValueError: names both.
    """
    if section.dim % section.heads:
        raise ValueError(f"dim {section.dim} is no multiple of heads {section.heads}")
    return section


class SplitConfig(_Section):
    """Which events are held out, and which the earlier stages leave to the ranker."""

    protocol: Literal["leave-last-out", "global-time", "leave-users-out", "given"] = Field(
        "leave-last-out",
        description="leave-last-out per user, global-time where users return over time, leave-users-out to "
        "judge strangers, or given: the column `part` of the events",
    )
    test: float = Field(
        0.1, ge=0, lt=1, description="global-time: share of the events, leave-users-out: of the users"
    )
    validation: float = Field(0.1, ge=0, lt=1, description="the same")
    ranker_events: int = Field(
        4, ge=1, description="leave-last-out, given: newest training events per user for the ranker"
    )
    ranker_share: float = Field(
        0.1, gt=0, lt=1, description="global-time: newest share of the training events"
    )
    requests: Literal["auto", "next", "ahead"] = Field(
        "auto",
        description="what cut, ranker and validation are asked: each event after all before it (next), "
        "or once per user, at the first of his events, for all of them (ahead), as the test is judged; "
        "auto: ahead under global-time, else next",
    )

    @property
    def ahead(self) -> bool:
        """Whether a user's events of a part are one question."""
        return self.requests == "ahead" or (self.requests == "auto" and self.protocol == "global-time")

    def apply(self, dataset: Dataset) -> Split:
        """The split of a data set under this protocol.

        Raises:
            ValueError: the data set does not fit the protocol.
        """
        if self.protocol == "leave-last-out":
            return leave_last_out(dataset)
        if self.protocol == "leave-users-out":
            return leave_users_out(dataset, self.test, self.validation)
        if self.protocol == "given":
            return given(dataset)
        return global_time(dataset, self.test, self.validation)


class TowerConfig(_Section):
    """Item and user towers: what retrieval asks its index with."""

    encoder: str = Field("hstu", description="a name in models/networks/encoders.py: hstu, transformer, mean")
    loss: str = Field("auto", description="full-softmax, sampled-softmax, or auto: full up to 20,000 items")
    dim: int = Field(64, ge=4, description="dimension of item and user vectors")
    layers: int = Field(2, ge=1, description="blocks of the encoder")
    heads: int = Field(2, ge=1, description="attention heads; they share `dim` evenly")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of the encoder's values dropped in training")
    id_dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of items whose id is hidden in a step, so that content places them",
    )
    temperature: float = Field(0.07, gt=0, description="cosines are divided by it")
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle schedule")
    batch: int = Field(64, ge=1, description="windows per step")
    epochs: int = Field(
        5, ge=0, description="epochs; the one that ranks validation best is kept, 0 being the start"
    )
    negatives: int = Field(1024, ge=2, description="the sample of the sampled softmax")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")
    length: Literal["unit", "free"] = Field(
        "unit", description="length of item vectors: unit, or free, so that it is learned"
    )
    start: Literal["random", "spectral", "low-pass"] = Field(
        "spectral",
        description="item vectors at the start: random, the directions of the spectrum of who met what, "
        "or its ideal low-pass filter, that is with lengths (wants `length` free)",
    )
    graph_share: float = Field(
        0.5, ge=0, lt=1, description="how much of an item's id embedding is that of its graph neighbours"
    )
    graph_neighbours: int = Field(20, ge=1, description="neighbours per item in that graph")
    views_weight: float = Field(
        0.0, ge=0, description="weight of the self-supervised loss on two masked views of an item"
    )

    _heads = model_validator(mode="after")(heads_fit)

    @model_validator(mode="after")
    def _lengths_kept(self) -> TowerConfig:
        if self.start == "low-pass" and self.length != "free":
            raise ValueError('start "low-pass" wants length "free"')
        return self


class PreRankerConfig(_Section):
    """HCN, the pre-ranker."""

    dim: int = Field(64, ge=4, description="dimension; items start from the towers' leading directions")
    interests: int = Field(4, ge=1, description="interest vectors per user")
    iterations: int = Field(2, ge=1, description="levels: updates of the interest centres")
    hierarchy: Literal["none", "residual", "weighted"] = Field(
        "none",
        description="what levels after the first read: all events again (none, and weighted, which takes the "
        "mean of the levels), or what the levels before left of them (residual)",
    )
    co_interest: bool = Field(
        True, description="join the interests of all events with those of the last session"
    )
    heads: int = Field(2, ge=1, description="heads of the attention between long and short term")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of the events' values dropped in training")
    id_dropout: float = Field(0.1, ge=0, lt=1, description="as of the towers")
    temperature: float = Field(0.07, gt=0, description="cosines are divided by it")
    overlap_weight: float = Field(0.1, ge=0, description="weight of the penalty on interests that are alike")
    overlap_margin: float = Field(0.5, ge=-1, le=1, description="cosine up to which interests are not alike")
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle schedule")
    batch: int = Field(96, ge=1, description="requests per step")
    epochs: int = Field(6, ge=1, description="epochs; the one that ranks validation best is kept")
    requests: int = Field(20_000, ge=1, description="requests per epoch at most")
    loss: str = Field("auto", description="as of the towers")
    negatives: int = Field(1024, ge=2, description="the sample of the sampled softmax")
    distill_epochs: int = Field(
        0,
        ge=0,
        description="epochs after the ranker's training in which the pre-ranker learns its order of the "
        "candidates; kept if more of the ranker's best survive the cut and validation ranks no worse",
    )
    distill_learning_rate: float = Field(1e-3, gt=0, description="peak of their one-cycle schedule")
    distill_items: bool = Field(True, description="whether item vectors learn there, too")

    _heads = model_validator(mode="after")(heads_fit)


class RankerConfig(_Section):
    """AW-MoE, the ranker."""

    kind: str = Field(
        "aw-moe",
        description="a name in models/networks/aw_moe.py: aw-moe, or what it is compared with: aw-moe-sum, "
        "moe, target-attention, dnn",
    )
    dim: int = Field(32, ge=4, description="dimension of its own item vectors")
    experts: int = Field(4, ge=1, description="experts that the gate weighs")
    hidden: tuple[int, int] = Field((64, 32), description="widths of an expert's two layers")
    activation: int = Field(16, ge=1, description="width of the attention between events and candidate")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of the events' and experts' values dropped")
    id_dropout: float = Field(0.1, ge=0, lt=1, description="as of the towers")
    eight_bits: bool = Field(
        True,
        description="whether the bundle's ranker computes its experts with 8-bit numbers: a third quicker, "
        "lists as good; one that reads queries never does",
    )
    loss: str = Field(
        "mixed", description="a name in models/training/ranker_losses.py: pointwise, listwise, mixed"
    )
    contrast_weight: float = Field(0.05, ge=0, description="weight of the gate's contrastive loss")
    mask_share: float = Field(0.3, ge=0, lt=1, description="share of events that the contrast hides")
    kind_weight: float = Field(
        0.0, ge=0, description="weight of the heads that tell event kinds apart, where there are several"
    )
    samples: Literal["events", "impressions"] = Field(
        "events",
        description="events with candidates of the funnel, or impressions: sponsored ones, clicked or not, "
        "under split.protocol global-time",
    )
    candidates: int = Field(40, ge=2, description="the positive and sampled negatives per request")
    hard_share: float = Field(0.7, ge=0, le=1, description="negatives from the funnel; the rest is uniform")
    learning_rate: float = Field(3e-4, gt=0, description="peak of the one-cycle schedule, in each phase")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    batch: int = Field(64, ge=1, description="requests per step")
    warmup_requests: int = Field(
        20_000, ge=0, description="older requests per warm-up epoch, funnel scores hidden"
    )
    warmup_epochs: int = Field(0, ge=0, description="epochs of the warm-up; 0 leaves it out")
    epochs: int = Field(
        3,
        ge=1,
        description="epochs on the funnel's candidates; the best is kept of those that validation ranks "
        "better than the start by more than a standard error, else the start",
    )
    requests: int = Field(20_000, ge=1, description="requests of the ranker's own slice at most")
    search_epochs: int = Field(
        6,
        ge=0,
        description="epochs on searches at the end, where the data set has queries; kept if validation's "
        "searches rank better for it and its recommendations no worse; 0 = the ranker reads no queries",
    )
    search_requests: int = Field(20_000, ge=1, description="searches of them at most, the newest")


class AuctionConfig(_Section):
    """AIE: what auctions tell the training on sponsored impressions; nothing of it is served."""

    market_price_weight: float = Field(
        0.0, ge=0, description="AM2: weight of predicting the market price of won impressions; 0 = without"
    )
    market_price_network: str = Field(
        "dynamic", description="a name in models/networks/market_price.py: dynamic, static"
    )
    market_price_width: int = Field(32, ge=1, description="width of that network")
    market_price_rank: int = Field(8, ge=1, description="rank of the weights that the placement makes")
    selection: bool = Field(
        False,
        description="with market prices: learn them as seen only below the bid, and take out of clicks "
        "what they reveal of why an impression was won",
    )
    bid_weight: float = Field(
        0.0, ge=0, description="BCM: how much more a click on the highest bid of a placement weighs"
    )
    propensity_clip: float = Field(
        0.0, ge=0, description="impressions weigh 1 / propensity, at most so much; 0 = all alike"
    )


class QueryConfig(_Section):
    """The query tower: what the dense half of search asks its index with."""

    text_model: str | None = Field(
        None,
        description="folder of a sentence-transformers model in ONNX, whose vectors are read instead of "
        "hashed words ([search](search.md)); seen from the folder of this file",
    )
    buckets: int = Field(1 << 14, ge=1, description="hashed words, and as many hashed n-grams")
    hidden: int = Field(128, ge=1, description="width of the layer between words and query")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the values dropped in training")
    word_dropout: float = Field(0.1, ge=0, lt=1, description="share of a text's words hidden in a step")
    typos: float = Field(0.1, ge=0, le=1, description="share of texts that are misspelt in a step")
    query_share: float = Field(
        0.4, ge=0, le=1, description="share of pairs that are queries; titles and attributes share the rest"
    )
    temperature: float = Field(
        0.07, gt=0, description="cosines are divided by it; the larger, the more an item's bias counts"
    )
    learning_rate: float = Field(3e-3, gt=0, description="peak of the one-cycle schedule")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")
    batch: int = Field(128, ge=1, description="pairs per step")
    epochs: int = Field(10, ge=1, description="epochs, each of as many pairs as there are titles and queries")
    loss: str = Field("auto", description="as of the towers")
    negatives: int = Field(1024, ge=2, description="the sample of the sampled softmax")

    def seen_from(self, folder: Path) -> QueryConfig:
        """The same with a relative folder of the text model made relative to the working folder."""
        if self.text_model is None:
            return self
        return self.model_copy(update={"text_model": str(folder / self.text_model)})


class RetrievalConfig(_Section):
    """Clusters, neighbours, the index and the user snapshot."""

    clusters: int = Field(64, ge=1, description="item clusters, the cells of a user's mixture")
    neighbours: int = Field(200, ge=1, description="neighbours per item")
    neighbour_method: str = Field("auto", description="cooccurrence, ease, or auto: ease up to 5,000 items")
    ease_l2: float = Field(200.0, gt=0, description="ridge of ease")
    shrinkage: float = Field(10.0, ge=0, description="cooccurrence: what holds pairs of few users down")
    factors: int = Field(64, ge=0, description="factors of matrix factorisation per item; 0 = no such source")
    factors_alpha: float = Field(40.0, ge=1, description="weight of an event beside 1 of every other cell")
    factors_l2: float = Field(200.0, gt=0, description="ridge of the factorisation")
    index: Literal["auto", "flat", "ivf", "half", "hnsw", "ivfpq", "pq4", "sq8"] = Field(
        "auto",
        description="flat (exact), ivf, half, hnsw, ivfpq, pq4, sq8; auto: flat to 20,000 items, then pq4",
    )
    recall: float = Field(
        0.95, gt=0, le=1, description="share of the exact best 200 that the index promises to find"
    )
    snapshot_users: int = Field(20_000, ge=1, description="users whose mixtures smooth those of others")
    snapshot_clusters: int = Field(8, ge=1, description="clusters kept per user of the snapshot")


class ComplementConfig(_Section):
    """Dual vectors of items by skip-gram: what lists of complements are searched with."""

    dim: int = Field(64, ge=2, description="dimension of the dual vectors")
    window: int = Field(30, ge=1, description="places between two events of a user that still go together")
    window_days: float = Field(
        1.0, ge=0, description="days between two such events; without meaning where times are made up"
    )
    temperature: float = Field(0.2, gt=0, description="cosines are divided by it")
    learning_rate: float = Field(5e-3, gt=0, description="peak of the one-cycle schedule")
    batch: int = Field(4096, ge=1, description="pairs per step")
    epochs: int = Field(2, ge=0, description="epochs; 0 = no such vectors, complements by co-occurrence")
    pairs: int = Field(200_000, ge=1, description="pairs drawn per epoch at most")
    negatives: int = Field(1024, ge=2, description="sampled items that a pair has to beat")


class TrainConfig(_Section):
    """Everything that a training run depends on, beside the data."""

    seed: int = Field(0, description="the same seed on the same machine gives the same run")
    threads: int = Field(2, ge=1, description="threads of torch and of the index")
    refit: bool = Field(
        True,
        description="at the end train towers, query tower and pre-ranker once more, on all events before the "
        "test and for as many epochs as validation liked best, and serve these; under global-time before "
        "validation, too, which is judged by them",
    )
    history_length: int = Field(50, ge=2, description="newest events that the models read")
    split: SplitConfig = SplitConfig()
    tower: TowerConfig = TowerConfig()
    query: QueryConfig = QueryConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    complements: ComplementConfig = ComplementConfig()
    preranker: PreRankerConfig = PreRankerConfig()
    ranker: RankerConfig = RankerConfig()
    auction: AuctionConfig = AuctionConfig()
    calibration: str = Field(
        "auto", description="beta, isotonic, platt, temperature, or auto: the best on later requests"
    )
    plan: dict[str, Any] = Field(default_factory=dict, description="overrides of models/plan.py")

    def base_plan(self) -> Plan:
        """The plan with this configuration's overrides.

        Raises:
            ValueError: a key is unknown, or a value has another type.
        """
        return TypeAdapter(Plan).validate_python(Plan.from_json(self.plan).to_json())


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
        config = config.model_copy(update={"query": config.query.seen_from(path.parent)})
        config.base_plan()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        within = f"plan.{key}" if error.title == Plan.__name__ else key
        raise ConfigError(f"{path}: {within}: {first['msg']}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: plan: {error}") from error
    return config


def markdown() -> str:
    """Every key of the TOML file with its default and meaning, as a table."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | {_shown(default)} | {meaning} |" for key, default, meaning in _keys(TrainConfig)]
    return "\n".join(lines) + "\n"


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.get_default(call_default_factory=True), field.description or ""


def _shown(default: Any) -> str:
    """A default as TOML writes it."""
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default!r}`".replace("'", '"') if default != {} else ""


if __name__ == "__main__":
    print(markdown(), end="")
