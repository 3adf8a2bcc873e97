"""How much faster this working tree is than another revision of it, task by task, in one run.

    python -m benchmarks.versions REVISION [--seconds 4] [--only sweeps "1 x 10" ...]

Each of the two trees has a process of its own, with one thread. The two take turns in short slices, and each number
is a median of ratios between neighbouring slices, in CPU time. Before a task is timed, the results of both trees are
compared; where they differ by more than 1e-5, the run ends. The tasks are in `benchmarks/tasks.py`.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from .trees import ROOT, Tree, TreeError

TOLERANCE = 1e-5
#: The fewest pairs of slices of a task.
FEWEST = 5
HEAD = "| task | {revision} (ms) | this tree (ms) | old / new | 5 % to 95 % | pairs |\n|---|---:|---:|---:|---:|---:|"


@dataclass(frozen=True)
class Timing:
    """The slices of one task, in the order in which they were timed.

    Attributes:
        group: the task's group.
        name: the task's name.
        old: the CPU seconds of one call in the other revision, for each slice.
        new: the same in this tree.
    """

    group: str
    name: str
    old: Sequence[float]
    new: Sequence[float]

    def row(self) -> str:
        """Return the row of the table."""
        ratios = [old / new for old, new in zip(self.old, self.new, strict=True)]
        twentieths = quantiles(ratios, n=20, method="inclusive")
        between = f"{twentieths[0]:.2f} to {twentieths[-1]:.2f}"
        times = f"{median(self.old) * 1e3:,.2f} | {median(self.new) * 1e3:,.2f}"
        return f"| {self.group}: {self.name} | {times} | {median(ratios):.2f} | {between} | {len(ratios)} |"


def extracted(revision: str, folder: Path) -> str:
    """Write the `probe` of a revision into a folder, and return the revision's short name.

    Raises:
        TreeError: git does not know the revision.
    """
    commit = git("rev-parse", "--short", "--verify", f"{revision}^{{commit}}").decode().strip()
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", commit, "probe"))) as archive:
        archive.extractall(folder, filter="data")
    return commit


def git(*words: str) -> bytes:
    """Return what git prints."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise TreeError(f"git {' '.join(words)}: {done.stderr.decode().strip()}")
    return done.stdout


def compare(old: Tree, new: Tree, group: str, name: str, room: Path) -> None:
    """Let both trees do a task, and compare the results.

    Raises:
        TreeError: they differ.
    """
    results = [str(room / which) for which in ("old.pt", "new.pt")]
    for tree, path in zip((old, new), results, strict=True):
        tree.ask(do="make", group=group, name=name, results=path)
    difference = new.ask(do="differ", results=results[0])
    for path in results:
        Path(path).unlink()
    if isinstance(difference, str):
        raise TreeError(f"{group}: {name}: {new.name} and {old.name} have {difference}.")
    if not difference <= TOLERANCE:
        raise TreeError(
            f"{group}: {name}: {new.name} and {old.name} differ by {difference:.3g} (allowed: {TOLERANCE:g})."
        )


def timed(old: Tree, new: Tree, group: str, name: str, seconds: float) -> Timing:
    """Time a task that both trees have made, each of the two first in turn, for about so many CPU seconds."""
    slices = max(old.ask(do="warm") + new.ask(do="warm"), 1e-3)
    found: dict[Tree, list[float]] = {old: [], new: []}
    for number in range(max(FEWEST, round(seconds / slices))):
        for tree in (new, old) if number % 2 else (old, new):
            found[tree].append(tree.ask(do="time"))
    return Timing(group, name, found[old], found[new])


def timings(
    folder: Path, revision: str, tasks: Sequence[tuple[str, str]], seconds: float, room: Path
) -> Iterator[Timing]:
    """Compare and time tasks in the tree of a folder and in this one."""
    with Tree(revision, folder) as old, Tree("this tree", ROOT) as new:
        for group, name in tasks:
            compare(old, new, group, name, room)
            yield timed(old, new, group, name, seconds)


def main() -> int:
    """Print the table as its rows are measured."""
    parser = argparse.ArgumentParser(description="Time this working tree beside another revision.")
    parser.add_argument("revision", help="a commit, branch or tag of this repository")
    parser.add_argument("--seconds", type=float, default=4.0, help="CPU seconds of each task, both trees together")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="groups or names of tasks")
    options = parser.parse_args()
    from .tasks import chosen  # torch, which the parser does without

    try:
        tasks = list(chosen(options.only))
    except ValueError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        folder = room / "tree"
        try:
            revision = extracted(options.revision, folder)
            for line in table(timings(folder, revision, tasks, options.seconds, room), revision):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
        except TreeError as error:
            sys.exit(str(error))
    return 0


def table(found: Iterator[Timing], revision: str) -> Iterator[str]:
    """Yield the lines of the table."""
    yield HEAD.format(revision=revision)
    for timing in found:
        yield timing.row()


if __name__ == "__main__":
    sys.exit(main())
