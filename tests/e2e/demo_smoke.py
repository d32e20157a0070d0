"""The README's first command as a new user runs it: clean clone, empty home, three calls, a bad one, Ctrl-C.

A script, not a pytest module: it has to work before anything is installed. `make demo-smoke` runs it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from deploy.demo.foreground import READY, Foreground  # noqa: E402
from deploy.readme import marked_command  # noqa: E402

PROMISED_S = {"ready": 360, "ready again": 10}
"""What two idle cores keep. Timings are told, not tested: a busy machine is late, only a hang fails."""
PATIENCE = 2.5
"""Times the promise after which a demo counts as hung."""
TRIES = 10
"""A machine that is busy may now and then make an answer go without something, but not every time."""
GONE_WITHIN_S = 20
WORRIED_AFTER_S = 8
"""A demo that ends takes a second or two; it kills its service 15 s after asking it to end."""
NOT_PASSED_ON = ("CASCADA_", "MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV", "XDG_CACHE", "XDG_DATA", "GIT_")


class Checks:
    """Runs each check once, goes on after a failure, and counts."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def run(self, name: str, check: Callable[[], object]) -> bool:
        """Print the check's name and what became of it."""
        try:
            said = check()
        except Exception as error:
            self.failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
            return False
        self.passed += 1
        print(f"ok      {name}{f': {said}' if said else ''}", flush=True)
        return True


def main() -> int:
    checks = Checks()
    work = Path(tempfile.mkdtemp(prefix="cascada-smoke-"))
    mark = uuid.uuid4().hex
    try:
        smoke(checks, work, mark)
    finally:
        for pid in marked_processes(mark):
            subprocess.run(["kill", "-KILL", str(pid)], check=False)
        shutil.rmtree(work, ignore_errors=True)
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


def smoke(checks: Checks, work: Path, mark: str) -> None:
    clone, home, port = work / "clone", work / "home", free_port()
    home.mkdir()
    environment = clean_environment(home, mark)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    command = f"{marked_command('demo', clone / 'README.md')} PORT={port}"
    print(f"$ {command}", flush=True)
    for what, promised in PROMISED_S.items():
        with Foreground(command, clone, environment) as demo:
            if not checks.run(what, lambda demo=demo, promised=promised: follow(demo, promised)):
                return
            if what == "ready":
                calls(checks, f"http://127.0.0.1:{port}")
            checks.run(f"{what}, then Ctrl-C ends it", lambda demo=demo: stop(demo, mark, clone))
        checks.run("nothing is left running", lambda: nothing_left(mark))
        checks.run("the port is free", lambda: port_is_free(port))
    checks.run("the clone has no untracked files", lambda: untracked(clone))


def clean_environment(home: Path, mark: str) -> dict[str, str]:
    """A new user's environment; how this machine finds Python and pip its index stays as it is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
    return {**kept, "HOME": str(home), "DEMO_SMOKE": mark}


def follow(demo: Foreground, promised: float) -> str:
    start = time.monotonic()
    for line in demo.until(READY, promised * PATIENCE):
        print(f"        | {line}", flush=True)
    took = time.monotonic() - start
    return f"{took:.1f} s, {'within' if took <= promised else 'OVER'} the {promised} s promised on idle cores"


def calls(checks: Checks, url: str) -> None:
    user = {"user_id": "1", "count": 10}
    seen: dict[str, Any] = {}

    def recommend() -> str:
        for _ in range(TRIES):
            answer = expect(200, post(f"{url}/v1/recommend", user))
            if not answer["degraded"]:
                break
        seen["items"] = [item["item_id"] for item in answer["items"]]
        assert len(set(seen["items"])) == 10, seen["items"]
        assert answer["degraded"] == [], answer["degraded"]
        assert answer["request_id"], "no request id"
        assert answer["bundle_version"], "no bundle version"
        return f"bundle {answer['bundle_version']}"

    def react() -> str:
        chosen = seen["items"][0]
        event = {"user_id": "1", "item_id": chosen, "event": "like"}
        stored = expect(202, post(f"{url}/v1/events", {"events": [event]}))
        assert stored["accepted"] == 1, stored
        answer = expect(200, post(f"{url}/v1/recommend", user))
        now = [item["item_id"] for item in answer["items"]]
        assert chosen not in now, f"{chosen} is still recommended after a like"
        return f"{len(set(now) - set(seen['items']))} of 10 items are new"

    def search() -> str:
        answer = expect(200, post(f"{url}/v1/search", {"query": "star wars", "count": 5}))
        assert answer["items"], "nothing found"
        return f"{len(answer['items'])} items"

    def bad() -> str:
        status, kind, body = post(f"{url}/v1/recommend", {"user_id": "1", "count": "many"})
        assert 400 <= status < 500, status
        assert kind.startswith("application/problem+json"), kind
        paths = [error["path"] for error in body["errors"]]
        assert any("count" in path for path in paths), body
        return f"{status} {body['title']}, path {paths[0]}"

    checks.run("recommend", recommend)
    checks.run("an event changes the next answer", react)
    checks.run("search", search)
    checks.run("a bad call is told its field", bad)


def post(url: str, body: object) -> tuple[int, str, dict[str, Any]]:
    """Status, content type and body."""
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.headers["content-type"], json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], json.load(error)


def expect(status: int, answer: tuple[int, str, dict[str, Any]]) -> dict[str, Any]:
    assert answer[0] == status, answer
    return answer[2]


def stop(demo: Foreground, mark: str, clone: Path) -> str:
    start = time.monotonic()
    try:
        code = demo.interrupt(WORRIED_AFTER_S)
    except subprocess.TimeoutExpired:
        tell_stacks(mark, clone)
        code = demo.wait(GONE_WITHIN_S - WORRIED_AFTER_S)
    return f"exit code {code} after {time.monotonic() - start:.1f} s"


def tell_stacks(mark: str, clone: Path) -> None:
    """Print who is still there, and what each process of the service is doing (`service.stacks`)."""
    for pid, command in marked_processes(mark).items():
        print(f"        | still there: {pid} {command}", flush=True)
        if " serve " in command or "service.workers.worker" in command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
    time.sleep(1)
    for errors in clone.glob(".demo/**/service.err"):
        for line in errors.read_text(errors="replace").splitlines():
            print(f"        | {line}", flush=True)


def marked_processes(mark: str) -> dict[int, str]:
    """Every process that inherited our mark (Linux; elsewhere none is found)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"DEMO_SMOKE={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def nothing_left(mark: str) -> None:
    left = marked_processes(mark)
    assert not left, left


def port_is_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def untracked(clone: Path) -> None:
    told = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, check=True, capture_output=True, text=True
    ).stdout
    assert not told, told


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
