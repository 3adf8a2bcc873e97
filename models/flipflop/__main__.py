"""`python -m models.flipflop --out DIR --jobs N`: trains the flip-flops of the study."""

from __future__ import annotations

import sys
from pathlib import Path

import cyclopts

from probe.errors import ProbeError
from probe.studies.workers import parallel

from ..train import INTERRUPTED, USAGE, Flag, Whole, parse_seeds, run
from .stored import ALL, pack, train_into
from .training import RECIPES

app = cyclopts.App(name="python -m models.flipflop", help_format="plaintext", version_flags=[])


@app.default
def train(*, out: Path, cell: str | None = None, seeds: str | None = None, jobs: Whole = 1, zoo: Flag = False) -> int:
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
    if not chosen or cells[0] not in RECIPES or jobs < 1:
        sys.stderr.write(
            f"error: give --cell of {', '.join(RECIPES)}, --seeds such as 0:10, and --jobs of 1 or more.\n"
        )
        return USAGE
    try:
        work = [(out.absolute(), one, seed) for one in cells for seed in chosen]
        for name, seed, found in parallel(train_into, work, jobs=jobs):
            wrong, squared = found["wrong_sign"], found["mean_squared_error"]
            sys.stderr.write(f"{name}, seed {seed}: {wrong:.3%} of the signs wrong, squared error {squared:.2g}\n")
        for one in cells if zoo else ():
            sys.stdout.write(f"{pack(out, one)}\n")
    except ProbeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("error: Interrupted. The same command goes on from here.\n")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(run(app))
