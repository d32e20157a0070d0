"""Load on a server: wrk in a closed loop, and an open loop of our own whose arrivals do not wait.

A closed loop says how much a server can do. It hides waiting, for whoever waits sends nothing; so tails are
measured in an open loop, from the moment when a request was due.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import pinned
from benchmarks.wire import Wire, request

_POST = """
local bodies, at = {}, 0
for line in io.lines("%(bodies)s") do bodies[#bodies + 1] = line end
wrk.method, wrk.headers["Content-Type"] = "POST", "application/json"
request = function()
  at = at %% #bodies + 1
  return wrk.format("POST", "%(path)s", nil, bodies[at])
end
"""
_DONE = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n[%d, %d, %d, %d, %d, %d]\\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(95), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What came back: requests in `seconds`, latency percentiles in ms, and how many went wrong."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def closed_loop(
    url: str, path: str, bodies: Path | None, connections: int, seconds: float, core: int
) -> Load:
    """Every connection sends its next request as soon as it has an answer; without `bodies` they are GETs.

    Raises:
        RuntimeError: there is no wrk, or it failed.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write((_POST % {"bodies": bodies, "path": path} if bodies else "") + _DONE)
        script.flush()
        options = ["-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "-s", script.name, url + path]
        done = subprocess.run(pinned(core, ["wrk", *options]), capture_output=True, text=True, check=False)
    try:
        requests, micros, p50, p95, p99, errors = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"wrk: {(done.stderr or done.stdout).strip()}") from None
    return Load(requests, micros / 1e6, p50 / 1000.0, p95 / 1000.0, p99 / 1000.0, errors)


def open_loop(port: int, path: str, bodies: Path, rate: float, seconds: float, seed: int = 3) -> Load:
    """Requests arrive as a Poisson process of `rate` per second, whatever the server does.

    A latency is counted from when its request was due; one that fails counts as an error.
    """
    return asyncio.run(Arrivals(port, path, bodies).run(rate, seconds, seed))


class Arrivals:
    """A pool of connections that grows when all are busy."""

    def __init__(self, port: int, path: str, bodies: Path) -> None:
        self._wire = Wire(port)
        self._requests = [request("POST", path, line) for line in bodies.read_bytes().splitlines()]
        self._took: list[float] = []
        self._errors = 0

    async def run(self, rate: float, seconds: float, seed: int) -> Load:
        rng = np.random.default_rng(seed)
        due = np.cumsum(rng.exponential(1.0 / rate, round(rate * seconds)))
        loop = asyncio.get_running_loop()
        start = loop.time()
        calls = set()
        for number, moment in enumerate(due.tolist()):
            if (wait := start + moment - loop.time()) > 0:
                await asyncio.sleep(wait)
            call = asyncio.create_task(
                self._call(self._requests[number % len(self._requests)], start + moment)
            )
            calls.add(call)
            call.add_done_callback(calls.discard)
        await asyncio.gather(*calls)
        took = loop.time() - start
        self._wire.close()
        p50, p95, p99 = (np.percentile(self._took or [np.nan], [50, 95, 99]) * 1000.0).tolist()
        return Load(len(self._took), took, p50, p95, p99, self._errors)

    async def _call(self, asked: bytes, due: float) -> None:
        try:
            status = await self._wire.ask(asked)
            self._took.append(asyncio.get_running_loop().time() - due)
            self._errors += status != 200
        except (OSError, EOFError, ValueError):
            self._errors += 1
