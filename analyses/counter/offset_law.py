"""Is the counter at other lengths the ones plus an offset for each missing bit: answer by answer, and bit by bit?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network, measurement, only, tabulate
from probe.methods.abstraction.programs import agreement
from probe.methods.machines import Machine
from probe.questions.answers.other_lengths import slope
from probe.subjects.computed.alphabet import at_lengths
from probe.subjects.computed.answers import answers_by_length
from probe.subjects.computed.ends import ends_of

QUESTION = "offset_law"
VERSION = 1
LENGTH = common.STRINGS.shape[1]
#: Lengths that the one number is fitted on, the one that it is tried at, and the bits, from 0, whose effect counts.
FITTED, TRIED, STEPS = (8, 9, 10), 12, range(5, 10)
OFFSET = 0.1
SOURCE = "Suzgun et al. 2019; El-Naggar et al. 2022"
LAW = "n1 + d (10 - L), d fitted on the mean expected answers at 8 to 10 bits"
RULES = (
    Rule(
        key="20b",
        statement="One number gives the answers at another length.",
        metric="law_answers",
        definition="Share of the strings of 12 bits with at most 10 ones and 10 zeros whose answer is a whole number "
        f"nearest to {LAW}. Where the law says a half, both neighbours are nearest.",
        source=SOURCE,
        established_if=Range.at_least(0.9),
        refuted_if=Range.below(0.9),
        controls=(Control("strongest head", 0.05),),
    ),
    Rule(
        key="20c",
        statement="One number gives the mean offset at another length.",
        metric="offset_error",
        definition=f"|mean of expected answer minus ones over those strings of 12 bits - (-2 d)|, with {LAW}.",
        source=SOURCE,
        established_if=Range.at_most(OFFSET),
        refuted_if=Range.above(OFFSET),
        controls=(Control("strongest head", 0.05, lower=True),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure answers at another length, and the effect of a bit, against ones + d (10 - L).

    Metrics, one value a network: `drift`, d over L = 8..10; `law_answers` and `offset_error` at 12 bits; `zero_error`
    and `one_error`, of single bits at bits 6 to 10; `zero_offset` and `one_offset`, the same distance of the mean
    change. The latter two are less moved by a sharp head, whose answers go by whole counts.

    Args:
        networks: of them those that answer with the count: an untrained head does not.
    """
    rows = []
    for subject in common.subjects(common.pick(networks, *common.ANSWERING)):
        asked = at_lengths(subject, {*FITTED, TRIED}, most=2**14)
        given, shown = answers_by_length(subject, {length: found.x for length, found in asked.items()})
        excess = {length: float((shown[length] - found.right).mean()) for length, found in asked.items()}
        drift = slope(excess, FITTED, LENGTH)
        offset = drift * (LENGTH - TRIED)
        row = partial(measurement, QUESTION, network=subject.network)
        rows += [
            row("drift", value=drift),
            row("law_answers", value=agreement(given[TRIED], asked[TRIED].right + offset).share),
            row("offset_error", value=abs(excess[TRIED] - offset)),
        ]
        rows += [row(metric, value=value) for metric, value in _bit_by_bit(ends_of(subject).machine, drift)]
    return tabulate(rows)


def _bit_by_bit(machine: Machine, drift: float) -> Iterator[tuple[str, float]]:
    """Yield how far the change of the expected answer on each bit is from the law's."""
    states, bits = machine.clean.states, common.STRINGS[:, :, 0].numpy()
    changes = {}
    for step in STEPS:
        rows = machine.clean.prefixes[step].rows
        after, before = (machine.answers(states[rows, at]).expected.numpy() for at in (step, step - 1))
        changes[step] = after - before, bits[rows.numpy(), step]
    for bit, name, wanted in ((0, "zero", -drift), (1, "one", 1 - drift)):
        each = [change[read == bit] - wanted for change, read in changes.values()]
        yield f"{name}_error", float(np.mean([np.abs(missed).mean() for missed in each]))
        yield f"{name}_offset", abs(float(np.mean([missed.mean() for missed in each])))


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the law answer by answer."""
    notes = {"answer": _answer(table), "silence": SILENCE, "otherwise": _otherwise(table)}
    title = "Is it the ones plus an offset for each missing bit?"
    return common.finding(QUESTION, title, table, studied=networks, rules=RULES, notes=notes)


SILENCE = (
    "Claim 19 asks whether the answer rests while zeros come, as that of a ones-counter would. But a counter with a "
    "drift d takes d off on every 0. So if claim 19 is refuted, that says nothing against a counter that drifts."
)


def _answer(table: pd.DataFrame) -> str:
    share, offset = (only(table, metric=name, role="trained")["value"] for name in ("law_answers", "offset_error"))
    fitted = common.strongest(table, RULES[0])
    compared = f" With the best of three fitted heads on untrained weights it gives {fitted.median():.0%}."
    compared = compared if len(fitted) else ""
    return (
        f"The ones plus one offset for each missing bit give {share.median():.0%} of the answers to 12 bits. A "
        "string misses as many bits as it has fewer than ten; a longer one has the offset taken off. We fit the "
        "offset on strings of at most ten bits, and call this the law. The share above is the median over networks; "
        f"the lowest is {share.min():.0%}.{compared} The mean answer, over all strings of twelve bits, is off by at "
        f"most {OFFSET:g} counts in {(offset <= OFFSET).sum()} of {len(offset)} networks."
    )


def _otherwise(table: pd.DataFrame) -> str:
    planted = table[table["network"] == "planted/ones"].set_index("metric")["value"]
    return f"In the planted counter of ones the law gives {planted['law_answers']:.0%} of the answers."
