from pathlib import Path

import pytest

from models.plan import Plan
from models.training.config import ConfigError, TrainConfig, load_config, markdown
from models.training.names import NAMES, check_names

EXAMPLE = """
seed = 7
history_length = 20
calibration = "platt"

[split]
protocol = "global-time"
test = 0.2

[tower]
encoder = "transformer"
dim = 32
heads = 4

[ranker]
hidden = [16, 8]
hard_share = 1

[plan]
candidates = 300
quotas = { interests = 0.5, popular = 0.5 }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "train.toml"
    path.write_text(text)
    return path


def test_an_example_is_read(tmp_path):
    config = load_config(written(tmp_path, EXAMPLE))
    assert (config.seed, config.history_length, config.calibration) == (7, 20, "platt")
    assert config.split.protocol == "global-time"
    assert (config.tower.encoder, config.tower.dim, config.tower.heads) == ("transformer", 32, 4)
    assert config.tower.layers == TrainConfig().tower.layers
    assert config.ranker.hidden == (16, 8)
    assert config.base_plan() == Plan(candidates=300, quotas={"interests": 0.5, "popular": 0.5})
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config
    check_names(config)


def test_nothing_at_all_is_the_default(tmp_path):
    assert load_config(None) == load_config(written(tmp_path, "")) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sead = 1", "sead: Extra inputs are not permitted"),
        ("[tower]\ndepth = 2", r"tower\.depth: Extra inputs"),
        ("[tower]\ndim = 3", r"tower\.dim: Input should be greater than or equal to 4"),
        ("[tower]\ndim = 'wide'", r"tower\.dim: Input should be a valid integer"),
        ("[tower]\ndim = 10\nheads = 4", "tower: Value error, dim 10 is no multiple of heads 4"),
        ("[preranker]\ndim = 9", "preranker: Value error, dim 9 is no multiple of heads 2"),
        ("[split]\nprotocol = 'random'", r"split\.protocol: Input should be 'leave-last-out', 'global-time'"),
        ("[ranker]\nhidden = [1]", r"ranker\.hidden"),
        ("[plan]\nwidth = 5", r"plan: unknown plan keys \['width'\]; known are"),
        ("[plan]\ncandidates = 'all'", r"plan\.candidates: Input should be a valid integer"),
        ("[plan]\nsmoothing = 'most'", r"plan\.smoothing: Input should be 'both', 'weights', 'centroids'"),
        ("[plan]\nown_weight = 'half'", r"plan\.own_weight: Input should be a valid number"),
        ("[tower]\nstart = 'warm'", r"tower\.start: Input should be 'random', 'spectral' or 'low-pass'"),
        ("[tower]\nstart = 'low-pass'", 'tower: Value error, start "low-pass" wants length "free"'),
        ("[tower]\nepochs = -1", r"tower\.epochs: Input should be greater than or equal to 0"),
        ("[tower]\nlength = 'long'", r"tower\.length: Input should be 'unit' or 'free'"),
        ("[tower]\ngraph_share = 1", r"tower\.graph_share: Input should be less than 1"),
        ("[plan.quotas]\npopular = 'most'", r"plan\.quotas\.popular: Input should be a valid number"),
        ("seed = ", "Invalid value"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_text_model_lies_beside_the_file_that_names_it(tmp_path):
    config = load_config(written(tmp_path, '[query]\ntext_model = "models/tiny"'))
    assert config.query.text_model == str(tmp_path / "models" / "tiny")
    assert load_config(written(tmp_path, '[query]\ntext_model = "/m"')).query.text_model == "/m"


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        load_config(tmp_path / "none.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "train.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="decode"):
        load_config(path)


@pytest.mark.parametrize("key", NAMES)
def test_an_unknown_name_is_refused_beside_the_known_ones(key):
    section, _, name = key.rpartition(".")
    raw = {section: {name: "magic"}} if section else {name: "magic"}
    with pytest.raises(
        ConfigError, match=rf"{key}: unknown name 'magic'; known are .*{sorted(NAMES[key])[0]}"
    ):
        check_names(TrainConfig.model_validate(raw))


def test_every_default_is_a_name_that_exists():
    check_names(TrainConfig())


def test_the_table_has_every_key_its_default_and_a_meaning():
    rows = [line.strip("| ").split(" | ") for line in markdown().splitlines()[2:]]
    keys = [row[0].strip("`") for row in rows]
    assert len(keys) == len(set(keys)) > 60
    assert {"seed", "tower.encoder", "split.protocol", "ranker.hidden", "plan"} <= set(keys)
    assert [row[0] for row in rows if not row[-1].strip()] == []
    shown = {row[0].strip("`"): row[1] for row in rows}
    assert shown["tower.encoder"] == '`"hstu"`'
    assert shown["ranker.hidden"] == "`[64, 32]`"
    assert shown["seed"] == "`0`"
