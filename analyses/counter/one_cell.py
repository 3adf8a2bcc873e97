"""Does one and the same cell of the counter pass every test of a running count?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes

from analyses.counter import common, rules
from probe.evidence import DataFigure
from probe.evidence.measurements import Network, measurement, only, tabulate
from probe.evidence.words import listed
from probe.methods.abstraction.programs import slope
from probe.methods.causal.ablation import Resampling
from probe.methods.probing.groups import folds
from probe.methods.probing.monotone import HALF, each_unit_read, monotone_predictions
from probe.plots.style import ROLE_STYLE, new_figure
from probe.questions.interventions import directions
from probe.questions.interventions.unit_ablation import accuracy_of
from probe.questions.interventions.unit_shares import shares_of
from probe.questions.question import Question
from probe.subjects.alphabet import around, at_lengths
from probe.subjects.answers import answers_to
from probe.subjects.ends import ends_of
from probe.subjects.subject import Subject

NAME = "one_cell"
#: What each test of a cell asks, and the least value that passes it.
BOUNDS = {"read": 0.9, "lasts": 0.9, "carries": 0.5, "moves": 0.5, "suffices": 0.5}
#: The first two tests read a target off the cell; the others are about the answer, whatever the target.
READING = ("read", "lasts")
#: Every length weighs alike, or every prefix: then nearly all weight is on the longest. What a metric's name ends in.
BY_LENGTH, BY_PREFIX = "", "_by_prefix"
#: What a cell may hold a running count of.
TARGETS = ("ones", "zeros", "drift")
#: Of the isotonic maps: how many splits of the states, and into how many parts.
SPLITS, PARTS = 10, 4
#: The state after 7 bits, the input that differs in a pair, and the lengths beyond ten.
STEP, CHANGED, LONGER = 6, 4, (11, 12)
DRAWS = 32


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure five tests of every cell of counters, and of own initialisations the two that are not about answers.

    Metrics: `cell_test`, the value of a test (`kind`, with its target where it reads one) for each cell (`units`);
    `most_tests`, the most tests that one cell passes, and `all_tests`, 1 if it passes all five, for each target
    (`kind`); `cells_read`, how many cells pass `read` for the ones, and `best_read`, the largest value of that test.
    In these every number of bits has the same weight; in those that end in `_by_prefix` every prefix has.
    """
    return tabulate(row for subject in subjects for row in _rows(subject))


def _rows(subject: Subject) -> Iterator[dict[str, Any]]:
    answers = subject.network.role != "own initialisation"
    targets = [target for target in TARGETS if answers or target != "drift"]
    about_answers = _answering(subject) if answers else {}
    for weighed, found in _readings(subject, targets).items():
        for kind, values in (found | ({} if weighed else about_answers)).items():
            for unit, value in enumerate(values.tolist()):
                if not np.isnan(value):
                    yield measurement(NAME, f"cell_test{weighed}", subject.network, value, kind=kind, units=str(unit))
        yield from _of_all_cells(subject.network, found | about_answers, targets if answers else (), weighed)


def _of_all_cells(
    network: Network, found: Mapping[str, np.ndarray], targets: Sequence[str], weighed: str
) -> Iterator[dict[str, Any]]:
    read = found["read ones"]
    yield measurement(NAME, f"cells_read{weighed}", network, float((read >= BOUNDS["read"]).sum()))
    yield measurement(NAME, f"best_read{weighed}", network, float(read.max()))
    for target in targets:
        passed = np.stack([found[kind_of(test, target)] >= bound for test, bound in BOUNDS.items()]).sum(0)
        best = str(int(passed.argmax()))
        for metric, value in {"most_tests": passed.max(), "all_tests": passed.max() == len(BOUNDS)}.items():
            yield measurement(NAME, f"{metric}{weighed}", network, float(value), kind=target, units=best)


