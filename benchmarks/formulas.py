"""Run every formula of the counter's pages and of docs/science.md on all strings of 1 to 12 bits.

    python -m benchmarks.formulas

By length it prints the share of answers that each formula gives, the median over the networks that it is said of;
for a formula of the mean answer, the share of networks in which it is less than a half away. A formula is right
where that is 90 % or more. It must be so at each length that its sentence names, unless the sentence calls it
undecided or says how far it is off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch

from analyses.counter.study import FOLDER
from models import zoo
from models.counter import answer, expected_answer
from models.populations import FRESH, SECOND_JUDGED
from models.tasks import bit_strings
from probe.command_line.shell import command, emit, run
from probe.studies.store import read

from .speed import table

LENGTHS, TRAINED = range(1, 13), 10
#: The share of answers from which on a formula is right.
RIGHT = 0.9
#: What was measured of a network, by metric.
Own = dict[str, float]


@dataclass(frozen=True)
class Formula:
    """A formula, and what its sentence says of it.

    Attributes:
        name: the formula in a line.
        where: the page or document that has it, from the top of the repository.
        says: its sentence there, or a part of it.
        lengths: at which lengths it is said to hold.
        gives: its answers: of the ones of each string, the number of bits, and what was measured of the network.
        within: how far an answer may be away: 0 for the nearest whole number.
        with_a_one: whether strings without a 1 are left out.
        mean: whether it is about the mean answer of a length, and not about each answer.
        exact: whether the sentence says that it holds, and not that it is undecided, or how far it is off.
        fresh: whether it is said of the fresh networks.
    """

    name: str
    where: str
    says: str
    lengths: Sequence[int]
    gives: Callable[[np.ndarray, int, Own], np.ndarray]
    within: int = 0
    with_a_one: bool = False
    mean: bool = False
    exact: bool = True
    fresh: bool = False


def less_zeros(ones: np.ndarray, bits: int, _: Own, *, base: int) -> np.ndarray:
    """Return a number less the zeros."""
    return base - (bits - ones)


def line(ones: np.ndarray, bits: int, own: Own) -> np.ndarray:
    """Return the ones, and the drift of the network for each missing bit."""
    return ones + own["drift"] * (TRAINED - bits)


def bent(ones: np.ndarray, bits: int, own: Own) -> np.ndarray:
    """Return the line, less what is left of its distance to the start; see `analyses.counter.drift_law`."""
    drift = own["fitted_drift"]
    left = (TRAINED * drift - own["start"]) * own["forgotten"] ** bits
    return ones + drift * (TRAINED - bits) - left


PAGES, SCIENCE = "reports/counter/", "docs/science.md"
FORMULAS = (
    Formula(
        "the ones",
        f"{PAGES}index.html",
        "They count at ten bits, and only there",
        [10],
        lambda ones, bits, own: ones,
    ),
    Formula(
        "10 - zeros",
        f"{PAGES}index.html",
        "At ten bits, ten minus the zeros is the number of ones.",
        [10],
        partial(less_zeros, base=10),
    ),
    Formula(
        "10 - zeros, to within one",
        f"{PAGES}index.html",
        "At six to twelve bits, in",
        range(6, 13),
        partial(less_zeros, base=10),
        within=1,
        fresh=True,
    ),
    Formula(
        "9 - zeros, to within one, where there is a 1",
        SCIENCE,
        "to 3 to 5 bits with a 1 among them it is nine less (20e, undecided)",
        range(3, 6),
        partial(less_zeros, base=9),
        within=1,
        with_a_one=True,
        exact=False,
        fresh=True,
    ),
    Formula(
        "n1 + d (10 - t)",
        f"{PAGES}how.html",
        "The line n1 + d (10 - t) only approximates what networks answer.",
        [10],
        line,
        exact=False,
    ),
    Formula(
        "n1 + d (10 - t), of the mean answer",
        f"{PAGES}lengths.html",
        "at six to nine bits a missing bit adds",
        range(6, 10),
        line,
        mean=True,
    ),
    Formula(
        "n1 + d (10 - t) - (10 d - g(0)) r^t, of the mean answer",
        SCIENCE,
        "give the mean answers at 2 to 5 and 11 to 14 bits, to a quarter on average (20f, of heads as well).",
        [2, 3, 4, 5, 11, 12],
        bent,
        mean=True,
        exact=False,
        fresh=True,
    ),
)


app = command("python -m benchmarks.formulas")


@app.default
def main() -> int:
    """Print each formula with its shares, and fail where one is wrong at a length that its sentence names."""
    rows, wrong = [], []
    shares = measured()
    for formula in FORMULAS:
        own = shares[formula.name]
        named = " ".join(map(str, formula.lengths))
        rows.append([formula.name, named, *(f"{own[length]:.2f}" for length in LENGTHS)])
        if formula.exact and min(own[length] for length in formula.lengths) < RIGHT:
            wrong.append(f"{formula.name}: {formula.where} says “{formula.says}”.")
    emit(table(["formula", "lengths named", *map(str, LENGTHS)], rows))
    emit("\n".join(wrong) or f"Each is right in {RIGHT:.0%} at the lengths that its sentence names.")
    return 1 if wrong else 0


def measured(seeds: int | None = None) -> dict[str, dict[int, float]]:
    """Return by formula and length the median share of answers that it gives.

    Args:
        seeds: of how many networks of each population; None for all.
    """
    values: dict[str, list[dict[int, float]]] = {formula.name: [] for formula in FORMULAS}
    for part, population in (("judged", SECOND_JUDGED), ("fresh", FRESH)):
        kept = read(FOLDER / f"{part}.csv.xz")
        said = [formula for formula in FORMULAS if formula.fresh == (part == "fresh")]
        for seed in population.seeds[:seeds]:
            own = _own(kept[f"{population.recipe}/seed-{seed}"].tables)
            outputs = _outputs(zoo.networks(population.recipe, [seed])[0].model)
            for formula in said:
                found = {bits: _share(formula, output, bits, own) for bits, output in outputs.items()}
                values[formula.name].append(found)
    means = {formula.name for formula in FORMULAS if formula.mean}
    tables = {name: pd.DataFrame(each) for name, each in values.items()}
    shares = {name: own.mean() if name in means else own.median() for name, own in tables.items()}
    return {name: {bits: float(own[bits]) for bits in LENGTHS} for name, own in shares.items()}


def _own(tables: dict[str, pd.DataFrame]) -> Own:
    rows = pd.concat([tables[name] for name in ("other_lengths", "drift_law") if name in tables])
    rows = rows[(rows["role"] == "trained") & rows["at"].isna()]
    return dict(zip(rows["metric"], rows["value"], strict=True))


@torch.no_grad()
def _outputs(model: torch.nn.Module) -> dict[int, torch.Tensor]:
    return {bits: model(bit_strings(bits)) for bits in LENGTHS}


def _share(formula: Formula, output: torch.Tensor, bits: int, own: Own) -> float:
    """Return the share of strings with at most ten ones and ten zeros of which a formula gives the answer."""
    ones = bit_strings(bits).sum((1, 2)).numpy()
    asked = (ones <= TRAINED) & (bits - ones <= TRAINED) & ((ones > 0) | (not formula.with_a_one))
    given = formula.gives(ones, bits, own)
    if formula.mean:
        return float(abs((expected_answer(output).numpy() - given)[asked].mean()) < 0.5)
    away = np.abs(answer(output).numpy() - np.floor(given + 0.5))
    return float((away <= formula.within)[asked].mean())


if __name__ == "__main__":
    sys.exit(run(app))
