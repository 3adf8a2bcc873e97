"""Breaks `probe/` and `models/` on purpose, one expression at a time, and checks that a test fails each time.

    python -m benchmarks.mutants                                              # all that are written by hand
    python -m benchmarks.mutants --only lstm                                  # those with this in their name
    python -m benchmarks.mutants --sample 12 --seed "$(git rev-parse HEAD)"         # some that the seed chooses

A test that passes on broken code measures nothing; this is the control arm of the test suite. The defects of
`benchmarks/mutations/` encode theorems and contracts: one that survives, or that matches nothing any more, fails.
Everything happens in a temporary copy of the tracked files, never in the working tree.
"""

from __future__ import annotations

import argparse
import difflib
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence

from .mutations import MUTATIONS, Mutation, MutationError
from .workshop import ROOT, Defect, Workshop, workshop


def written(mutations: Sequence[Mutation]) -> list[Defect]:
    """Return the defects of mutations that are written by hand.

    Raises:
        MutationError: some match nothing, or more than one place; all of them are named.
    """
    defects, problems = [], []
    for mutation in mutations:
        try:
            changed = mutation.applied((ROOT / mutation.file).read_text())
        except (MutationError, OSError) as error:
            problems.append(str(error))
        else:
            defects.append(Defect(mutation.name, mutation.file, changed, (mutation.test,)))
    if problems:
        raise MutationError("\n".join(problems))
    return defects


def difference(defect: Defect) -> str:
    """Return what a defect changes, as a unified diff."""
    whole = (ROOT / defect.file).read_text()
    lines = difflib.unified_diff(
        whole.splitlines(keepends=True), defect.source.splitlines(keepends=True), defect.file, defect.name, n=1
    )
    return "".join(lines)


def judged(copy: Workshop, defects: Sequence[Defect], timeout: float) -> Counter[str]:
    """Judge defects, print each, with its diff where it was not killed, and return how often which verdict came."""
    verdicts: Counter[str] = Counter()
    for defect in defects:
        verdict, seconds = copy.judge(defect, timeout)
        verdicts[verdict] += 1
        _say(f"{verdict:<10} {seconds:5.1f} s  {defect.name}  ({' '.join(defect.tests)})")
        if verdict != "killed":
            _say(difference(defect))
    return verdicts


def main() -> int:
    """Judge defects; return 0 where every one that is written by hand was killed."""
    parser = argparse.ArgumentParser(description="Break the code on purpose and see that a test fails.")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="of those by hand, the ones with it in their names"
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="of those by hand, N that the seed chooses; all of them"
    )
    parser.add_argument("--seed", default="0", help="any text, such as a commit's hash")
    options = parser.parse_args()
    draws = random.Random(options.seed)
    try:
        by_hand = [defect for defect in written(MUTATIONS) if options.only in defect.name]
        if options.sample is not None:
            by_hand = draws.sample(by_hand, min(options.sample, len(by_hand)))
    except MutationError as error:
        return _failed(str(error))
    if not by_hand:
        return _failed("There is no such mutation: " + "; ".join(mutation.name for mutation in MUTATIONS))
    with workshop() as copy:
        tests, start = sorted({test for defect in by_hand for test in defect.tests}), time.monotonic()
        if copy.run(tests, keep=True) != 0:
            return _failed(f"{copy.log()}\nThe tests fail without any mutation, so nothing can be judged: {tests}")
        # For a part of these tests, on a machine that others may use meanwhile.
        timeout = 20 + 2 * (time.monotonic() - start)
        first = judged(copy, by_hand, timeout)
    used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    _say(f"by hand: {_counted(first)}; {used:.0f} s of CPU time")
    return 0 if set(first) <= {"killed"} else 1


def _say(line: str) -> None:
    _ = sys.stdout.write(line + "\n")
    _ = sys.stdout.flush()


def _counted(verdicts: Counter[str]) -> str:
    return ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common()) or "none"


def _failed(message: str) -> int:
    _ = sys.stderr.write(message + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
