from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.live_redis import redis_prefix, redis_url
from tests.support.live_service import live_service
from tests.support.tiny_bundle import write_tiny_bundle

__all__ = ["redis_prefix", "redis_url"]


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one bundle of the tiny world."""
    folder = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def client(bundles: Path, redis_url: str, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A service that the tests of one module share: they must not share users or items."""
    prefix = request.module.__name__.rpartition(".")[2]
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix=prefix) as client:
        yield client
