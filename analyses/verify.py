"""Measure again and compare: `python -m analyses.verify`. A value that moved without a new version is an error.

The panel is the same each time: networks of each kind, asked all that the study asks them. Beside it one in a
hundred of the other groups is measured, chosen by the commit, so that each comes in turn.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

import cyclopts
import numpy as np
import pandas as pd

from models.parallel import parallel
from models.train import Flag, Whole
from probe import ProbeError
from probe.measurements import COLUMNS

from . import common, measured, study

#: Two counters with what is measured beside them, another question, an answer after every step, TensorFlow's
#: network, a planted count, a planted count that nothing reads, and another code of bits.
PANEL = (
    study.Group("counter", "seed-1000"),
    study.Group("counter", "seed-1050"),
    study.Group("template", "seed-1000"),
    study.Group("every-step", "seed-1000"),
    study.Group("tf1", "seed-0"),
    study.Group("planted", "ones"),
    study.Group("planted", "decoy"),
    study.Group("code-signed", "seed-1000"),
)
#: How far a value may lie from the stored one, relative to the largest value of its metric in the same network: a
#: mean that is nearly 0 is as exact as the numbers that it is the mean of, which are rounded in float32. `ATOL`
#: is the distance of two float32 numbers about 10, which answers in counts are.
RTOL, ATOL = 1e-6, 1e-6
#: One of so many groups beside the panel.
ONE_IN = 100
#: So many moved values of a question and network are named one by one.
NAMED = 3
KEY = [name for name in COLUMNS if name != "value"]


@dataclass(frozen=True)
class Again:
    """What came of measuring a group again.

    Attributes:
        group: which.
        values: how many values were compared.
        left_out: how many values were not compared, see `settled`.
        faults: what is wrong, a sentence each.
        seconds: of processor time.
    """

    group: study.Group
    values: int
    left_out: int
    faults: tuple[str, ...]
    seconds: float


def rolling(commit: str, among: Sequence[study.Group]) -> list[study.Group]:
    """Return one in a hundred of some groups, rounded up, chosen by a commit."""
    ranked = sorted(
        among, key=lambda group: hashlib.sha256(f"{commit} {group.recipe} {group.member}".encode()).digest()
    )
    return ranked[: -(-len(ranked) // ONE_IN)]


def again(group: study.Group) -> Again:
    """Measure a group again and compare it with what is stored."""
    common.limit_threads()
    start = time.process_time()
    networks = group.networks()
    path = measured.FOLDER / f"{group.recipe}{measured.SUFFIX}"
    stored = measured.gather([(path, group.member, measured.digests(networks))], group.questions)
    made = measured.read(path)[group.member].made
    faults, values, left_out = [], 0, 0
    for question in group.questions:
        every = import_module(f"analyses.{question}").measure(networks)
        same_machine = made[question].get("arithmetic") == measured.arithmetic()
        old, found = (each if same_machine else settled(question, each) for each in (stored[question], every))
        faults += [f"{group.recipe}/{group.member}: {fault}" for fault in differences(question, old, found)]
        values, left_out = values + len(found), left_out + len(every) - len(found)
    return Again(group, values, left_out, tuple(faults), time.process_time() - start)


def settled(question: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose values another processor's rounding leaves as they are: all but the question's
    `SENSITIVE`.

    Where the stored value was measured by the same arithmetic, those are compared as all others are.
    """
    sensitive = getattr(import_module(f"analyses.{question}"), "SENSITIVE", ())
    drop = np.zeros(len(table), dtype=bool)
    for metric, signal in sensitive:
        drop |= ((table["metric"] == metric) & (table["signal"].isin([signal]) if signal else True)).to_numpy()
    return table[~drop].reset_index(drop=True)


