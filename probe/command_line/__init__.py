"""The command `rnn-probe`: inspect, record, convert, new-study, report, show, site, verify.

Whoever interrupts a command while Python imports it, or ends it, reads one line and no traceback.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

#: Those of a checkout.
PACKAGES = ("analyses", "benchmarks", "models", "reports")
_before = sys.excepthook


def only_commands(file: str) -> None:
    """End a process that is to run a module which is no command: Python would print nothing, and exit with 0.

    A package of a checkout calls it, which is imported before a module of it is run.

    Args:
        file: the `__init__.py` of one of `PACKAGES`.
    """
    root, words = Path(file).resolve().parents[1], sys.orig_argv
    if sys.argv[0] == "-m" and "-m" in words:  # Python says so while it looks for the module
        asked = words[words.index("-m") + 1]
    else:
        run = Path(getattr(sys.modules["__main__"], "__file__", None) or ".").resolve()
        asked = ".".join(run.relative_to(root).parts).removesuffix(".py") if run.is_relative_to(root) else ""
    package = asked.partition(".")[0]
    if package not in PACKAGES or asked.endswith(".__main__"):
        return
    commands = [
        ".".join(one.relative_to(root).with_suffix("").parts).removesuffix(".__main__")
        for one in sorted((root / package).rglob("*.py"))
        if 'if __name__ == "__main__":' in one.read_text(encoding="utf-8")
    ]
    if asked not in commands:
        listed = ", ".join(f"python -m {one}" for one in commands or ("analyses",))
        sys.stderr.write(f"python -m {asked}: This is no command. Type one of these: {listed}.\n")
        sys.exit(2)


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("Interrupted.\n")
    else:
        _before(kind, error, trace)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but only once numpy and torch are there: while they are imported C code loses it."""
    if _is_begun("numpy") or _is_begun("torch"):
        threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
    else:
        raise KeyboardInterrupt


def _is_begun(name: str) -> bool:
    module: Any = sys.modules.get(name)
    try:
        return module.__spec__._initializing
    except AttributeError:
        return False


sys.excepthook = _told
with contextlib.suppress(ValueError):  # which a thread that is not the main one raises
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _ = signal.signal(signal.SIGINT, _interrupt)
