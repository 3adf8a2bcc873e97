"""Breaks `probe/` and `models/` on purpose, one line at a time, and checks that a test fails each time.

    python -m benchmarks.mutants [--only NAME] [--jobs 1] [--list]

A test that passes on broken code measures nothing; this is the control arm of the test suite. Everything happens
in a temporary copy of the tracked files, never in the working tree.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[1]
#: What a copy holds.
COPIED = (
    "probe/",
    "models/",
    "analyses/",
    "tests/wheel/",
    "tests/repo/",
    "tests/data/",
    "tests/conftest",
    "pyproject",
)
FAILED_TESTS = 1  # pytest's exit code; 2 and above mean that no test could judge


@dataclass(frozen=True)
class Outcome:
    """What became of one mutation: `killed`, `survived`, or why neither can be said."""

    mutation: Mutation
    verdict: str
    seconds: float

    @property
    def line(self) -> str:
        """The outcome as a line of the table."""
        return f"{self.verdict:<10} {self.seconds:5.1f} s  {self.mutation.name:<40} {self.mutation.file}"


def mutated(source: str, mutation: Mutation) -> str | None:
    """Return the source with the mutation in it, or None unless its text occurs exactly once."""
    if source.count(mutation.old) != 1 or mutation.old == mutation.new:
        return None
    return source.replace(mutation.old, mutation.new)


def run_tests(copy: Path, tests: Sequence[str]) -> int:
    """Run test files in a copy of the repository and return pytest's exit code."""
    # The copy comes before the editable install on the path; stale bytecode of the same second must not be used.
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-c", "pyproject.toml", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(f"tests/wheel/{name}" for name in tests)],
        cwd=copy,
        env=environment,
        capture_output=True,
        check=False,
        timeout=300,
    )
    return done.returncode


@contextlib.contextmanager
def checkout():
    """Yield a temporary folder with the tracked files as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file() and name.startswith(COPIED):
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        yield Path(folder)


def judge(mutation: Mutation) -> Outcome:
    """Apply one mutation in its own copy and run the tests that should notice."""
    start = time.monotonic()
    with checkout() as copy:
        path = copy / mutation.file
        changed = mutated(path.read_text(), mutation) if path.is_file() else None
        if changed is None:
            return Outcome(mutation, "not found", 0.0)
        path.write_text(changed)
        try:
            code = run_tests(copy, mutation.tests)
        except subprocess.TimeoutExpired:
            return Outcome(mutation, "timed out", time.monotonic() - start)
    verdict = {0: "survived", FAILED_TESTS: "killed"}.get(code, f"error {code}")
    return Outcome(mutation, verdict, time.monotonic() - start)


def main() -> int:
    """Run the mutations and return 0 if every one of them was killed."""
    parser = argparse.ArgumentParser(description="Break probe/ on purpose and see that a test fails.")
    parser.add_argument("--only", help="names that contain this text", default="")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    parser.add_argument("--list", action="store_true", help="list the names and stop")
    options = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if options.only in mutation.name]
    if options.list or not chosen:
        sys.stdout.write("\n".join(mutation.name for mutation in chosen or MUTATIONS) + "\n")
        return 0 if chosen else 2
    tests = sorted({name for mutation in chosen for name in mutation.tests})
    with checkout() as copy:
        if run_tests(copy, tests):
            sys.stderr.write(f"The tests fail without any mutation, so nothing can be judged: {' '.join(tests)}\n")
            return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = []
        for outcome in pool.map(judge, chosen):
            outcomes.append(outcome)
            sys.stdout.write(outcome.line + "\n")
            sys.stdout.flush()
    killed = sum(outcome.verdict == "killed" for outcome in outcomes)
    sys.stdout.write(f"{killed} of {len(outcomes)} killed\n")
    return 0 if killed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
