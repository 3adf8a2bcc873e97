"""Answers every question: `python -m analyses`."""

import sys

from . import QUESTIONS
from .command import run

if __name__ == "__main__":
    sys.exit(run(QUESTIONS, "python -m analyses"))
