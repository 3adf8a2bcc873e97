"""`python -m analyses.counter.verify`: measures again, and fails where a value moved without a new version.

The panel is the same each time: networks of each kind, asked all that the study asks them. Beside it one in a
hundred of the other groups is measured, chosen by the commit, so that each comes in turn.
"""

from __future__ import annotations

import copy
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module

import cyclopts
import numpy as np
import pandas as pd
import torch

from analyses.counter import common, measured, study
from models.train import Flag, Whole
from probe import ProbeError
from probe.evidence.measurements import COLUMNS, Network
from probe.studies import store
from probe.studies.workers import parallel

#: Two counters with what is measured beside them, an answer after every step, a planted count, a planted count that
#: nothing reads, and another code of bits.
PANEL = (
    study.Group("counter", "seed-2000"),
    study.Group("counter", "seed-2050"),
    study.Group("every-step", "seed-1000"),
    study.Group("planted", "ones"),
    study.Group("planted", "decoy"),
    study.Group("code-signed", "seed-1000"),
)
#: How far a value may lie from the stored one, relative to it.
RTOL = 1e-6
#: A value farther away may have been rounded otherwise: another processor sums in another order. Then the networks
#: are measured with each weight moved to one of its two neighbours among floating-point numbers, at most so often. A
#: value may lie `SPREADS` times as far from the stored one as the farthest that this moves one of its metric and
#: signal in the same network.
ROUNDINGS, SPREADS = 4, 10
#: One of so many groups beside the panel.
ONE_IN = 100
#: So many moved values of a question and network are named one by one.
NAMED = 3
KEY = list(COLUMNS[: COLUMNS.index("value")])


@dataclass(frozen=True)
class Again:
    """What came of measuring a group again.

    Attributes:
        group: which.
        values: how many values were compared.
        rounded: how many of them are farther than `RTOL` from the stored ones, but no farther than rounding moves
            them.
        faults: what is wrong, a sentence each.
        seconds: of processor time.
    """

    group: study.Group
    values: int
    rounded: int
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
    path = measured.FOLDER / f"{group.recipe}{store.SUFFIX}"
    versions = measured.versions(group.questions)
    stored = store.gather([(path, group.member, measured.digests(networks))], versions, measured.AGAIN)
    faults, values, excused = [], 0, 0
    for question in group.questions:
        new = import_module(f"analyses.counter.{question}").measure(networks)
        far, moved = compare(question, networks, stored[question], new)
        if len(moved):
            faults.append(f"{group.recipe}/{group.member}: {_told(question, moved, len(new))}")
        values, excused = values + len(new), excused + far - len(moved)
    return Again(group, values, excused, tuple(faults), time.process_time() - start)


def compare(
    question: str, networks: Sequence[Network], old: pd.DataFrame, new: pd.DataFrame
) -> tuple[int, pd.DataFrame]:
    """Return how many values of a question are farther than `RTOL` from the stored ones, and those that moved.

    Args:
        question: which.
        networks: whose values they are; where a value is far, they are measured again with each weight rounded.
        old: what is stored.
        new: what was measured now.
    """
    moved = differences(old, new)
    far, near = len(moved), []
    while len(moved) and len(near) < ROUNDINGS:
        near.append(import_module(f"analyses.counter.{question}").measure(rounded(networks, len(near))))
        moved = differences(old, new, near)
    return far, moved


def rounded(networks: Sequence[Network], seed: int) -> list[Network]:
    """Return networks of which each weight is moved to one of its neighbours, up or down by chance; a 0 stays."""
    generator = torch.Generator().manual_seed(seed)
    copies = [replace(network, model=copy.deepcopy(network.model)) for network in networks]
    with torch.no_grad():
        for weight in (each for network in copies for each in network.model.parameters()):
            up = torch.rand(weight.shape, generator=generator) < 0.5
            neighbour = torch.nextafter(weight, torch.where(up, torch.inf, -torch.inf).to(weight))
            weight.copy_(torch.where(weight == 0, weight, neighbour))
    return copies


def differences(old: pd.DataFrame, new: pd.DataFrame, near: Sequence[pd.DataFrame] = ()) -> pd.DataFrame:
    """Return which values of a question moved: `before` and `after`, a row a value, the farthest first.

    Args:
        old: what is stored.
        new: what was measured now.
        near: what was measured of networks that differ from these by rounding alone.

    Returns:
        Without a row where the tables agree; indexed by what stands in the columns of `KEY`, and which value of that
        it is. A value that a table lacks is None.
    """
    tables = [_values(table) for table in (old, new, *near)]
    index = list(dict.fromkeys(key for each in tables for key in each))
    before, after, *around = ([each.get(key) for key in index] for each in tables)
    size = _distance(before, after)
    known = np.abs(_numbers(after))
    limit = np.where(np.isfinite(known), RTOL * known, 0.0)
    whose = [[key[KEY.index(name)] for key in index] for name in ("metric", "signal", "network")]
    for each in around:
        spread = pd.Series(_distance(after, each)).groupby(whose).transform("max")
        limit = np.maximum(limit, SPREADS * spread.to_numpy())
    farthest = np.argsort(-size / np.where(np.isfinite(known) & (known > 0), known, 1.0), kind="stable")
    moved = [row for row in farthest if size[row] > limit[row]]
    index, before, after = ([each[row] for row in moved] for each in (index, before, after))
    return pd.DataFrame({"before": before, "after": after}, index=pd.Index(index, tupleize_cols=False), dtype=object)


def _values(table: pd.DataFrame) -> dict[tuple[str | int, ...], float]:
    """Return the values of a table by what they are of, and by which value of that it is: the first is 0."""
    columns = [table[name].astype(str).where(table[name].notna(), "") for name in KEY]
    number = table.groupby(KEY, dropna=False, sort=False).cumcount()
    return dict(zip(zip(*columns, number, strict=True), table["value"].astype(float), strict=True))


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if each is None else each for each in values], dtype=float)


def _distance(one: Sequence[float | None], other: Sequence[float | None]) -> np.ndarray:
    """Return how far values lie apart: 0 where both are missing, infinite where one is, or is no finite number."""
    alike = np.array([(left is None) == (right is None) for left, right in zip(one, other, strict=True)], dtype=bool)
    left, right = _numbers(one), _numbers(other)
    equal = alike & ((left == right) | (np.isnan(left) & np.isnan(right)))
    with np.errstate(invalid="ignore"):  # two infinities are equal, and their difference is no number
        return np.where(equal, 0.0, np.nan_to_num(np.abs(left - right), nan=np.inf))


def _told(question: str, moved: pd.DataFrame, values: int) -> str:
    """Return the sentence on values that moved."""
    texts = []
    for key, before, after in moved.head(NAMED).itertuples():
        whose = dict(zip(KEY, key, strict=False))
        place = [f"{name} {whose[name]}" for name in ("signal", "units", "step", "kind", "at") if whose[name]]
        numbers = ["absent" if each is None else f"{each:.9g}" for each in (before, after)]
        texts.append(
            " ".join([whose["metric"], "of", whose["network"], *place]) + f": {numbers[0]} before, {numbers[1]} now"
        )
    return (
        f"{question} (version {measured.versions()[question]}) moved in {len(moved)} of {values} values: "
        f"{'; '.join(texts)}. If what {question} computes was changed on purpose, raise VERSION in "
        f"analyses/counter/{question}.py and run `make study`; otherwise find what moved it."
    )


app = cyclopts.App(name="python -m analyses.counter.verify", help_format="plaintext", version_flags=[])


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
            beside = f", of which {one.rounded} as far as rounding moves them" if one.rounded else ""
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
