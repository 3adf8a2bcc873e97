"""`python -m models.train --recipe counter --seed 0 --out DIR`: trains networks, counters and flip-flops."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from probe.command_line import shell
from probe.command_line.shell import UsageError, Whole, at_least_one, check, command, emit

if TYPE_CHECKING:
    from .training import Job

AGAIN = "With --resume, and without --overwrite, the same command goes on from here."


app = command("python -m models.train")
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
    missing: bool = False,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Train networks and write weights, description and metrics into a folder.

    Args:
        out: folder of the network; with --seeds, the folder that gets one folder seed-N for each; with --population,
            the folder that gets RECIPE/seed-N.
        recipe: name of a recipe in models/recipes.py; default counter.
        seed: 0 or more; default 0.
        seeds: train several: 0:10 means 0 to 9.
        population: train the networks of a population in models/populations.py, or all.
        epochs: passes over the training strings, instead of the recipe's own.
        jobs: how many networks are trained at a time, each in a process on one thread; the files are the same.
        missing: with --population, leave out the networks that models/zoo holds.
        resume: finished networks are checked and left alone.
        overwrite: replace what is there.
    """
    chosen = parse_seeds(seeds) if seeds is not None else [seed or 0]
    fault = None
    if seed is not None and seeds is not None:
        fault = "Give --seed or --seeds, not both."
    elif population is not None and (recipe, seed, seeds) != (None, None, None):
        fault = "--population names recipe and seeds; give it without --recipe, --seed and --seeds."
    elif missing and (population is None or epochs is not None):
        fault = "--missing leaves out what models/zoo holds; give it with --population and without --epochs."
    elif not chosen:
        fault = f"--seeds is {seeds!r}; give a range such as 0:10, which means 0 to 9, of {MOST} at most."
    elif not out.name:
        fault = f"--out is {str(out)!r}; give the network a folder of its own, such as build/models/counter/seed-0."
    elif resume and overwrite:
        fault = "Give --resume or --overwrite, not both."
    if fault:
        raise UsageError(fault)
    at_least_one("--jobs", jobs)
    # Torch loads in there: --help stays fast, and Ctrl-C during the import is a clean exit too.
    places = {seed: out / f"seed-{seed}" if seeds is not None else out for seed in chosen}
    work = _work(recipe or "counter", places, population, epochs, out, missing=missing)
    _train_all(work, out, jobs, resume=resume, overwrite=overwrite)


def _work(
    name: str, places: dict[int, Path], population: str | None, epochs: int | None, out: Path, *, missing: bool
) -> list[Job]:
    """Return the networks that are asked for."""
    from . import zoo
    from .populations import POPULATIONS
    from .populations import population as find_population
    from .recipes import RECIPES, recipe
    from .training import Job

    check("recipe", [name], RECIPES)
    asked = [(name, seed, place) for seed, place in places.items()]
    if population is not None:
        check("population", [population], [EVERY, *(each.name for each in POPULATIONS)])
        parts = POPULATIONS if population == EVERY else [find_population(population)]
        held = {part.recipe: zoo.committed_seeds(part.recipe) if missing else [] for part in parts}
        asked = [
            (part.recipe, seed, out / part.recipe / f"seed-{seed}")
            for part in parts
            for seed in part.seeds
            if seed not in held[part.recipe]
        ]
    changes = {} if epochs is None else {"epochs": epochs}
    # Whole paths: a worker may stand in another folder.
    return [Job(dataclasses.replace(recipe(each), **changes), seed, place.absolute()) for each, seed, place in asked]


def _train_all(work: list[Job], out: Path, jobs: int, *, resume: bool, overwrite: bool) -> None:
    """Train networks, with a line for each on the terminal."""
    from probe.studies.workers import parallel

    from .training import clear, train_job

    for job in work:
        clear(job.folder, resume=resume, overwrite=overwrite)
    done = parallel(train_job, [(job,) for job in work], jobs=jobs, again=AGAIN)
    took = 0.0
    for number, (job, test_error, seconds) in enumerate(done, start=1):
        took += seconds
        if len(work) > 1:
            sys.stderr.write(f"{number} of {len(work)}, {job.name}: test error {test_error:.2%}\n")
    files = [path for job in work for path in job.folder.iterdir() if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    emit(
        f"{out} {size} bytes, trained in {took:.0f} s of CPU time"
        if work
        else "The zoo holds every network: none was trained."
    )


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of `first:end`, nothing where the text is no such range, or one of more than `MOST`."""
    first, _, end = text.partition(":")
    seeds = range(int(first), int(end)) if first.isdecimal() and end.isdecimal() else range(0)
    return list(seeds[: MOST + 1]) if len(seeds[: MOST + 1]) <= MOST else []


def main(arguments: list[str] | None = None) -> int:
    """Run `python -m models.train` and return its exit code.

    Args:
        arguments: what follows its name; None for what the program was started with.
    """
    return shell.run(app, arguments, again=AGAIN)


if __name__ == "__main__":
    shell.leave(main())
