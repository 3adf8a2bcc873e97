"""Does the base rate decide the program? Counters trained on strings in which ones are rarer or more frequent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from analyses.counter import common
from models.recipes import BASE_RATES, EARLY, RECIPES, base_rate_recipe
from probe.evidence import Control
from probe.evidence.measurements import measurement, tabulate
from probe.evidence.strongest import STRONGEST
from probe.methods.abstraction.programs import slope
from probe.questions.question import Question
from probe.subjects.alphabet import at_lengths
from probe.subjects.answers import answers_by_length
from probe.subjects.ends import machine_of
from probe.subjects.subject import Subject

NAME = "base_rate"
LENGTH = common.STRINGS.shape[1]
#: Lengths that the drift is fitted on.
FITTED = range(6, LENGTH)
SOURCE = "docs/science.md, The base rate"


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure what a network adds to the ones, over strings as likely as those that it was trained on.

    A string of n bits with k ones has the weight p^k (1 - p)^(n - k), p of the network's recipe. Metrics, one value a
    network: `start`, the expected answer of the state before the first bit; `drift`, d of g(L) = d (10 - L) over 6 to
    9 bits, g being the weighted mean of expected answer minus ones; `own_error`, the weighted share of misread
    strings of ten bits; `all_error`, that of all strings alike. By length (`at`): `g`.
    """
    rows = []
    for subject in subjects:
        p = RECIPES[subject.network.name.partition("/")[0]].p_one or 0.5
        asked = at_lengths(subject, range(1, LENGTH + 1), most=2**LENGTH)
        given, shown = answers_by_length(subject, {length: one.x for length, one in asked.items()})
        machine = machine_of(subject)
        nothing = torch.zeros(1, machine.dynamics.size, dtype=torch.float64)
        weights = {length: p**one.right * (1 - p) ** (length - one.right) for length, one in asked.items()}
        g = {length: float(weights[length] @ (shown[length] - one.right)) for length, one in asked.items()}
        wrong = given[LENGTH] != asked[LENGTH].right
        values = {
            "start": float(machine.answers(nothing).expected[0]),
            "drift": slope(g, FITTED, LENGTH),
            "own_error": float(weights[LENGTH] @ wrong),
            "all_error": float(wrong.mean()),
        }
        row = partial(measurement, NAME, network=subject.network)
        rows += [row(metric, value=value) for metric, value in values.items()]
        rows += [row("g", value=value, at=length) for length, value in g.items()]
    return tabulate(rows)


#: What a rule is about: of a seed's five networks, trained and at their beginning, start and drift by base rate.
JUDGED: dict[str, Callable[[pd.DataFrame, pd.DataFrame], float]] = {
    "start_error": lambda trained, _: _off(trained["start"], [LENGTH * p for p in BASE_RATES]),
    "early_line": lambda _, early: _off(early["drift"], early["start"] / LENGTH),
    "early_rate": lambda _, early: _off(early["drift"], BASE_RATES),
    "early_half": lambda _, early: _off(early["drift"], [0.5] * len(BASE_RATES)),
    "drift_rise": lambda trained, _: trained["drift"].iloc[-1] - trained["drift"].iloc[0],
    "rare_ones": lambda trained, _: trained["drift"].iloc[0],
    "rare_zeros": lambda trained, _: trained["drift"].iloc[-1],
}


def _off(found: Sequence[float] | pd.Series, expected: Sequence[float] | pd.Series) -> float:
    return float(np.abs(np.asarray(found) - np.asarray(expected)).mean())


def by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the rules judge: a row a metric, seed and role. A head is its own beginning."""
    table = table[table["metric"].isin(["start", "drift"])]
    parts = table["network"].str.split("/", n=2, expand=True)
    values = table.assign(recipe=parts[0], seed=parts[1].str.removeprefix("seed-")).pivot_table(
        index=["role", "seed", "recipe"], columns="metric", values="value"
    )
    trained, early = ([base_rate_recipe(p, early=each).name for p in BASE_RATES] for each in (False, True))
    rows = []
    for (role, seed), group in values.groupby(level=["role", "seed"]):
        own = group.droplevel(["role", "seed"])
        begun = own.reindex(early if role == "trained" else trained)
        for metric, of in JUDGED.items():
            about = {"question": NAME, "metric": metric, "role": role, "network": f"ones/seed-{seed}/{role}"}
            rows.append(about | {"pair": seed, "value": of(own.reindex(trained), begun)})
    return tabulate(rows)


rule = partial(common.rule, source=SOURCE)
NEAR, EXACT = (Control(STRONGEST, 0.1, lower=True),), (Control(STRONGEST, 0.02, lower=True),)
RULES = (
    rule(
        key="29a",
        statement="Before the first bit the answer is the mean of the training labels.",
        metric="start_error",
        definition="Mean over p(1) = .2, .3, .5, .7, .8 of |g(0) - 10 p|; g(0) is the expected answer of the state "
        "before the first bit.",
        at_most=0.5,
        controls=NEAR,
    ),
    rule(
        key="29b",
        statement="At the beginning the mean answer is a straight line from there to the count at ten bits.",
        metric="early_line",
        definition=f"Mean over p of |d - g(0) / 10| after {EARLY} steps of training.",
        at_most=0.05,
        controls=EXACT,
    ),
    rule(
        key="29c",
        statement="At the beginning the drift is the base rate.",
        metric="early_rate",
        definition=f"Mean over p of |d - p| after {EARLY} steps of training.",
        at_most=0.1,
        controls=EXACT,
    ),
    rule(
        key="29d",
        statement="At the beginning the drift is one half, whatever the base rate.",
        metric="early_half",
        definition=f"Mean over p of |d - .5| after {EARLY} steps of training.",
        at_most=0.1,
        controls=EXACT,
    ),
    rule(
        key="29e",
        statement="Trained, the drift rises with the base rate.",
        metric="drift_rise",
        definition="d of the network trained at p(1) = .8 less d of the one of the same seed at .2.",
        at_least=0.15,
        controls=common.MORE,
    ),
    rule(
        key="29f",
        statement="Where ones are rare, it counts ones.",
        metric="rare_ones",
        definition="d at p(1) = .2: a counter of ones has 0.",
        at_most=0.25,
        controls=common.LESS,
    ),
    rule(
        key="29g",
        statement="Where zeros are rare, it takes zeros away.",
        metric="rare_zeros",
        definition="d at p(1) = .8: ten less the zeros has 1.",
        at_least=0.75,
        controls=common.MORE,
    ),
)
#: What we predicted of each before any network with a base rate was trained. The page's account (the answer starts
#: at the mean of the labels, and a straight line joins it to ten bits) gives 29a, 29b and 29c; against it stands
#: that all eleven answers are equally likely before training, mean 5, and that the head's bias moves slowly, which
#: gives 29b and 29d, and not 29a. We held the second for likelier.
PREDICTED = {
    "29a": "refuted",
    "29b": "established",
    "29c": "refuted",
    "29d": "established",
    "29e": "established",
    "29f": "refuted",
    "29g": "established",
}
QUESTION = Question(
    NAME,
    "Does the base rate decide the program?",
    measure,
    roles=common.ANSWERING,
    text="We trained counters on strings in which a bit is a 1 with another chance, and measured each on strings as "
    "likely as its own.",
)
