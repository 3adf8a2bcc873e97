"""Measures networks of a study again, and tells what moved from what only another rounding moves."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ..errors import ProbeError, unknown
from ..evidence.measurements import COLUMNS
from ..questions.question import Question
from ..subjects.subject import Subject
from .measure import Call, measured
from .networks import evaluating
from .run import plan
from .workers import one_thread, parallel

if TYPE_CHECKING:
    from .study import Study

#: How far a value may lie from the stored one, relative to it, and at least: the square of what float64 rounds is 0.
RTOL, ATOL = 1e-6, 1e-30
#: Another processor sums in another order. Where a value is farther away, networks are measured up to so often with
#: each weight moved to a neighbouring number; it may lie `SPREADS` times as far as that moves its metric and signal.
ROUNDINGS, SPREADS = 16, 10
#: So many moved values of a question and network are named one by one.
NAMED = 3
KEY = list(COLUMNS[: COLUMNS.index("value")])


@dataclass(frozen=True)
class Again:
    """What came of measuring a network with its controls again.

    Attributes:
        member: the network.
        values: how many values were compared.
        rounded: how many of them are farther than `RTOL` from the stored ones, but no farther than rounding moves
            them.
        faults: what is wrong, a sentence each.
        seconds: of processor time.
    """

    member: str
    values: int
    rounded: int
    faults: tuple[str, ...]
    seconds: float


def verify(study: Study, path: Any, members: Sequence[str] | None = None, *, jobs: int = 1) -> Iterator[Again]:
    """Yield what came of measuring networks again; see `Study.verify`."""
    with evaluating(study.networks):
        calls = {call.member: call for call in plan(study, Path(path), Path(path).parent / "parts").calls}
    for name in members or ():
        if name not in calls:
            raise ProbeError(unknown("network of the study", name, list(calls)))
    chosen = calls.values() if members is None else [calls[name] for name in members]
    found = parallel(again, [(call,) for call in chosen], jobs=jobs)
    while True:
        with evaluating(study.networks):  # whoever asks for the next one may train meanwhile
            one = next(found, None)
        if one is None:
            return
        yield one


def again(call: Call) -> Again:
    """Measure a group again and compare it with what is stored."""
    start, held = time.process_time(), call.held
    faults, values, excused = [], 0, 0
    with one_thread():
        for question in call.asked:
            if question.name not in held.tables:
                faults.append(f"{call.member}: {question.name} (version {question.version}) was not measured.")
                continue
            new = _measured(question, call.subjects)
            far, moved = compare(question, call.subjects, held.tables[question.name], new)
            if len(moved):
                faults.append(f"{call.member}: {_told(question, moved, len(new))}")
            values, excused = values + len(new), excused + far - len(moved)
    return Again(call.member, values, excused, tuple(faults), time.process_time() - start)


def _measured(question: Question, subjects: Sequence[Subject]) -> pd.DataFrame:
    table, reason = measured(question, subjects)
    if table is None:
        raise ProbeError(f"The question {question.name!r} was asked of {subjects[0].network.name!r}, but: {reason}")
    return table.assign(question=question.name)  # as the store says it, whatever the measure called it


def compare(
    question: Question, subjects: Sequence[Subject], old: pd.DataFrame, new: pd.DataFrame
) -> tuple[int, pd.DataFrame]:
    """Return how many values of a question are farther than `RTOL` from the stored ones, and those that moved."""
    moved = differences(old, new)
    far, near = len(moved), []
    while len(moved) and len(near) < ROUNDINGS:
        near.append(_measured(question, rounded(subjects, len(near))))
        moved = differences(old, new, near)
    return far, moved


def rounded(subjects: Sequence[Subject], seed: int) -> list[Subject]:
    """Return networks of which each weight is moved to one of its neighbours, up or down by chance; a 0 stays."""
    generator = torch.Generator().manual_seed(seed)
    copies = copy.deepcopy(list(subjects))
    with torch.no_grad():
        for weight in (each for model in {one.model: 0 for one in copies} for each in model.parameters()):
            up = torch.rand(weight.shape, generator=generator) < 0.5
            neighbour = torch.nextafter(weight, torch.where(up, torch.inf, -torch.inf).to(weight))
            weight.copy_(torch.where(weight == 0, weight, neighbour))
    return copies


def differences(old: pd.DataFrame, new: pd.DataFrame, near: Sequence[pd.DataFrame] = ()) -> pd.DataFrame:
    """Return which values of a question moved: `before` and `after`, a row a value, the farthest first."""
    tables = [_values(table) for table in (old, new, *near)]
    index = list(dict.fromkeys(key for each in tables for key in each))
    before, after, *around = ([each.get(key) for key in index] for each in tables)
    size = _distance(before, after)
    known = np.abs(np.array(after, dtype=float))
    limit = np.where(np.isfinite(known), RTOL * known + ATOL, 0.0)
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


def _distance(one: Sequence[float | None], other: Sequence[float | None]) -> np.ndarray:
    """Return how far values lie apart: 0 where both are missing, infinite where one is, or is no finite number."""
    alike = np.array([(left is None) == (right is None) for left, right in zip(one, other, strict=True)], dtype=bool)
    left, right = np.array(one, dtype=float), np.array(other, dtype=float)
    with np.errstate(invalid="ignore"):  # two infinities are equal, and their difference is no number
        apart = np.nan_to_num(np.abs(left - right), nan=np.inf)
    return np.where(alike & ((left == right) | (np.isnan(left) & np.isnan(right))), 0.0, apart)


def _told(question: Question, moved: pd.DataFrame, values: int) -> str:
    """Return the sentence on values that moved."""
    texts = []
    for key, *numbers in moved.head(NAMED).itertuples():
        whose = dict(zip(KEY, key, strict=False))
        place = [f"{name} {whose[name]}" for name in ("signal", "units", "step", "kind", "at") if whose[name]]
        before, after = ("absent" if each is None else f"{each:.9g}" for each in numbers)
        texts.append(f"{' '.join([whose['metric'], 'of', whose['network'], *place])}: {before} before, {after} now")
    return (
        f"{question.name} (version {question.version}) moved in {len(moved)} of {values} values: {'; '.join(texts)}. "
        "If what it computes was changed on purpose, raise the question's version and measure again; otherwise find "
        "what moved it."
    )
