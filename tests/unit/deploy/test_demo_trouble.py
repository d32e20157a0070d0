import shutil
import socket
from collections import namedtuple

import pytest

from deploy.demo import trouble
from deploy.demo.trouble import DemoError, check_port, check_redis, check_space
from service.errors import OperatorError


def test_a_busy_port_is_refused_with_another_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=rf"port {port} .*make demo PORT=\d+"):
            check_port(port)


def test_a_free_port_is_accepted():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    check_port(port)


@pytest.mark.parametrize("port", [-1, 70000])
def test_no_port_at_all_is_refused(port):
    with pytest.raises(DemoError, match="make demo PORT=8001"):
        check_port(port)


def test_a_missing_redis_is_told_before_anything_runs(monkeypatch):
    def missing():
        raise OperatorError("no redis-server found: install Redis")

    monkeypatch.setattr(trouble, "find_server", missing)
    with pytest.raises(DemoError, match="install Redis"):
        check_redis()


def test_a_nearly_full_disk_is_refused(monkeypatch, tmp_path):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(free=10 * 2**20))
    with pytest.raises(DemoError, match="10 MB free"):
        check_space(tmp_path)
