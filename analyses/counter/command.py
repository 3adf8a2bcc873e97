"""The command line of the analyses: `python -m analyses counter`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cyclopts

from analyses.counter import POPULATION_QUESTIONS, QUESTIONS
from models.train import MOST, Whole, parse_seeds
from probe.errors import ProbeError, unknown

FAILED, USAGE, INTERRUPTED = 1, 2, 130
OUT = Path("build/findings/counter")


def _listed(names: Sequence[str]) -> str:
    """Return names as the command line writes them."""
    return ", ".join(name.replace("_", "-") for name in names)


NAMES = (
    f"which questions: {_listed(QUESTIONS)}; default: all, and then also what needs all of them: "
    f"{_listed(POPULATION_QUESTIONS)}."
)
#: What is answered only together with everything else.
TOGETHER = (*POPULATION_QUESTIONS, "verdicts")


def run(arguments: Sequence[str] | None = None) -> int:
    """Answer questions about the counter from the command line.

    Args:
        arguments: words of the command line, or None for the program's own.

    Returns:
        The exit code: 0, 1 where something could not be read or written, 2 for wrong usage, 130 for Ctrl-C.
    """
    app = cyclopts.App(name="python -m analyses counter", help_format="plaintext", version_flags=[])

    @app.default
    def answer(
        *names: Annotated[str, cyclopts.Parameter(help=NAMES)],
        out: Path | None = None,
        checkpoint: Path | None = None,
        figures: Path | None = None,
        recipe: str | None = None,
        seeds: str | None = None,
        measured: Path | None = None,
        jobs: Whole = 1,
        cluster: str | None = None,
    ) -> int | None:
        """Answer questions about the counter and write a folder for each (table, claims, figures).

        Of two questions or more findings.json holds all claims together; a question alone writes none. Without
        --checkpoint and --recipe the answers are made from the measurements of the study's networks.

        Args:
            names: which questions, see `NAMES`.
            out: folder that gets a folder for each question; default build/findings/counter.
            checkpoint: folder of one counter, trained here or elsewhere, to be asked instead of the study's networks.
            figures: folder that gets every figure for papers, as SVG, PDF and PNG, in a folder for each question.
            recipe: measure the committed networks of this recipe (or `planted`, `all`) and write no findings;
                what was measured before, of the same weights and inputs and in the same version, is kept.
            seeds: with --recipe, which: 0:10 means 0 to 9; default: all that are committed.
            measured: where the measurements lie; default: analyses/counter/measured.
            jobs: how many processes measure or answer at a time, each on one thread.
            cluster: with --recipe, address of a dask scheduler whose workers measure; they must see the same folders.
        """
        questions = [name for name in QUESTIONS if name.replace("_", "-") in names or name in names] or QUESTIONS
        fault, shows = _fault_of_names(names), figures is not None
        fault = fault or _fault(checkpoint=checkpoint, shows=shows, recipe=recipe, seeds=seeds, measured=measured)
        fault = fault or _fault_of_workers(jobs, cluster, recipe=recipe, out=out)
        if fault is not None:
            sys.stderr.write(f"error: {fault}\n")
            return USAGE
        places = {"measured": measured, "checkpoint": checkpoint, "figures": figures}
        lines = _worked(questions, recipe, seeds, out=out, jobs=jobs, cluster=cluster, **places)
        sys.stdout.write("".join(f"{line}\n" for line in lines))

    return _ran(app, arguments)


def _worked(
    questions: Sequence[str],
    recipe: str | None,
    seeds: str | None,
    *,
    out: Path | None,
    jobs: int,
    cluster: str | None,
    **places: Path | None,
) -> list[str]:
    """Measure networks, where there is a recipe, or answer questions, and return what is printed."""
    out = OUT if out is None else out
    if recipe is None:
        for name in questions:
            _refuse_others(out / name)
    sys.stderr.write("Loading the networks and what was measured of them.\n")
    # Torch loads in there: --help stays fast.
    from analyses.counter import answering

    if recipe is None:
        return answering.answer(questions, out, jobs, **places)
    chosen = parse_seeds(seeds or "") or None
    return answering.measure(questions, recipe, chosen, places["measured"], jobs=jobs, cluster=cluster)


def _refuse_others(folder: Path) -> None:
    """Raise where a finding would be mixed into a folder that holds something else."""
    if folder.exists() and not (folder / "finding.json").is_file():
        if folder.is_dir() and not any(folder.iterdir()):
            return
        raise ProbeError(f"{str(folder)!r} exists and is no finding. Choose another --out, or remove it.")


def _ran(app: cyclopts.App, arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code."""
    try:
        return app(arguments, exit_on_error=False, result_action="return_value") or 0
    except cyclopts.CycloptsError:
        return USAGE  # cyclopts has shown what was wrong
    except KeyboardInterrupt:
        sys.stderr.write("error: Interrupted. What was written so far is whole, and the same command goes on.\n")
        return INTERRUPTED
    except ProbeError as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED


def _fault_of_names(names: Sequence[str]) -> str | None:
    """Return what is wrong with the names of questions, if anything is."""
    strange = next((name for name in names if name.replace("-", "_") not in QUESTIONS), None)
    if strange is None:
        return None
    if strange.replace("-", "_") in TOGETHER:
        return (
            f"There is no question {strange!r} to be asked alone: it needs all others. `python -m analyses "
            f"counter` with no name answers every question, and makes {strange} with them."
        )
    return unknown("question", strange, [name.replace("_", "-") for name in QUESTIONS])


def _fault(
    *, checkpoint: Path | None, shows: bool, recipe: str | None, seeds: str | None, measured: Path | None
) -> str | None:
    """Return what is wrong with options that go together or not, if anything is."""
    wrong = {
        "--checkpoint and --recipe choose the networks in two ways; give one of them.": (
            checkpoint is not None and recipe is not None
        ),
        "--seeds goes with --recipe; give both.": seeds is not None and recipe is None,
        f"--recipe {recipe}: these networks have no seeds to choose; leave --seeds out.": (
            seeds is not None and recipe in ("planted", "all")
        ),
        "--checkpoint is measured anew and nothing of it is kept; leave --measured out.": (
            checkpoint is not None and measured is not None
        ),
        "--recipe measures and shows nothing; leave --figures out.": recipe is not None and shows,
        f"--seeds is {seeds!r}; give a range such as 0:10, which means 0 to 9, of {MOST} at most.": (
            seeds is not None and not parse_seeds(seeds)
        ),
    }
    return next((fault for fault, is_so in wrong.items() if is_so), None)


def _fault_of_workers(jobs: int, cluster: str | None, *, recipe: str | None, out: Path | None) -> str | None:
    """Return what is wrong with who does the work and where it goes, if anything is."""
    wrong = {
        f"--jobs is {jobs}; give 1 or more.": jobs < 1,
        "Give --jobs for processes on this machine or --cluster for others, not both.": (
            cluster is not None and jobs > 1
        ),
        "--cluster goes with --recipe: its workers measure; leave it out, or give both.": (
            cluster is not None and recipe is None
        ),
        "--recipe measures into --measured and writes no findings; leave --out out.": (
            recipe is not None and out is not None
        ),
    }
    return next((fault for fault, is_so in wrong.items() if is_so), None)
