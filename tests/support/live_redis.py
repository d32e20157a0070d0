"""A real redis-server for a test session, and a proxy that can be silent or gone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from service.features.embedded import EmbeddedRedis

_numbers = itertools.count()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a redis-server that lives as long as the session."""
    server = EmbeddedRedis()
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture
def redis_prefix() -> str:
    """A key prefix that no other test uses."""
    return f"test{next(_numbers)}"


class Proxy:
    """Stands between a store and Redis; holds replies back while `holding`."""

    def __init__(self, folder: Path, target: str) -> None:
        self.path = folder / "proxy.sock"
        self.requests = 0
        self.holding = False
        self._target = target.removeprefix("unix://")

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with suppress(asyncio.CancelledError, OSError):
                await self._serve(reader, writer)
            writer.close()

        server = await asyncio.start_unix_server(serve, self.path)
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._target)
        back = asyncio.create_task(self._answer(there_reader, writer))
        try:
            while chunk := await reader.read(1 << 20):
                self.requests += 1
                there_writer.write(chunk)
        finally:
            there_writer.close()
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 20):
            while self.holding:
                await asyncio.sleep(0.001)
            writer.write(chunk)
