"""`python -m models.train --recipe counter --seed 0 --out DIR`: trains networks."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

if TYPE_CHECKING:
    from .training import Job, Measurement

# Exit codes: 1 something could not be used or written, 2 wrong usage, 130 Ctrl-C (128 + SIGINT).
FAILED, USAGE, INTERRUPTED = 1, 2, 130
AGAIN = "With --resume, and without --overwrite, the same command goes on from here."


def _whole(_: object, tokens: Sequence[cyclopts.Token]) -> int:
    """Return a written whole number; cyclopts alone would round 1.5 to 2 and train that."""
    text = tokens[0].value
    if not text.removeprefix("-").isdecimal():
        raise ValueError(f"{text!r} is no whole number; give one such as 3.")
    return int(text)


Whole = Annotated[int, cyclopts.Parameter(converter=_whole)]
app = cyclopts.App(name="python -m models.train", help_format="plaintext", version_flags=[])


Flag = Annotated[bool, cyclopts.Parameter(negative=())]
EVERY = "all"
#: Networks of one command.
MOST = 100_000


@app.default
def train(
    *,
    out: Path,
    recipe: str | None = None,
    seed: Whole | None = None,
    seeds: str | None = None,
    population: str | None = None,
    epochs: Whole | None = None,
    jobs: Whole = 1,
    cluster: str | None = None,
    threads: Whole = 1,
    missing: Flag = False,
    resume: Flag = False,
    overwrite: Flag = False,
    quiet: Flag = False,
) -> int:
    """Train networks and write weights, description and metrics into a folder.

    Args:
        out: folder of the network; with --seeds, the folder that gets one folder seed-N for each; with --population,
            the folder that gets RECIPE/seed-N.
        recipe: name of a recipe in models/recipes.py; default counter.
        seed: 0 or more; default 0.
        seeds: train several: 0:10 means 0 to 9.
        population: train the networks of a population in models/populations.py; or all: of all but the planned ones.
        epochs: passes over the training strings, instead of the recipe's own.
        jobs: how many networks are trained at a time, each in a process of its own; the files are the same.
        cluster: address of a dask scheduler whose workers train, in place of --jobs; they must see the same folder.
        threads: of torch; more than one is many times slower on networks this small, and gives other bits.
        missing: with --population, leave out the networks that models/zoo holds.
        resume: finished networks are checked and left alone.
        overwrite: replace what is there.
        quiet: show no progress.
    """
    several = seeds is not None or population is not None
    chosen = parse_seeds(seeds) if seeds is not None else [seed or 0]
    wanted = _Wanted(recipe or "counter", chosen, population, epochs, out, several=several, missing=missing)
    fault = _fault_of_networks(recipe, seed, seeds, wanted) or _fault_of_work(out, jobs, cluster, threads)
    if resume and overwrite:
        fault = "Give --resume or --overwrite, not both."
    if fault:
        return _fail(fault, USAGE)
    try:
        # Torch loads in there: --help stays fast, and Ctrl-C during the import is a clean exit too.
        return _train_all(wanted, jobs, cluster, threads, resume=resume, overwrite=overwrite, quiet=quiet)
    except KeyboardInterrupt:
        return _fail(f"Interrupted. {AGAIN}", INTERRUPTED)


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Which networks a command asks for, and where they go."""

    recipe: str
    seeds: list[int]
    population: str | None
    epochs: int | None
    out: Path
    several: bool
    missing: bool

    def jobs(self) -> list[Job]:
        from . import zoo
        from .populations import POPULATIONS, population
        from .recipes import recipe
        from .training import Job

        if self.population is None:
            asked = [(self.recipe, seed, f"seed-{seed}" if self.several else "") for seed in self.seeds]
        else:
            parts = POPULATIONS if self.population == EVERY else [population(self.population)]
            asked = [(part.recipe, seed, f"{part.recipe}/seed-{seed}") for part in parts for seed in part.seeds]
            held = {name: zoo.committed_seeds(name) for name in {name for name, *_ in asked}} if self.missing else {}
            asked = [each for each in asked if each[1] not in held.get(each[0], ())]
        changes = {} if self.epochs is None else {"epochs": self.epochs}
        # Whole paths: a worker may stand in another folder.
        return [
            Job(dataclasses.replace(recipe(name), **changes), seed, (self.out / place).absolute())
            for name, seed, place in asked
        ]