def differences(question: str, old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """Return how two tables of a question differ, a sentence each; nothing where they agree.

    Args:
        question: which, for the sentences.
        old: what is stored.
        new: what was measured now.
    """
    version = measured.version_of(question)
    advice = (
        f"If what {question} computes was changed on purpose, raise VERSION in analyses/{question}.py and run "
        "`make study`; otherwise find what moved it."
    )
    keys = [_keys(table) for table in (old, new)]
    if not keys[0].equals(keys[1]):
        gone, came = (left[~left.isin(right)] for left, right in (keys, keys[::-1]))
        rows = [f"lacks {_named(key)}" for key in gone[:NAMED]] + [
            f"has the new {_named(key)}" for key in came[:NAMED]
        ]
        said = "; ".join(rows) or "has its rows in another order or number"
        return [
            f"{question} (version {version}) {said}: {len(old)} rows are stored, {len(new)} were measured. {advice}"
        ]
    before, after = old["value"].to_numpy(dtype=float), new["value"].to_numpy(dtype=float)
    finite = pd.Series(np.where(np.isfinite(before), np.abs(before), 0.0))
    whose = [old[name].to_numpy() for name in ("metric", "signal", "network")]
    scale = finite.groupby(whose).transform("max").to_numpy()
    with np.errstate(invalid="ignore"):  # two infinities are equal, and their difference is no number
        size = np.where(before == after, 0.0, np.abs(after - before))
    same = (size <= np.maximum(RTOL * scale, ATOL)) | (np.isnan(before) & np.isnan(after))
    moved = np.flatnonzero(~same)
    if not len(moved):
        return []
    # The largest first; a number that became none, or the other way, before all.
    worst = moved[
        np.argsort(-np.nan_to_num(size[moved] / np.maximum(scale[moved], 1e-300), nan=np.inf), kind="stable")
    ]
    worst = worst[:NAMED]
    told = "; ".join(f"{_named(keys[0].iloc[row])}: {before[row]:.9g} before, {after[row]:.9g} now" for row in worst)
    return [f"{question} (version {version}) moved in {len(moved)} of {len(old)} values: {told}. {advice}"]


def _keys(table: pd.DataFrame) -> pd.Series:
    """Return for each row which value of what it is."""
    columns = [table[name].astype(str).where(table[name].notna(), "") for name in KEY]
    return pd.Series(list(zip(*columns, strict=True)), dtype=object)


def _named(key: tuple[str, ...]) -> str:
    told = dict(zip(KEY, key, strict=True))
    rest = [f"{name} {told[name]}" for name in ("signal", "units", "step") if told[name]]
    return " ".join([told["metric"], "of", told["network"], *rest])


app = cyclopts.App(name="python -m analyses.verify", help_format="plaintext", version_flags=[])


@app.default
def verify(*, everything: Flag = False, jobs: Whole = 1) -> int:
    """Measure networks again and compare each value with the stored one.

    Args:
        everything: every network of the study, about an hour of processor time; otherwise the panel, and one in a
            hundred of the others, chosen by the commit.
        jobs: how many processes measure at a time.
    """
    every = study.groups(study.EVERY)
    chosen = (
        every
        if everything
        else [*PANEL, *rolling(measured.environment()["commit"], [g for g in every if g not in PANEL])]
    )
    faults: list[str] = []
    seconds = {True: 0.0, False: 0.0}
    try:
        for one in parallel(again, [(group,) for group in chosen], jobs=jobs):
            faults += one.faults
            seconds[one.group in PANEL] += one.seconds
            verdict = "moved" if one.faults else "the same"
            name = f"{one.group.recipe}/{one.group.member}"
            beside = f", {one.left_out} left out: measured by another arithmetic" if one.left_out else ""
            sys.stdout.write(f"{verdict:<8} {one.values:6} values {one.seconds:6.1f} s  {name}{beside}\n")
            sys.stdout.flush()
    except ProbeError as error:
        sys.stderr.write("".join(f"error: {fault}\n" for fault in [*faults, str(error)]))
        return 1
    sys.stderr.write("".join(f"error: {fault}\n" for fault in faults))
    sys.stdout.write(
        f"{len(chosen)} groups measured again: {seconds[True]:.0f} s of processor time for the panel of "
        f"{len(PANEL)}, {seconds[False]:.0f} s for the others\n"
    )
    return 1 if faults else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 where a value moved."""
    try:
        return app(arguments, exit_on_error=False, result_action="return_value") or 0
    except cyclopts.CycloptsError:
        return 2


if __name__ == "__main__":
    sys.exit(main())
