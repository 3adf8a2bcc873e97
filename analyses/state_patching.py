"""Does the counter's answer follow its state when one string's state is patched into another's run?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from models.tasks import format_bits
from probe import DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network
from probe.methods.causal.support import FAR
from probe.plots.style import style
from probe.questions.interventions import state_patching

from . import common

#: All pairs up to the state after 7 bits; of the later ones, which have up to a million, as many are drawn.
MOST = 2**15
VERSION = 1
RULES = (
    Rule(
        key="6",
        statement="Putting the whole state in gives exactly the answers to the spliced strings.",
        metric="whole_state_equals_accuracy",
        definition="1 where the answers of all 1,024 pairs at all ten steps are equal, else 0.",
        source="Geiger et al. 2021; a tautology, which is why it is a check of the method and no evidence",
        established_if=Range(1.0, 1.0),
        refuted_if=Range.below(1.0),
        check=True,
    ),
)
#: Six ones read against none: the readable example, at the step after the sixth bit.
BASE, SOURCE, STEP = 0b0000001011, 0b1111110100, 5


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how the answers follow the cell state, the hidden state and both."""
    asked = common.pick(networks, *common.ANSWERING)
    return state_patching.measure(
        asked, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer, most=MOST
    )


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Check the whole state's interchange and draw it beside its parts."""
    accuracy = table[table["metric"] == "interchange_accuracy"]
    shown = common.drawn(accuracy)
    with style():
        figure = DataFigure.from_figure(
            state_patching.draw_grid(shown),
            name="interchange",
            title="Answers that follow the patched state",
            alt=_alt(accuracy),
            caption="Share of pairs, among those whose counts differ at the step, that answer as if the "
            "patched run had read the other string's first bits. Lines are medians over networks, bands 95 % "
            "intervals; planted: the ones-counter. A cell state beside gates that another string has set lies off "
            "the states that the network visits, so the parts carry no verdict. Alone it stands beside the hidden "
            "state that it did not make, which after the last bit is all that is read.",
            data=common.medians(shown, ["subject", "signal", "step"]),
        )
    notes = {
        "answer": _summary(accuracy),
        "support": _support(table),
        "example": _example(common.in_detail(networks)),
    }
    title = "Does the answer follow the state?"
    return common.finding(
        "state_patching", title, table, studied=networks, rules=RULES, figures=[figure], notes=notes
    )


def _summary(accuracy: pd.DataFrame) -> str:
    own = accuracy[accuracy["subject"] == "trained"]
    by_step = own.groupby(["signal", "step"])["value"].median().unstack()
    last = by_step.columns.max()
    cell, hidden = by_step.loc["cell_state"], by_step.loc["hidden_state"]
    return (
        f"The answer follows the cell state in {cell.drop(last).min():.0%} to {cell.drop(last).max():.0%} of the "
        "pairs of strings. We patch the cell state of another string into the run, and compare with the answer to "
        "the spliced string: the first bits of the other, then the bits of this one (medians over networks, by "
        "step, all but the last, of pairs whose counts differ). Where we patch the hidden state alone, it follows "
        f"in {hidden.drop(last).min():.0%} to {hidden.drop(last).max():.0%}. The pairs are all strings against all "
        f"distinct prefixes, or {MOST:,} drawn of them where there are more."
    )


def _support(table: pd.DataFrame) -> str:
    """Mark what lies off the support (claim 11)."""
    far = table[(table["metric"] == "off_support_distance") & (table["subject"] == "trained")]
    middle = far.groupby(["signal", "step"])["value"].median().unstack()
    parts = []
    for part, row in middle.iterrows():
        beyond = (row > FAR).sum()
        parts.append(
            f"{str(part).replace('_', ' ')} {row.min():.2f} to {row.max():.2f}, above {FAR:g} at {beyond} steps"
        )
    return f"Distance of the patched state from the states of clean runs, in count spacings: {'; '.join(parts)}."


def _alt(accuracy: pd.DataFrame) -> str:
    middle = accuracy[accuracy["subject"] == "trained"].groupby(["signal", "step"])["value"].median().unstack()
    parts = [f"{str(part).replace('_', ' ')} {row.min():.2f} to {row.max():.2f}" for part, row in middle.iterrows()]
    return f"Interchange accuracy of trained networks by what is patched, over all steps: {'; '.join(parts)}."


def _example(network: Network) -> str:
    example = state_patching.example(
        network, common.STRINGS, common.COUNTS, base=BASE, source=SOURCE, step=STEP, answer=answer
    )
    base, source = format_bits(common.STRINGS[[BASE, SOURCE]])
    spliced = source[: STEP + 1] + base[STEP + 1 :]
    return (
        f"An example: {network.name} reads {base} and answers {example.before:.0f}. After {STEP + 1} bits we patch "
        f"in the cell state of {source} (answer {example.of_source:.0f}). The run then answers "
        f"{example.after_cell:.0f}, and {example.after_whole:.0f} with the whole state. The spliced string "
        f"{spliced} has {example.target:.0f} ones; a clean run answers {example.of_spliced:.0f} to it."
    )
