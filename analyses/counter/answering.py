"""Measures the networks and writes the findings: what the command line of the analyses does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import track

from analyses.counter import (
    QUESTIONS,
    common,
    explored,
    measured,
    merged,
    over_training,
    pictures,
    study,
    training_signal,
    verdicts,
)
from probe import Finding, ProbeError
from probe.evidence.measurements import Network
from probe.studies.store import Store
from probe.studies.workers import parallel
from reports.story import whose

AGAIN = "The same command goes on from here."


def measure(
    names: Sequence[str],
    recipe: str,
    seeds: Sequence[int] | None,
    folder: Path | None,
    *,
    jobs: int,
    cluster: str | None = None,
) -> list[str]:
    """Measure what is missing of a recipe's networks, and return what there is to say, a line each.

    Workers write a part a group, and what is done when the command is interrupted stays there for the next one; in
    the end the parts are packed into the populations' files.

    Args:
        names: questions.
        recipe: see `study.groups`.
        seeds: which; None for all that are committed.
        folder: of measurements; None for the committed ones.
        jobs: worker processes.
        cluster: address of a dask scheduler whose workers are used in their place.

    Raises:
        ProbeError: a network is missing or damaged, a file cannot be written, or a worker died.
    """
    place = (measured.FOLDER if folder is None else folder).absolute()
    parts = measured.PARTS if folder is None else place / "parts"
    groups = [group for group in study.groups(recipe, seeds) if set(names) & set(group.questions)]
    if not groups:
        raise ProbeError(
            f"The networks of {recipe!r} are not asked {', '.join(names)}; see analyses/counter/study.py."
        )
    versions = measured.versions(names)
    calls = [(group, place, parts, tuple(names), versions) for group in groups]
    console = Console(stderr=True)
    work = parallel(study.measure, calls, jobs=jobs, cluster=cluster, again=AGAIN)
    shown = track(work, recipe, len(groups), console=console, disable=not console.is_terminal, transient=True)
    done = sum(bool(wanted) for wanted in shown)
    for each in dict.fromkeys(group.recipe for group in groups):
        members = {group.member: measured.digests(group.networks()) for group in groups if group.recipe == each}
        Store(place, parts, each).pack(members, measured.versions())
    return [f"{place}: {done} of {len(groups)} groups of {recipe} measured, {len(groups) - done} were there"]


def answer(
    names: Sequence[str],
    out: Path,
    jobs: int,
    *,
    measured: Path | None = None,
    checkpoint: Path | None = None,
    figures: Path | None = None,
) -> list[str]:
    """Answer questions about the study's networks or one checkpoint, write the findings, and return what they say.

    Args:
        names: questions; where it is all of them, what is read across them is written too.
        out: folder that gets a folder for each.
        jobs: worker processes.
        measured: folder of measurements; None for the committed ones.
        checkpoint: folder of one counter that is studied in place of the study's.
        figures: folder that gets every figure as SVG, PDF and PNG, in a folder for each question; None for none.

    Raises:
        ProbeError: networks or measurements are missing, damaged or stale.
    """
    common.limit_threads()
    whole = tuple(names) == QUESTIONS
    if checkpoint is None:
        networks, tables = study.judged_material(names, measured)
    else:
        networks, tables = common.networks_of(checkpoint), {}
    calls = [(name, networks, tables.get(name), out / name) for name in names]
    by_name: dict[str, Finding] = {}
    for finding in parallel(_find, calls, jobs=jobs, again=AGAIN):
        by_name[finding.question] = finding
        _say(f"Answered {finding.question.replace('_', '-')}, {len(by_name)} of {len(names)}.")
    found = {name: by_name[name] for name in names}
    if whole:
        _say("Answering what needs all of these answers.")
    if whole and checkpoint is None:
        found |= {module.QUESTION: module.find(measured) for module in (training_signal, over_training)}
        found[verdicts.QUESTION] = verdicts.find(networks, found)
        found[pictures.QUESTION] = pictures.find(networks, tables)
    for name in [name for name in found if name not in names]:
        found[name].write(out / name)
    if figures is not None:
        _say(f"Drawing the figures for papers into {figures}.")
    lines = [line for finding in found.values() for line in _lines(finding, _files(finding, out, figures))]
    if whole and checkpoint is None:
        lines.append(str(explored.write(out, networks, explored.drifts_of(found))))
    if len(names) > 1:
        lines.append(str(merged.write(out, list(found.values()))))
    return lines


def _say(line: str) -> None:
    """Say on the terminal what is being done, beside what is printed in the end."""
    sys.stderr.write(f"{line}\n")


def _lines(finding: Finding, files: Sequence[Path]) -> list[str]:
    """Return what is printed of a finding, the networks behind its numbers below its answer."""
    answer, *others = finding.lines(files)
    networks = whose(finding)
    return [answer, *[f"  {networks}"] * bool(networks), *others]


def _files(finding: Finding, out: Path, figures: Path | None) -> list[Path]:
    """Return the files of a finding's figures: those of its own folder, or those that are written for papers."""
    if figures is not None:
        return finding.save_figures(figures / finding.question)
    return [out / finding.question / "figures" / f"{figure.name}.svg" for figure in finding.figures]


def _find(name: str, networks: Sequence[Network], table: pd.DataFrame | None, folder: Path) -> Finding:
    """Answer one question and write its folder at once, so that an interrupted run keeps what it has."""
    common.limit_threads()
    module = import_module(f"analyses.counter.{name}")
    finding: Finding = module.find(networks, module.measure(networks) if table is None else table)
    finding.write(folder)
    return finding
