"""Does the counter's answer follow its state when one string's state is patched into another's run?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from analyses.counter import common
from models.tasks import format_bits
from probe import Finding
from probe.evidence import Range, Rule
from probe.evidence.measurements import Network, only
from probe.methods.causal.support import FAR
from probe.questions.interventions import state_patching
from probe.questions.interventions.patched_runs import PatchedRuns
from probe.subjects.subject import Subject

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
    return state_patching.measure(common.subjects(asked), most=MOST)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Check the whole state's interchange and draw it beside its parts."""
    shown = common.drawn(only(table, metric="interchange_accuracy"))
    accuracy, distance = (_by_step(table, name) for name in ("interchange_accuracy", "off_support_distance"))
    figure = common.picture(
        lambda: state_patching.draw_grid(shown),
        name="interchange",
        title="Answers that follow the patched state",
        alt=f"Interchange accuracy of trained networks, over all steps: {'; '.join(_ends(accuracy))}.",
        caption="How many pairs answer as if the patched run had read the other string's first bits, of those whose "
        "counts differ at the step. Lines are medians over networks, bands 95 % intervals; planted: the "
        "ones-counter. We draw no verdict from parts of the state. A patched cell state stands beside gates that "
        "another string has set, and a network does not visit such states. Patched alone, it also stands beside a "
        "hidden state that it did not make. After the last bit that hidden state is all that the head reads.",
        data=common.medians(shown, ["role", "kind", "step"]),
    )
    far = (distance > FAR).sum(axis=1)
    beyond = ", ".join(f"for the {str(part).replace('_', ' ')} at {steps}" for part, steps in far.items())
    notes = {
        "answer": _answer(accuracy),
        "support": "A patch can make a state that a network never visits. We measure how far the patched state lies "
        "from the nearest state of a clean run, where 1 is the distance between neighbouring counts. Of "
        f"{distance.shape[1]} steps it is more than {FAR:g} {beyond}.",
        "example": _example(common.subjects([common.in_detail(networks)])[0]),
    }
    title = "Does the answer follow the state?"
    return common.finding(
        "state_patching", title, table, studied=networks, rules=RULES, figures=[figure], notes=notes
    )


def _by_step(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the medians over trained networks, a row a part of the state, a column a step."""
    return only(table, metric=metric, role="trained").groupby(["kind", "step"])["value"].median().unstack()


def _ends(by_step: pd.DataFrame) -> list[str]:
    ends = zip(by_step.index, by_step.min(axis=1), by_step.max(axis=1), strict=True)
    return [f"{str(part).replace('_', ' ')} {low:.2f} to {high:.2f}" for part, low, high in ends]


def _answer(accuracy: pd.DataFrame) -> str:
    before_last = accuracy.drop(columns=accuracy.columns.max())
    cell, hidden = before_last.loc["cell_state"], before_last.loc["hidden_state"]
    return (
        f"The answer follows the cell state in {cell.min():.0%} to {cell.max():.0%} of the pairs of strings. We "
        "patch the cell state of another string into the run. The answer follows if it is that to the spliced "
        "string: the first bits of the other, then the bits of this one. We count pairs whose counts differ, at "
        "every step but the last, and take medians over networks. If we patch the hidden state alone, the answer "
        f"follows in {hidden.min():.0%} to {hidden.max():.0%}. The pairs are all strings with all distinct prefixes. "
        f"Where there are more than {MOST:,}, we draw so many of them."
    )


def _example(subject: Subject) -> str:
    run, swap = PatchedRuns(subject, [BASE, SOURCE]), torch.tensor([1, 0])
    cell, whole = (run.patched(STEP, swap, part)[0][0] for part in ("cell_state", "whole_state"))
    base, source = format_bits(common.STRINGS[[BASE, SOURCE]])
    spliced = source[: STEP + 1] + base[STEP + 1 :]
    return (
        f"An example: {subject.network.name} reads {base} and answers {run.answers[0]:.0f}. After {STEP + 1} bits we "
        f"patch in the cell state of {source} (answer {run.answers[1]:.0f}). The run then answers {cell:.0f}, and "
        f"{whole:.0f} with the whole state. The spliced string {spliced} has {spliced.count('1')} ones; a clean run "
        f"answers {run.spliced(STEP, swap)[0]:.0f} to it."
    )
