"""`make demo`: data, train, export, serve, load, three calls; then in the foreground until Ctrl-C."""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from deploy.demo.examples import Examples
from deploy.demo.foreground import READY
from deploy.demo.processes import cascada, running
from deploy.demo.service import last_words, serving
from deploy.demo.steps import plan, report
from deploy.demo.trouble import DemoError, check_port, check_redis, check_space, explain, last_line
from models.data.dataset import load_dataset
from models.data.problems import DataError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code, 0 after Ctrl-C once it was ready."""
    arguments = _parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        demo(arguments.port, arguments.data)
    except (DemoError, DataError) as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"make demo: {error.strerror or error}: {error.filename or 'see above'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return 130
    return 0


def demo(port: int, data: Path | None) -> None:
    """All of it; returns when the user asks to stop after the calls were shown.

    Raises:
        DemoError: something must change first; the message says what.
    """
    work = work_folder(data)
    logs = work / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    check_port(port)
    check_redis()
    check_space(work)
    dataset, steps, loaded = plan(work, data)
    for step in steps:
        step.run(logs)
    known = loaded.said()
    if known is None:
        loaded.forget()
    start = time.monotonic()
    with serving(work / "bundles", loaded.folder, port, logs) as service:
        url = f"http://127.0.0.1:{port}"
        report("serve", f"{url} is ready", f"{time.monotonic() - start:.0f} s")
        if known is None:
            loaded.write(load(dataset, url, logs))
        else:
            report("load", known, "kept")
        Examples(load_dataset(dataset), url).show()
        print(f"\nServing on {url}  (calls: {url}/docs, metrics: {url}/metrics). {READY}", flush=True)
        wait(service, logs)


def load(dataset: Path, url: str, logs: Path) -> str:
    """Give the service what its users did, and return what the verb said.

    Raises:
        DemoError: it was refused.
    """
    start = time.monotonic()
    errors = None if sys.stderr.isatty() else logs / "load.err"
    with running(cascada("load", dataset, "--url", url), logs / "load.log", errors) as process:
        code = process.wait()
    if code:
        raise DemoError(explain("cascada load", errors))
    said = last_line(logs / "load.log")
    report("load", said, f"{time.monotonic() - start:.0f} s")
    return said


def wait(service: subprocess.Popen[bytes], logs: Path) -> None:
    """Stay until the user stops us.

    Raises:
        DemoError: the service ended by itself.
    """
    try:
        service.wait()
    except KeyboardInterrupt:
        print("\nstopping", file=sys.stderr, flush=True)
        return
    raise DemoError(f"the service ended: {last_words(logs / 'service.log', logs / 'service.err')}")


def work_folder(data: Path | None) -> Path:
    """Where this data set's artefacts live: `.demo/NAME`, or below `CASCADA_DEMO_DIR`."""
    top = Path(os.environ.get("CASCADA_DEMO_DIR") or ".demo")
    if data is None:
        return top / "movielens-100k"
    path = data.resolve()
    return top / f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (PORT=)")
    parser.add_argument("--data", type=Path, help="your own canonical data set instead of MovieLens (DATA=)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
