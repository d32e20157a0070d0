"""The containers' commands as processes: Redis, service and loader as the compose file starts them."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from service.features.embedded import find_server
from tests.support.live_service import PATIENT
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_dataset import write_tiny_dataset

ROOT = Path(__file__).resolve().parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
CASCADA = str(Path(sys.executable).with_name("cascada"))
WITHIN_S = 90


def image_environment(stage: str) -> dict[str, str]:
    """What the Dockerfile sets in a stage."""
    text = re.search(
        rf"^FROM \S+ AS {stage}$(.*?)(?=^FROM|\Z)", (ROOT / "Dockerfile").read_text(), re.S | re.M
    )
    assert text is not None
    return dict(re.findall(r"(CASCADA_\w+)=(\S+)", text[1]))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(
    command: list[str], cwd: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with (cwd / "log").open("wb") as log:
        started = subprocess.Popen(command, cwd=cwd, env=env, stdout=log, stderr=log)
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(WITHIN_S)
            finally:
                started.kill()


def until(check, started: subprocess.Popen[bytes], cwd: Path) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not check():
        assert started.poll() is None, (cwd / "log").read_text()
        assert time.monotonic() < deadline, (cwd / "log").read_text()
        time.sleep(0.05)


def ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=WITHIN_S).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def redis(tmp_path):
    """The compose file's redis-server, on another port and folder."""
    folder, port = tmp_path / "redis", free_port()
    folder.mkdir()
    _, *options = SERVICES["redis"]["command"]
    command = [str(find_server()), *options, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    with process(command, folder) as started:

        def accepts() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(accepts, started, folder)
        yield f"redis://127.0.0.1:{port}/0"


def test_the_services_commands_end_in_a_served_recommendation(tmp_path, redis):
    bundles, data, port = tmp_path / "bundles", tmp_path / "data", free_port()
    write_tiny_bundle(bundles)
    write_tiny_dataset(data / "movielens-100k")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CASCADA_")}
    given = image_environment("serving") | SERVICES["service"]["environment"]
    moved = {"CASCADA_BUNDLES": str(bundles), "CASCADA_REDIS_URL": redis, "CASCADA_PORT": str(port)}
    assert set(moved) | {"CASCADA_HOST"} == set(given)
    environment = ours | given | moved | {"CASCADA_HOST": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    environment |= {f"CASCADA_{name.upper()}": str(value) for name, value in PATIENT.items()}
    folder = tmp_path / "service"
    folder.mkdir()
    url = f"http://127.0.0.1:{port}"
    with process([CASCADA, *SERVICES["service"]["command"]], folder, environment) as service:
        until(lambda: ok(f"{url}/readyz"), service, folder)
        load = [
            word.replace("http://service:8000", url).replace("/data/", f"{data}/")
            for word in SERVICES["loader"]["command"]
        ]
        subprocess.run([CASCADA, *load], check=True, env=ours, capture_output=True, timeout=WITHIN_S)
        answer = httpx.post(f"{url}/v1/recommend", json={"user_id": "3", "count": 5}, timeout=WITHIN_S).json()
    assert len(answer["items"]) == 5
    assert answer["degraded"] == []
    assert list((tmp_path / "redis").rglob("*.aof")), "Redis keeps no append-only file"


def test_the_health_check_of_the_image_fails_before_the_service_is_ready():
    (check,) = re.findall(r'CMD (\["python", "-c".*\])', (ROOT / "Dockerfile").read_text())
    command = yaml.safe_load(check)
    port = free_port()
    code = command[2].replace("8000", str(port))
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=WITHIN_S)
    assert told.returncode != 0
