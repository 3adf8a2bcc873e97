"""Does the counter count? Its errors on held-out strings, by count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analyses.counter import common
from models.recipes import recipe
from models.tasks import format_bits
from probe import Finding, inspect
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network, measurement, tabulate
from probe.methods.abstraction.automata import automaton_of
from probe.questions.answers import accuracy
from probe.subjects.computed.answers import answers_to
from probe.subjects.subject import Subject

BOUND = 0.01
VERSION = 1
RULES = (
    Rule(
        key="II.0",
        statement="The network counts: at most 1 % of the strings that it never saw are misread.",
        metric="test_error",
        definition="Share of the network's own 524 test strings whose highest score is not at their count.",
        source="the notebook that the counter comes from, which reports 0.1 %",
        established_if=Range.at_most(BOUND),
        refuted_if=Range.above(BOUND),
        controls=(Control(common.STRONGEST, 0.0, lower=True),),
    ),
)
NO_CONTROLS = "these networks came without their own initialisations"
EVERY = tuple(range(len(common.STRINGS)))


def groups(subject: Subject) -> accuracy.Groups:
    """Return a network's training and test strings and all strings; a planted one has neither of the first."""
    own = (
        subject.network
        if isinstance(subject.network, common.Studied)
        else common.Studied("", "planted", subject.model)
    )
    parts = {"train": own.train, "test": own.test, "all": EVERY}
    return {name: rows for name, rows in parts.items() if rows}


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the errors of counters on all strings of ten bits, and name the strings that trained ones misread."""
    counts = common.COUNTS[:, -1]
    asked = common.pick(networks, *common.ANSWERING, "own initialisation")
    table = accuracy.measure(common.subjects(asked), groups=groups)
    return pd.concat([table, _misread(networks, counts.numpy())], ignore_index=True)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the errors."""
    drawn = table[table["metric"].isin(["test_error", "test_floor"]) & (table["pair"] != "")]
    notes = {
        "setup": _setup(networks),
        "answer": _answer(drawn),
        "automaton": _automaton(table),
        "otherwise": _otherwise(drawn),
    }
    title = "Does the network count?"
    return common.finding("accuracy", title, table, studied=networks, rules=RULES, notes=notes)


def _setup(networks: Sequence[Network]) -> str:
    plan, seeds = recipe("counter"), len(common.pick(networks, "trained"))
    ones = next(network for network in common.pick(networks, "planted") if network.name == "planted/ones")
    idle = inspect(ones.model).layers[0].units - 1
    fitted = (
        " Fitted heads are a second control. We leave the untrained weights as they are, and fit a line from the "
        "last state to the count, on the training strings: by least squares, by ridge regression, and under noise. "
        "All that this control can do was there before training. For each network and rule the best of the three "
        "counts."
        if common.pick(networks, "fitted head")
        else ""
    )
    shown = common.in_detail(networks)
    marked = isinstance(shown, common.Studied) and shown.detail
    detail = f" Where we show a single network, it is {shown.name}, whose drift is the median one." if marked else ""
    return (
        f"The network reads {plan.length} bits, one at a time, through {plan.hidden_size} LSTM units, and answers "
        f"how many ones there were. We trained {seeds} networks, each from its own seed, on {plan.train_size} of "
        f"the {len(EVERY):,} strings. We compare each with its own initialisation: the same network before "
        "training, with a random head (the layer that turns the last state into an answer). What this control shows "
        f"as well is no evidence of learning.{fitted} The planted counter is written by hand. One unit holds the "
        f"count, and {idle} idle units beside it keep random memories. It shows what each measurement gives when "
        f"the answer is known.{detail}"
    )


def _answer(drawn: pd.DataFrame) -> str:
    errors = drawn[(drawn["metric"] == "test_error") & (drawn["role"] == "trained")].set_index("network")["value"]
    return (
        f"{(errors <= BOUND).sum()} of {len(errors)} trained networks misread at most {BOUND:.0%} of new strings. A "
        "new string is one that the network never saw in training. The network misreads it if it answers another "
        f"number than the string has ones. On average the networks misread {errors.mean():.2%} of the new strings, "
        f"and the worst network misreads {errors.max():.2%}. The table of all networks has the others."
    )


def _automaton(table: pd.DataFrame) -> str:
    ideal = automaton_of(common.STRINGS, common.COUNTS[:, -1].numpy())
    states = table[table["metric"] == "automaton_states"]
    trained, before = (states[states["role"] == role]["value"] for role in ("trained", "own initialisation"))
    needed = 0 if ideal is None else ideal.size
    alone = "The number alone says little"
    beside = (
        f"{alone}: before training it takes {before.median():.0f}." if len(before) else f"{alone}: {NO_CONTROLS}."
    )
    return (
        "How complex must a program be to give the same answers? We compute the smallest automaton that gives them: "
        "a machine that goes from state to state with every bit it reads. To count the ones of ten bits it needs "
        f"{needed} states. To answer as the median trained network does it needs {trained.median():.0f}. {beside}"
    )


def _otherwise(drawn: pd.DataFrame) -> str:
    errors = drawn[drawn["metric"] == "test_error"]
    before, fitted = errors[errors["role"] == "own initialisation"]["value"], common.strongest(drawn, RULES[0])
    if not len(before):
        return f"What an untrained network gets is not known here: {NO_CONTROLS}."
    fair = f" With the best of three fitted heads they misread at most {fitted.max():.2%}." if len(fitted) else ""
    if len(fitted) and fitted.max() <= BOUND:
        fair += " So few errors alone do not show that training built a counter."
    return (
        f"Before training the same networks misread at least {before.min():.0%} of the new strings, because their "
        f"heads are random.{fair}"
    )


def _misread(networks: Sequence[Network], counts: np.ndarray) -> pd.DataFrame:
    """Return a row for each misread string: the string as `kind`, the network's answer as `value`."""
    rows = []
    for network in common.pick(networks, "trained"):
        answers = answers_to(common.subjects([network])[0], common.STRINGS)[0]
        wrong = np.flatnonzero(answers != counts)
        names = format_bits(common.STRINGS[wrong]) if len(wrong) else []
        for name, row in zip(names, wrong, strict=True):
            rows.append(measurement("accuracy", "misread", network, float(answers[row]), kind=name))
    return tabulate(rows)