def kind_of(test: str, target: str) -> str:
    """Return the `kind` of a test's rows: with the target for the two that read one."""
    return f"{test} {target}" if test in READING else test


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of distinct prefixes, (state, unit), with their bits and ones; every length has the same weight."""

    bits: np.ndarray
    ones: np.ndarray
    values: Float[np.ndarray, "state unit"]
    weight: np.ndarray

    @classmethod
    def of(cls, lengths: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Cells:
        """Return the states of several lengths: the bits, the ones and the cells of each."""
        bits, ones, values = (np.concatenate(columns) for columns in zip(*lengths, strict=True))
        _, place, counts = np.unique(bits, return_inverse=True, return_counts=True)
        weight = 1 / (len(counts) * counts[place])
        return cls(bits, ones, values, weight)

    def target(self, name: str, drift: float) -> np.ndarray:
        """Return what a cell may hold, (state,): one of `TARGETS`, with the network's own drift."""
        added = {"ones": 0 * self.bits, "zeros": self.bits - 2 * self.ones, "drift": drift * (10 - self.bits)}
        return self.ones + added[name].astype(float)


@torch.no_grad()
def cells_of(subject: Subject) -> tuple[Cells, Cells]:
    """Return the cells of all prefixes of 1 to 10 bits, and those of 11 and 12 bits.

    Of a network without cells (a GRU) they are its hidden state.
    """
    end = ends_of(subject)
    clean, dynamics = end.machine.clean, end.machine.dynamics
    columns = dynamics.columns(dynamics.signals[0])
    known = [
        (np.full(len(rows), step + 1), end.values[rows.numpy(), step], clean.states[rows, step][:, columns].numpy())
        for step, rows in enumerate(prefixes.rows for prefixes in clean.prefixes)
    ]
    states, ones, longer = clean.states[:, -1], end.values[:, -1], []
    # The first string has zeros alone, and the last one ones.
    bits = clean.inputs[[0, -1], -1]
    for length in LONGER:
        read = bits.repeat(len(states), 1)[:, None]
        states = dynamics.advance(states.repeat_interleave(2, 0), read)
        ones = np.repeat(ones, 2) + np.tile([0, 1], len(ones))
        longer.append((np.full(len(ones), length), ones, states[:, columns].numpy()))
    return Cells.of(known), Cells.of(longer)


def drift_of(subject: Subject) -> float:
    """Return the drift d of a network's answers over 6 to 14 bits, as `other_lengths` measures it."""
    asked = at_lengths(subject, around(subject), most=2**14)
    excess = {length: float((answers_to(subject, at.x)[1] - at.right).mean()) for length, at in asked.items()}
    return slope(excess, excess, subject.x.shape[1])


