"""`kill -USR1 PID` writes to standard error what a process does, for one that hangs.

Where each thread is, and where each task waits. Threads are told by the C code of `faulthandler`, which needs
nobody's lock and so works whatever the process is stuck in; tasks follow as soon as the interpreter comes to
it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any


def tell_when_asked() -> None:
    """Obey the signal from now on, where the system has it; to be called by the main thread."""
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, _tell)
        faulthandler.register(signal.SIGUSR1, all_threads=True, chain=True)


def _tell(signum: int, frame: FrameType | None) -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # there is none, or it is between two turns
        return
    for task in asyncio.all_tasks(loop):
        lines = [f"  {place}" for place in _places(task.get_coro())]
        print(f"Task {task.get_name()}:", *lines, sep="\n", file=sys.stderr, flush=True)


def _places(waiting: Any) -> Iterator[str]:
    """Where a coroutine waits, from the outside in."""
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is None:
            yield repr(waiting)
            return
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