def _fault_of_networks(recipe: str | None, seed: int | None, seeds: str | None, wanted: _Wanted) -> str | None:
    """Return what is wrong with the options that choose networks, if anything is."""
    if seed is not None and seeds is not None:
        return "Give --seed or --seeds, not both."
    if wanted.population is not None and (recipe, seed, seeds) != (None, None, None):
        return "--population names recipe and seeds; give it without --recipe, --seed and --seeds."
    if wanted.missing and wanted.population is None:
        return "--missing is about the networks of a population; give --population too."
    if wanted.missing and wanted.epochs is not None:
        return "--missing leaves out what models/zoo holds, trained by the recipe; give no --epochs with it."
    if not wanted.seeds:
        return f"--seeds is {seeds!r}; give a range such as 0:10, which means 0 to 9, of {MOST} at most."
    return None


def _fault_of_work(out: Path, jobs: int, cluster: str | None, threads: int) -> str | None:
    """Return what is wrong with who does the work and where it goes, if anything is."""
    if not out.name:
        return f"--out is {str(out)!r}; give the network a folder of its own, such as build/models/counter/seed-0."
    if threads < 1:
        return f"--threads is {threads}; give 1 or more."
    if jobs < 1:
        return f"--jobs is {jobs}; give 1 or more."
    if cluster is not None and jobs > 1:
        return "Give --jobs for processes on this machine or --cluster for others, not both."
    return None


def _train_all(
    wanted: _Wanted,
    jobs: int,
    cluster: str | None,
    threads: int,
    *,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Train every network that is asked for and return the exit code."""
    from rich.console import Console
    from rich.progress import Progress

    from probe.errors import ProbeError
    from probe.studies.workers import parallel

    from .training import clear, train_job

    console, done, trained = Console(stderr=True), 0, 0
    # A line for each network where there is no terminal, since control codes would fill a log.
    bars = Progress(console=console, disable=quiet or not console.is_terminal)

    def show(now: Measurement) -> None:
        text = f"loss {now.loss:.4g}, test error {now.test_error:.2%}"
        bars.update(steps, completed=trained + now.step, description=text, refresh=True)

    try:
        work = wanted.jobs()
        for job in work:
            clear(job.folder, resume=resume, overwrite=overwrite)
        alone = jobs == 1 and cluster is None
        calls = [(job, threads, show) if alone else (job, threads) for job in work]
        with bars:
            steps = bars.add_task("", total=sum(job.recipe.steps for job in work))
            for job, test_error in parallel(train_job, calls, jobs=jobs, cluster=cluster, again=AGAIN):
                done, trained = done + 1, trained + job.recipe.steps
                text = f"{done} of {len(work)}, {job.name}: test error {test_error:.2%}"
                bars.update(steps, completed=trained, description=text, refresh=True)
                if bars.disable and not quiet and len(work) > 1:
                    sys.stderr.write(f"{text}\n")
    except ProbeError as error:
        return _fail(str(error), FAILED)
    files = [path for job in work for path in job.folder.iterdir() if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    sys.stdout.write(f"{wanted.out} {size} bytes\n" if work else "The zoo holds every network: none was trained.\n")
    return 0


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of `first:end`, nothing where the text is no such range, or one of more than `MOST`."""
    first, _, end = text.partition(":")
    seeds = range(int(first), int(end)) if first.isdecimal() and end.isdecimal() else range(0)
    return list(seeds[: MOST + 1]) if len(seeds[: MOST + 1]) <= MOST else []


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: what follows `python -m models.train`; default: what the program was started with.
    """
    try:
        return (
            app(
                sys.argv[1:] if arguments is None else arguments,
                exit_on_error=False,
                result_action="return_value",
            )
            or 0
        )
    except cyclopts.CycloptsError:
        return USAGE  # cyclopts has shown what was wrong


if __name__ == "__main__":
    sys.exit(main())
