"""Does one and the same cell of the counter pass every test of a running count?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.intervals import share_interval
from probe.evidence.measurements import FITTED_HEADS, Network, measurement, one, only, tabulate
from probe.methods.causal.ablation import Resampling
from probe.methods.probing.monotone import HALF, each_unit_read, monotone_predictions
from probe.methods.probing.splits import folds
from probe.questions.answers.other_lengths import slope
from probe.questions.interventions import directions
from probe.questions.interventions.pair_shares import pair_shares
from probe.questions.interventions.unit_ablation import Score
from probe.questions.interventions.unit_shares import pairs_of
from probe.subjects.computed.alphabet import around, at_lengths
from probe.subjects.computed.answers import answers_to
from probe.subjects.computed.ends import ends_of
from probe.subjects.subject import Subject

QUESTION = "one_cell"
#: What each test of a cell asks, and the least value that passes it.
BOUNDS = {"read": 0.9, "lasts": 0.9, "carries": 0.5, "moves": 0.5, "suffices": 0.5}
#: The first two tests read a target off the cell; the others are about the answer, whatever the target.
READING = ("read", "lasts")
#: What a cell may hold a running count of, and how an axis calls it.
TARGETS = {"ones": "the ones", "zeros": "the zeros", "drift": "n1 + d (10 - t),\nits own program"}
#: Of the isotonic maps: how many splits of the states, and into how many parts.
SPLITS, PARTS = 10, 4
#: The state after 7 bits, the input that differs in a pair, and the lengths beyond ten.
STEP, CHANGED, LONGER = 6, 4, (11, 12)
DRAWS = 32
SETUP = (
    "Five tests of each cell u. Read: one isotonic map from c_u to the target at all steps of 1 to 10 bits, within "
    ".5 on >= .9 of held-out prefixes, four folds, mean over ten splits drawn by the network's seed. Lasts: that map "
    "fitted on all of them is within .5 on >= .9 of the prefixes of 11 and 12 bits whose target lies in the fitted "
    "range. Carries: exact Shapley share after 7 bits >= .5. Moves: interchange score of (c_u, h_u) after 7 bits >= "
    ".5. Suffices: (accuracy with u alone - none) / (own - none) >= .5, all others resampled after every bit. 1 if "
    "one cell passes all five"
)
SOURCE = "Karpathy et al. 2015; Weiss et al. 2018; Lakretz et al. 2019; Geiger et al. 2021"
VERSION = 1


def _rule(key: str, statement: str, target: str, what: str) -> Rule:
    return Rule(
        key=key,
        statement=statement,
        metric="all_tests",
        signal=target,
        definition=f"{SETUP}. The target is {what}.",
        source=SOURCE,
        established_if=Range.at_least(0.5),
        refuted_if=Range.below(0.5),
        statistic="share",
    )


RULES = (
    _rule("27a", "Some cell keeps a running count of the ones.", "ones", "n1"),
    _rule("27b", "Some cell keeps a running count of the zeros.", "zeros", "n0 = t - n1"),
    _rule(
        "27c",
        "Some cell keeps the running value of the network's own program.",
        "drift",
        "n1 + d (10 - t), d the network's drift over 6 to 14 bits",
    ),
    Rule(
        key="27d",
        statement="Training takes the running count out of single cells.",
        metric="best_read",
        definition="The first of the five tests for the ones (27a), of the cell that does best in it.",
        source=SOURCE,
        established_if=Range.below(0.9),
        refuted_if=Range.at_least(0.9),
        controls=(Control("own initialisation", 0.2, lower=True),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure five tests of every cell of counters, and of own initialisations the two that are not about answers.

    Metrics: `cell_test`, the value of a test (`kind`: `read` and `lasts` with their target, `carries`, `moves`,
    `suffices`) for each cell (`units`); `most_tests`, the most tests that one cell passes, and `all_tests`, 1 if it
    passes all five, for each target (`kind`); `cells_read`, how many cells pass `read` for the ones, and `best_read`,
    the largest value of that test.
    """
    asked = common.pick(networks, *common.ANSWERING, "own initialisation")
    return tabulate(row for subject in common.subjects(asked) for row in _rows(subject))


def _rows(subject: Subject) -> Iterator[dict[str, Any]]:
    network, answers = subject.network, subject.network.role != "own initialisation"
    targets = [target for target in TARGETS if answers or target != "drift"]
    found = _readings(subject, targets) | (_answering(subject) if answers else {})
    for kind, values in found.items():
        for unit, value in enumerate(values.tolist()):
            if not np.isnan(value):
                yield measurement(QUESTION, "cell_test", network, value, kind=kind, units=str(unit))
    yield measurement(QUESTION, "cells_read", network, float((found["read ones"] >= BOUNDS["read"]).sum()))
    yield measurement(QUESTION, "best_read", network, float(found["read ones"].max()))
    for target in targets if answers else ():
        passed = np.stack([found[kind_of(test, target)] >= bound for test, bound in BOUNDS.items()]).sum(0)
        best = str(int(passed.argmax()))
        yield measurement(QUESTION, "most_tests", network, float(passed.max()), kind=target, units=best)
        yield measurement(QUESTION, "all_tests", network, float(passed.max() == len(BOUNDS)), kind=target, units=best)


