"""`python -m analyses`: answers every question about the counter."""

import sys

from . import QUESTIONS
from .command import run

if __name__ == "__main__":
    sys.exit(run(QUESTIONS, "python -m analyses"))
