"""What the whole battery costs on one checkpoint: every question, without and with the alignment search.

    python -m benchmarks.battery [--seed 1000]

CPU seconds of one core after import, `time.thread_time`, median of three runs. It is wanted that the battery takes at
most 6 seconds, and with the search (ranks 1 to 6, every step, its controls) at most 30.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median

from analyses.__main__ import limit_threads
from analyses.counter import QUESTIONS, common
from analyses.counter.study import questions
from probe.subjects.subject import Subject

SEARCH = "alignment"
WANTED, WANTED_WITH_SEARCH = 6.0, 30.0
REPEATS = 3


def seconds(question: str, subjects: Sequence[Subject]) -> float:
    """Return the CPU seconds that a question takes, the median of some runs."""
    (asked,) = questions([question])
    taken = []
    for _ in range(REPEATS):
        start = time.thread_time()
        asked.ask(subjects)
        taken.append(time.thread_time() - start)
    return median(taken)


def lines(seed: int) -> Iterator[str]:
    """Yield the lines of the table."""
    subjects = common.subjects(common.with_controls("counter", seed))
    groups = {"the network alone": subjects[:1], "with its controls": subjects}
    yield "| question | " + " | ".join(groups) + " |"
    yield "|---|" + "---:|" * len(groups)
    seconds("accuracy", subjects)  # what the first run loads is no cost of a question
    table: dict[str, list[float]] = {}
    for question in QUESTIONS:
        table[question] = [seconds(question, group) for group in groups.values()]
        yield f"| {question} | " + " | ".join(f"{each:.2f}" for each in table[question]) + " |"
    battery = [sum(row[i] for question, row in table.items() if question != SEARCH) for i in range(len(groups))]
    for name, sums, wanted in (
        ("all without the search", battery, WANTED),
        ("all", [one + search for one, search in zip(battery, table[SEARCH], strict=True)], WANTED_WITH_SEARCH),
    ):
        yield f"| **{name}** (wanted: {wanted:g}) | " + " | ".join(f"**{each:.2f}**" for each in sums) + " |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure what the battery costs.")
    parser.add_argument("--seed", type=int, default=2000, help="of the committed counter, from 2000 on")
    options = parser.parse_args()
    limit_threads()
    for line in lines(options.seed):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
