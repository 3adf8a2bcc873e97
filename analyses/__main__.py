"""Answers questions: `python -m analyses`."""

import sys

from .command import run

if __name__ == "__main__":
    sys.exit(run())
