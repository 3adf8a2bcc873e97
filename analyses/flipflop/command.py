"""`python -m analyses flipflop`: the verdicts on the committed flip-flops, and the page of the study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from models.train import Flag, Whole
from probe.errors import ProbeError

FAILED, USAGE, INTERRUPTED = 1, 2, 130
OUT = Path("build/reports/flipflop")
app = cyclopts.App(name="python -m analyses flipflop", help_format="plaintext", version_flags=[])


@app.default
def flipflop(
    *, out: Annotated[Path, cyclopts.Parameter(name=["--out", "-o"])] = OUT, jobs: Whole = 1, again: Flag = False
) -> int:
    """Print the verdicts on the committed flip-flops, and write the page of the study.

    What was measured of the weights that are here is kept; the tables lie in analyses/flipflop/measured.

    Args:
        out: folder that gets index.html.
        jobs: how many cells are measured at a time, each in a process on one thread.
        again: measure everything again.
    """
    if jobs < 1:
        sys.stderr.write(f"error: --jobs is {jobs}; give 1 or more.\n")
        return USAGE
    # Torch loads in there: --help stays fast.
    from analyses.flipflop import measuring, page, verdicts

    tables = measuring.tables(jobs, again=again)
    sys.stdout.write(verdicts.lines(tables))
    path = page.write(out, jobs=jobs)
    sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")
    return 0


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 (failed), 2 (wrong usage) or 130 (interrupted).

    Args:
        arguments: what follows `python -m analyses flipflop`; None for the program's own.
    """
    try:
        return app(arguments, exit_on_error=False, result_action="return_value") or 0
    except cyclopts.CycloptsError:
        return USAGE
    except ProbeError as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("error: Interrupted. What was written so far is whole, and the same command goes on.\n")
        return INTERRUPTED