def kind_of(test: str, target: str) -> str:
    """Return the `kind` of a test's rows: with the target for the two that read one."""
    return f"{test} {target}" if test in READING else test


@dataclass(frozen=True, eq=False)
class Cells:
    """The cell states of distinct prefixes of several lengths.

    Attributes:
        bits: how many bits each prefix has, (state,).
        ones: how many of them are ones, (state,).
        values: each cell's, (state, unit), float64.
        weight: of each state, (state,); every length has the same total weight.
    """

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
        """Return what a cell may hold, (state,): a key of `TARGETS`, with the network's own drift."""
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
    known = []
    for step, prefixes in enumerate(clean.prefixes):
        rows = prefixes.rows
        known.append(
            (
                np.full(len(rows), step + 1),
                end.values[rows.numpy(), step],
                clean.states[rows, step][:, columns].numpy(),
            )
        )
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


def _readings(subject: Subject, targets: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the first two tests of each cell, (unit,), for each target."""
    known, longer = cells_of(subject)
    drift = drift_of(subject) if "drift" in targets else 0.0
    seed, size = common.split_seed(subject.network), len(known.bits)
    splits = [folds(size, PARTS, seed=SPLITS * seed + number) for number in range(SPLITS)]
    found = {}
    for name in targets:
        target, after = (cells.target(name, drift) for cells in (known, longer))
        found[kind_of("read", name)] = each_unit_read(known.values, target, splits, known.weight)
        inside = (after >= target.min() - 1e-9) & (after <= target.max() + 1e-9)
        predicted = monotone_predictions(known.values, target, known.weight, longer.values)
        exact = np.abs(predicted - after[:, None]) < HALF
        shares = [exact[inside & (longer.bits == length)].mean(0) for length in LONGER]
        found[kind_of("lasts", name)] = np.mean(shares, axis=0)
    return found


def _answering(subject: Subject) -> dict[str, np.ndarray]:
    """Return the tests that are about the answer, of each unit, (unit,); NaN where a score is undefined."""
    end = ends_of(subject)
    units = end.machine.dynamics.units
    carries = pair_shares(subject, pairs_of(subject, CHANGED, STEP, units)).pooled.values
    moved = {
        int(place["units"]): value
        for name, value, place in directions.of_units(subject, STEP)
        if name == "unit_score"
    }
    moves = np.array([moved[unit] for unit in range(units)])
    return {"carries": carries, "moves": moves, "suffices": _alone(subject)}


def _alone(subject: Subject) -> np.ndarray:
    """Return what each unit keeps alone of what the network can do, (unit,), as `unit_ablation` scores it."""
    end = ends_of(subject)
    machine, score = end.machine, Score(end.values[:, -1])
    resampling = Resampling(machine, draws=DRAWS, seed=subject.seed)
    units, unit = range(machine.dynamics.units), machine.dynamics.unit

    def without(gone: Iterable[int]) -> float:
        return score.of(resampling.answers([column for one in gone for column in unit(one)]))

    own, none = score.of(machine.clean.answers), without(units)
    if own == none:
        return np.full(len(units), np.nan)
    kept = [without(other for other in units if other != kept) for kept in units]
    return (np.array(kept) - none) / (own - none)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge whether one cell passes all tests."""
    title = "Does one cell pass every test of a running count?"
    notes = {
        "verdict": _verdict(table),
        "short": _short(table),
        "reads": _reads(table),
        "answer": _answer(table),
        "otherwise": _otherwise(table),
    }
    notes |= _every_step(table)
    return common.finding(QUESTION, title, table, studied=networks, rules=RULES, notes=notes)


def _passing(table: pd.DataFrame, role: str) -> int:
    """Return in how many networks of a role some cell passes all five tests for some target."""
    rows = only(table, metric="all_tests", role=role)
    return int((rows.groupby("network")["value"].max() > 0).sum())


def _verdict(table: pd.DataFrame) -> str:
    """Return the answer to the user's question in a line."""
    passing, networks = _passing(table, "trained"), len(common.values(table, "cells_read"))
    if passing:
        return f"Perhaps, in {passing} of {networks} trained networks, where one cell passes all five tests"
    return f"No, in none of the {networks} trained networks"


def _answer(table: pd.DataFrame) -> str:
    """Return the answer: by which rule, of which count, in how many networks, and in how many untrained ones."""
    return f"{_kept(table)} {_definition(table)} {_reads(table)} {_alone_in_words(table)}"


def _short(table: pd.DataFrame) -> str:
    """Return in how many networks one cell passes all tests, and what the first test alone says."""
    return f"{_kept(table)} {_reads(table)}"


def _kept(table: pd.DataFrame) -> str:
    """Return in how many networks one cell passes all tests, for each of the counts."""
    own = common.values(table, "cells_read")
    counts = {target: int(common.values(table, "all_tests", kind=target).sum()) for target in TARGETS}
    return (
        f"One cell keeps a running count of the ones in {counts['ones']} of {len(own)} networks, of the zeros in "
        f"{counts['zeros']}, and of the ones with the network's own drift in {counts['drift']}."
    )


def _definition(table: pd.DataFrame) -> str:
    """Return the five tests, and how near networks come to passing all of them."""
    own = only(table, metric="all_tests", role="trained").groupby("network")["value"].max()
    most = share_interval(int(own.sum()), len(own), 0.95)
    bound = f" With 95 % confidence, at most {most[1]:.1%} of such networks have a cell that does." if most else ""
    passed = only(table, metric="most_tests").groupby(["role", "network"])["value"].max()
    near = {
        role: passed[role] for role in ("trained", *FITTED_HEADS) if role in passed.index.get_level_values("role")
    }
    heads = [value for role, values in near.items() if role != "trained" for value in values]
    compared = (
        f" With a head on untrained weights it passes {max(heads):.0f}, and in "
        f"{sum(value == len(BOUNDS) for value in heads)} of {len(heads)} such networks one cell passes all."
        if heads
        else ""
    )
    return (
        "One and the same cell must pass five tests. Read: one map reads the count off it after every bit from the "
        "first to the tenth. Lasts: the map still holds at eleven and twelve bits. Carries: after seven bits the "
        "cell carries half of a count. Moves: to patch it moves half of the answers. Suffices: alone it does half of "
        f"what the network can do.{bound} The best cell of a trained network passes {near['trained'].max():.0f} of "
        f"the tests.{compared}"
    )


def _reads(table: pd.DataFrame) -> str:
    """Return in how many networks the first test is passed, before training and after it."""
    own, before = (common.values(table, "cells_read", role) for role in ("trained", "own initialisation"))
    if not len(before):
        return f"Some cell passes the first test alone in {(own > 0).sum()} of them."
    both = {role: _both_readings(table, role) for role in ("own initialisation", "trained")}
    return (
        "The first test alone is that one map reads the count at all steps. Some cell passes it in "
        f"{(before > 0).sum()} of {len(before)} networks before training, and in {(own > 0).sum()} of {len(own)} "
        f"after it. The map must also last at other lengths: that is so in {both['own initialisation']} before and "
        f"{both['trained']} after."
    )


def _both_readings(table: pd.DataFrame, role: str) -> int:
    """Return in how many networks of a role one cell passes both tests that read the ones."""
    rows = only(table, metric="cell_test", role=role)
    wide = rows.pivot_table(index=["network", "units"], columns="kind", values="value")
    passed = [wide[kind_of(test, "ones")] >= BOUNDS[test] for test in READING]
    return int(pd.concat(passed, axis=1).all(axis=1).groupby("network").any().sum())


def _alone_in_words(table: pd.DataFrame) -> str:
    """Return in how many trained networks some cell passes the test that most of them pass."""
    rows = only(table, metric="cell_test", role="trained")
    best = rows.groupby(["kind", "network"])["value"].max()
    kinds = {kind_of(test, target): bound for test, bound in BOUNDS.items() for target in TARGETS}
    passing = {kind: int((best[kind] >= bound).sum()) for kind, bound in kinds.items()}
    most = max(passing, key=lambda kind: passing[kind])
    if not passing[most]:
        return "In no trained network does any cell pass even one of the tests."
    return f"Of the tests alone, that which most networks pass is “{most}”: some cell passes it in {passing[most]}."


def _every_step(table: pd.DataFrame) -> dict[str, str]:
    """Return what the tests say of networks that were asked for the count after every step, where it is the task."""
    rows = table[table["network"].str.startswith("every-step/")]
    if rows.empty:
        return {}
    own = only(rows, metric="all_tests", kind="ones")["value"]
    read = only(rows, metric="best_read")["value"]
    end = " So where we find no such cell, the network may still keep a running count: no single cell keeps it."
    said = (
        "Networks that were trained to answer after every step must keep a running count. One cell passes all five "
        f"tests in {own.sum():.0f} of {len(own)} of them, and the first test in {(read >= BOUNDS['read']).sum()}."
        f"{'' if own.mean() >= HALF else end}"
    )
    return {"every_step": said}


def _otherwise(table: pd.DataFrame) -> str:
    planted = one(table, metric="most_tests", network="planted/ones", kind="ones")
    return (
        f"If a cell kept a running count, it would pass as many tests as that of the planted counter: {planted:.0f}."
    )
