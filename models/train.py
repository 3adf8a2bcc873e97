"""Train networks: `python -m models.train --recipe counter --seed 0 --out DIR`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

if TYPE_CHECKING:
    from .recipes import Recipe
    from .state import Measurement

# Exit codes: 1 something could not be used or written, 2 wrong usage, 130 Ctrl-C (128 + SIGINT).
FAILED, USAGE, INTERRUPTED = 1, 2, 130


def _whole(_: object, tokens: Sequence[cyclopts.Token]) -> int:
    """Return a written whole number; cyclopts alone would round 1.5 to 2 and train that."""
    text = tokens[0].value
    if not text.removeprefix("-").isdecimal():
        raise ValueError(f"{text!r} is no whole number; give one such as 3.")
    return int(text)


Whole = Annotated[int, cyclopts.Parameter(converter=_whole)]
app = cyclopts.App(name="python -m models.train", help_format="plaintext", version_flags=[])


@app.default
def train(
    *,
    out: Path,
    recipe: str = "counter",
    seed: Whole | None = None,
    seeds: str | None = None,
    epochs: Whole | None = None,
    threads: Whole = 1,
    resume: Annotated[bool, cyclopts.Parameter(negative=())] = False,
    overwrite: Annotated[bool, cyclopts.Parameter(negative=())] = False,
    quiet: Annotated[bool, cyclopts.Parameter(negative=())] = False,
) -> int:
    """Train networks and write weights, description and metrics into a folder.

    Args:
        out: folder of the network; with --seeds, the folder that gets one folder seed-N for each.
        recipe: name of a recipe in models/recipes.py.
        seed: 0 or more; default 0.
        seeds: train several, one after the other: 0:10 means 0 to 9.
        epochs: passes over the training strings, instead of the recipe's own.
        threads: of torch; more than one is many times slower on networks this small, and gives other bits.
        resume: go on with an interrupted training; finished networks are left alone.
        overwrite: replace what is there.
        quiet: show no progress.
    """
    chosen = [seed or 0] if seeds is None else _parse_seeds(seeds)
    fault = None
    if seed is not None and seeds is not None:
        fault = "Give --seed or --seeds, not both."
    elif resume and overwrite:
        fault = "Give --resume or --overwrite, not both."
    elif not chosen:
        fault = f"--seeds is {seeds!r}; give a range such as 0:10, which means 0 to 9."
    elif not out.name:
        fault = f"--out is {str(out)!r}; give the network a folder of its own, such as build/models/counter/seed-0."
    elif threads < 1:
        fault = f"--threads is {threads}; give 1 or more."
    if fault:
        return _fail(fault, USAGE)
    folders = {number: out if seeds is None else out / f"seed-{number}" for number in chosen}
    try:
        # Torch loads in there: --help stays fast, and Ctrl-C during the import is a clean exit too.
        failure = _train_all(recipe, epochs, threads, folders, resume=resume, overwrite=overwrite, quiet=quiet)
    except KeyboardInterrupt:
        return _fail(
            "Interrupted. With --resume, and without --overwrite, the same command goes on from here.",
            INTERRUPTED,
        )
    if failure:
        return _fail(failure, FAILED)
    files = [path for folder in folders.values() for path in folder.iterdir() if path.is_file()]
    sys.stdout.write(f"{out} {sum(path.stat().st_size for path in files)} bytes\n")
    return 0


def _train_all(
    name: str,
    epochs: int | None,
    threads: int,
    folders: dict[int, Path],
    *,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> str | None:
    """Train a network for each seed; return what failed, if anything did."""
    import torch

    from probe.errors import ProbeError

    from .recipes import recipe as find
    from .training import train as run

    torch.set_num_threads(threads)
    try:
        plan = find(name)
        if epochs is not None:
            plan = dataclasses.replace(plan, epochs=epochs)
        for seed, folder in folders.items():
            with _progress(plan, seed, quiet) as show:
                run(plan, seed, folder, resume=resume, overwrite=overwrite, progress=show)
    except ProbeError as error:
        return str(error)
    return None


class _Bar:
    """The progress line of one network on stderr."""

    def __init__(self, recipe: Recipe, seed: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("step {task.completed}/{task.total}"),
            TextColumn("loss {task.fields[loss]:.4g}  test error {task.fields[error]:.2%}"),
            TimeRemainingColumn(),
            console=console,
            # A log file or a pipe would be filled with control codes.
            disable=quiet or not console.is_terminal,
        )
        nan = float("nan")
        self.task = self.bar.add_task(f"seed {seed}", total=recipe.steps, loss=nan, error=nan)

    def __call__(self, now: Measurement) -> None:
        self.bar.update(self.task, completed=now.step, loss=now.loss, error=now.test_error)


@contextmanager
def _progress(recipe: Recipe, seed: int, quiet: bool) -> Iterator[_Bar]:
    bar = _Bar(recipe, seed, quiet)
    with bar.bar:
        yield bar


def _parse_seeds(text: str) -> list[int]:
    """Return the seeds of `first:end`, nothing where the text is no such range."""
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal()):
        return []
    return list(range(int(first), int(end)))


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
