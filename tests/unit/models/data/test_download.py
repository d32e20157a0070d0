from dataclasses import replace

import pytest

from models.data import download
from models.data.download import cache_folder, fetch_wheel
from models.data.problems import DataError
from tests.unit.models.data.wheels import build_wheel


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that is a folder: pip runs for real and offline."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return build_wheel(tmp_path / "index")


def test_a_wheel_is_fetched_once_and_then_read_from_the_cache(index, tmp_path, monkeypatch):
    fetched = fetch_wheel(index, tmp_path / "cache")
    assert fetched.read_bytes() == (tmp_path / "index" / index.file_name).read_bytes()
    monkeypatch.setattr(download.subprocess, "run", lambda *_, **__: pytest.fail("downloaded again"))
    assert fetch_wheel(index, tmp_path / "cache") == fetched


def test_a_damaged_file_in_the_cache_is_fetched_anew(index, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / index.file_name).write_bytes(b"half of it")
    assert fetch_wheel(index, tmp_path / "cache").stat().st_size > 100


def test_other_bytes_than_pinned_are_refused_and_not_kept(index, tmp_path):
    with pytest.raises(DataError, match=r"downloaded file has sha256 .* expected 000"):
        fetch_wheel(replace(index, sha256="0" * 64), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_failed_download_says_what_to_do_in_one_line_and_leaves_nothing(index, tmp_path):
    with pytest.raises(DataError, match="check the network or the pip index, then try again") as failed:
        fetch_wheel(replace(index, requirement="recbole==9.9"), tmp_path / "cache")
    assert "\n" not in str(failed.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("CASCADA_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("CASCADA_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "cascada"
