"""`python -m models.flipflop --out DIR --jobs N`: trains the flip-flops of the study."""

from __future__ import annotations

import sys
from pathlib import Path

from probe.command_line.shell import UsageError, Whole, at_least_one, check, command, emit, leave, run
from probe.studies.workers import parallel

from ..train import parse_seeds
from .stored import ALL, pack, train_into
from .training import RECIPES

app = command("python -m models.flipflop")


@app.default
def train(
    *, out: Path, cell: str | None = None, seeds: str | None = None, jobs: Whole = 1, zoo: bool = False
) -> None:
    """Train flip-flops; a network that is there is kept, so the same command goes on after an interrupt.

    Args:
        out: the folder that gets CELL/seed-N.
        cell: lstm, gru or rnn; default all three.
        seeds: such as 0:10, which means 0 to 9; default those of the study.
        jobs: how many networks are trained at a time, each in a process of its own; the files are the same.
        zoo: put the study's networks into models/zoo/flipflop afterwards.
    """
    chosen = list(ALL) if seeds is None else parse_seeds(seeds)
    cells = list(RECIPES) if cell is None else [cell]
    check("cell", cells, RECIPES)
    at_least_one("--jobs", jobs)
    if not chosen:
        raise UsageError(f"--seeds is {seeds!r}; give a range such as 0:10, which means 0 to 9.")
    work = [(out.absolute(), one, seed) for one in cells for seed in chosen]
    for name, seed, found in parallel(train_into, work, jobs=jobs):
        wrong, squared = found["wrong_sign"], found["mean_squared_error"]
        sys.stderr.write(f"{name}, seed {seed}: {wrong:.3%} of the signs wrong, squared error {squared:.2g}\n")
    for one in cells if zoo else ():
        emit(str(pack(out, one)))


if __name__ == "__main__":
    leave(run(app, again="The same command goes on from here."))