def _readings(subject: Subject, targets: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Return by the weight of a prefix the first two tests of each cell, (unit,), for each target."""
    known, longer = cells_of(subject)
    drift = drift_of(subject) if "drift" in targets else 0.0
    seed, size = common.split_seed(subject.network), len(known.bits)
    splits = [folds(size, PARTS, seed=SPLITS * seed + number) for number in range(SPLITS)]
    weights = {BY_LENGTH: known.weight, BY_PREFIX: np.full(size, 1 / size)}
    found: dict[str, dict[str, np.ndarray]] = {weighed: {} for weighed in weights}
    for name in targets:
        target, after = (cells.target(name, drift) for cells in (known, longer))
        inside = (after >= target.min() - 1e-9) & (after <= target.max() + 1e-9)
        for weighed, weight in weights.items():
            found[weighed][kind_of("read", name)] = each_unit_read(known.values, target, splits, weight)
            predicted = monotone_predictions(known.values, target, weight, longer.values)
            exact = np.abs(predicted - after[:, None]) < HALF
            parts = [inside & (longer.bits == length) for length in LONGER] if weighed == BY_LENGTH else [inside]
            found[weighed][kind_of("lasts", name)] = np.mean([exact[part].mean(0) for part in parts], axis=0)
    return found


def _answering(subject: Subject) -> dict[str, np.ndarray]:
    """Return the tests that are about the answer, of each unit, (unit,); NaN where a score is undefined."""
    end = ends_of(subject)
    units = end.machine.dynamics.units
    carries = shares_of(subject, CHANGED, STEP).values
    moved = {
        int(place["units"]): value
        for name, value, place in directions.of_units(subject, STEP, directions.PAIRS_OF_UNIT)
        if name == "unit_score"
    }
    moves = np.array([moved[unit] for unit in range(units)])
    return {"carries": carries, "moves": moves, "suffices": alone_of(subject)}


def alone_of(subject: Subject) -> np.ndarray:
    """Return what each unit keeps alone of what the network can do, (unit,), as `unit_ablation` scores it."""
    end = ends_of(subject)
    machine, right = end.machine, end.values[:, -1]
    resampling = Resampling(machine, draws=DRAWS, seed=subject.seed)
    units, unit = range(machine.dynamics.units), machine.dynamics.unit

    def without(gone: Iterable[int]) -> float:
        return accuracy_of(resampling.answers([column for one in gone for column in unit(one)]), right)

    own, none = accuracy_of(machine.clean.answers, right), without(units)
    if own == none:
        return np.full(len(units), np.nan)
    kept = [without(other for other in units if other != kept) for kept in units]
    return (np.array(kept) - none) / (own - none)


#: Whose best cells are drawn: before training, with larger weights, and after it.
DRAWN = {"own initialisation": "before training", "scaled head": "with larger weights", "trained": "after training"}


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw how well one map reads the ones off the best cell of each network."""
    rows = only(table, metric="best_read")
    rows = rows[rows["role"].isin(DRAWN) & rows["network"].str.startswith("counter/")]
    passed = {role: (own["value"] >= BOUNDS["read"]).sum() for role, own in rows.groupby("role")}
    others = only(table, metric=f"best_read{BY_PREFIX}")
    others = others[others["network"].isin(rows["network"])]
    others = others[others["value"] >= BOUNDS["read"]]
    by_prefix = [f"{(others['role'] == role).sum()}" for role in DRAWN]
    return common.picture(
        lambda: _draw(rows),
        name=NAME,
        title="How well one formula reads the ones off the best cell",
        alt="Dots, one a network. At or above the bound: "
        + ", ".join(f"{DRAWN[str(role)]} {count}" for role, count in passed.items())
        + ".",
        caption="Each dot is a network's best cell; bars are medians. Larger weights: also untrained. Every number "
        f"of bits weighs the same; if every prefix did, {listed(by_prefix)} would pass.",
        data=rows[["role", "network", "value"]].reset_index(drop=True),
    )


def _draw(rows: pd.DataFrame) -> Axes:
    ax = new_figure(height=2.7)[1][0, 0]
    for place, (role, called) in enumerate(DRAWN.items()):
        own = rows[rows["role"] == role]["value"]
        common.strip(ax, own, role, at=place, height=0.2)
        said = f"{called}, {(own >= BOUNDS['read']).sum()} of {len(own)} pass"
        look = ROLE_STYLE[role]
        ax.plot(0.02, place - 0.42, look.marker, color=look.color)
        ax.text(0.04, place - 0.42, said, va="center", fontweight="bold")
    ax.axvline(BOUNDS["read"], color="black", linestyle="--", linewidth=1, zorder=0)
    ax.set(xlabel="share of prefixes read right", xlim=(0, 1.02), ylim=(len(DRAWN) - 0.6, -0.7), yticks=[])
    ax.spines["left"].set_visible(False)
    return ax


QUESTION = Question(
    NAME,
    "Does one cell pass every test of a running count?",
    measure,
    version=2,
    roles=(*common.ANSWERING, "own initialisation"),
    rules=rules.ONE_CELL,
    draw=figures,
    text="The first of five tests: one formula reads the ones off a cell after every bit, right on 90 % of prefixes.",
)
