"""`python -m analyses STUDY ...` runs one of our own studies: `counter` or `flipflop`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from analyses import STUDIES
from probe.errors import unknown

USAGE = 2


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of a study and return its exit code; 2 where no study of that name is there.

    Args:
        arguments: what follows `python -m analyses`; None for the program's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in STUDIES:
        return import_module(f"analyses.{words[0]}.command").run(words[1:])
    if words in (["--help"], ["-h"]):
        sys.stdout.write(f"{__doc__}\nFor its options: python -m analyses {STUDIES[0]} --help.\n")
        return 0
    fault = unknown("study", words[0], STUDIES) if words else f"Name a study: {' or '.join(STUDIES)}."
    sys.stderr.write(f"error: {fault}\n")
    return USAGE


if __name__ == "__main__":
    sys.exit(run())
