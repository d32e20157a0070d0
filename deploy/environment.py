"""Create `.venv` and install the pinned packages: `python3 deploy/environment.py EXTRA...`.

Standard library only. pip's own lines go to `.venv/install.log`; a terminal sees one progress bar. `--pin`
installs the newest releases into a fresh environment instead and writes `constraints.txt` from what it got.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
TORCH = "torch==2.13.0"
NEEDED_BYTES = 3 * 2**30
HEADER = (
    "# Every package that the extras need, direct or not, at the version that is tested."
    " Written by `make constraints`.\n"
)


class SetupError(Exception):
    """What went wrong and what to do, in one sentence."""


def create(folder: Path) -> Path:
    """Make the virtual environment unless it is whole, and return its interpreter.

    Raises:
        SetupError: this Python cannot make one, or the disk is too small.
    """
    python = folder / "bin" / "python"
    if (folder / "bin" / "pip").exists():
        return python
    free = shutil.disk_usage(folder.parent).free
    if free < NEEDED_BYTES:
        raise SetupError(
            f"{folder.parent} has {free / 2**30:.1f} GB free and the packages need about 3 GB: make room."
        )
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment; on Debian install python3-venv. "
            f"It said: {(made.stderr or made.stdout).strip()}"
        )
    return python


class Bar:
    """How far pip is: packages found while it resolves, then packages in place. Silent without a terminal."""

    WIDTH = 30

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._found, self._start = 0, time.monotonic()
        self._shown = sys.stderr.isatty()

    def read(self, line: str) -> None:
        """Learn from one line of pip's output."""
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            self._found += 1
        elif line.startswith("Installing collected packages: "):
            self._total = self._found = line.count(",") + 1

    def draw(self, installed: int) -> None:
        """Redraw with the number of packages that are in place; resolving is a third of the bar."""
        if not self._shown:
            return
        share = (min(self._found, self._total) + 2 * min(installed, self._total)) / (3 * self._total)
        full = int(share * self.WIDTH)
        seconds = int(time.monotonic() - self._start)
        bar = "#" * full + "." * (self.WIDTH - full)
        sys.stderr.write(f"\r{self._label}  [{bar}] {share:4.0%}  {seconds} s ")
        sys.stderr.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._shown:
            sys.stderr.write("\r\033[K")


def install(python: Path, arguments: list[str], label: str) -> None:
    """Run `pip install` with one bar.

    Raises:
        SetupError: pip failed; its last lines are printed before.
    """
    folder = python.parent.parent
    log = folder / "install.log"
    packages = next((folder / "lib").glob("python*/site-packages"))
    before = len(list(packages.glob("*.dist-info")))
    bar = Bar(label, total=sum(not line.startswith("#") for line in CONSTRAINTS.open()))
    # Compiling every module of every package ahead of use takes longer than all downloads together.
    quiet = ["--disable-pip-version-check", "--no-input", "--no-compile"]
    command = [str(python), "-m", "pip", "install", *quiet, *arguments]
    with log.open("w") as sink, log.open() as lines:
        pip = subprocess.Popen(command, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT)
        try:
            while pip.poll() is None:
                for line in lines:
                    bar.read(line)
                bar.draw(len(list(packages.glob("*.dist-info"))) - before)
                time.sleep(0.2)
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
            bar.close()
    if pip.returncode:
        raise SetupError(explain(log.read_text(errors="replace"), log))


def explain(output: str, log: Path) -> str:
    """The sentence for a failed pip, under its own last words."""
    words = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()[-5:]
    if "No space left on device" in output:
        advice = "The disk is full: make room (about 3 GB) and run the command again."
    elif re.search(r"Connection|Temporary failure|Max retries|timed out", output):
        advice = "The package index cannot be reached: check the network, then run the command again."
    else:
        advice = f"pip could not install the pinned packages; its whole output is in {log}."
    return "\n".join([*words[-5:], advice])


def pin() -> None:
    """Write `constraints.txt` from the newest releases that the extras resolve to, torch held."""
    with tempfile.TemporaryDirectory() as folder:
        python = create(Path(folder) / "venv")
        install(python, [TORCH, "-e", ".[train,redis,text,dev]"], "resolving the newest releases")
        frozen = subprocess.run(
            [str(python), "-m", "pip", "freeze", "--all", "--exclude-editable", "--exclude", "pip"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    lines = [re.sub(r"^torch==.*", TORCH, line) for line in frozen.splitlines(keepends=True)]
    CONSTRAINTS.write_text(HEADER + "".join(lines))


def main() -> None:
    """Parse the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="extras of pyproject.toml to install")
    parser.add_argument("--pin", action="store_true", help="renew constraints.txt")
    given = parser.parse_args()
    try:
        if given.pin:
            pin()
        else:
            target = f".[{','.join(given.extras)}]" if given.extras else "."
            start = time.monotonic()
            python = create(ROOT / ".venv")
            install(python, ["-c", str(CONSTRAINTS), "-e", target], "install")
            print(f"install  pinned packages in .venv  {time.monotonic() - start:.0f} s", file=sys.stderr)
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
