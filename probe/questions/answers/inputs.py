"""Which inputs move the answer?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from ...evidence.claims import Control
from ...evidence.measurements import only
from ...plots.style import NARROW, NARROW_HEIGHT, new_figure
from ...subjects.ends import ends_of
from ...subjects.subject import Subject
from .. import needs
from ..headings import by_rule
from ..interventions.patching import Value, draw_lines, table_of
from ..question import Answered, Question, Told
from ..rules import ANSWERING, FITTED, rule
from ..told import controls_of, figure_of, of_network

QUESTION = "inputs"
#: What the picture shows.
CAPTION = "Shares of the sum over all steps; lines are medians over networks."
#: Of so many sequences an input is replaced, at so many steps at most.
ROWS, STEPS = 256, 32
#: A step whose share is so many times that of steps that share alike is named.
FAR = 1.5


def question(subject: Subject) -> Question:
    """Return the question; its rule names the concept."""
    return Question(
        "inputs",
        "Which inputs move the answer?",
        measure,
        (needs.one_length, needs.two_steps, needs.scale, needs.whole, needs.used_states),
        ANSWERING,
        (
            rule(
                "early-inputs",
                f"Early inputs move the answer to “{subject.concept.name}”, not the last ones alone.",
                "early_share",
                definition="A step's input is replaced by another one of that step: mean change of the expected "
                "answer after the last step. The part of the first half of the steps in the sum over all of them.",
                source="Zeiler & Fergus 2014, Visualizing and understanding convolutional networks, section 4.2",
                at_least=0.25,
                controls=(Control(FITTED, 0.1),),
            ),
        ),
        draw,
        tell,
        caption=CAPTION,
        heading=by_rule(
            "Early inputs move the answer, not the last ones alone",
            "The last inputs decide the answer",
        ),
    )


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how far the answer moves where the input of one step is another sequence's.

    The answer is the expected one after the last step. Pairs of sequences whose inputs differ at the step count, and
    of long sequences steps at equal distances.

    Metrics: `effect_at_step`, the mean absolute change; `share_at_step`, its part of the sum over steps;
    `early_share`, the part of the first half of the steps.

    Raises:
        ProbeError: the subject has no machine of whole sequences.
    """
    return table_of(QUESTION, subjects, _values)


def _values(subject: Subject) -> Iterator[Value]:
    machine = ends_of(subject).machine
    clean, length = machine.clean, machine.clean.inputs.shape[1]
    # Neighbours may begin alike: each row reads the input of one that is drawn.
    drawn = torch.as_tensor(np.random.default_rng([subject.seed, 22]).permutation(len(clean.inputs))[:ROWS])
    found: dict[int, tuple[float, int]] = {}
    for step in np.unique(np.linspace(0, length - 1, STEPS).round().astype(int)).tolist():
        others = clean.inputs[drawn.roll(1), step : step + 1]
        differ = (others != clean.inputs[drawn, step : step + 1]).flatten(1).any(1)
        rows = drawn[differ]
        before = clean.states[rows, step - 1] if step else clean.initial[rows]
        states = machine.dynamics.advance(before, others[differ])
        moved = machine.answers(states, rows, step).expected - machine.answers(clean.states[rows, -1]).expected
        found |= {step: (float(moved.double().abs().mean()), len(rows))} if len(rows) else {}
    total = max(sum(effect for effect, _ in found.values()), 1e-12)
    for step, (effect, count) in found.items():
        yield "effect_at_step", effect, {"step": step, "n": count}
        yield "share_at_step", effect / total, {"step": step, "n": count}
    yield "early_share", sum(effect for step, (effect, _) in found.items() if step < length // 2) / total, {}


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the part of each step's input in the change of the answer: medians over networks with their interval."""
    rows = only(frame, metric="share_at_step")
    panel = new_figure(width=NARROW, height=NARROW_HEIGHT)[1][0, 0] if ax is None else ax
    ax = draw_lines(rows, at="step", x="step whose input is another", y="share of the change", ax=panel)
    ax.set_ylim(0, None)
    return ax


def tell(answered: Answered) -> Told:
    """Say which inputs move the answers of one network, and show it."""
    early = float(of_network(answered, "early_share")["value"].iloc[0])
    rows = of_network(answered, "share_at_step")
    most, equal = rows.sort_values("value").iloc[-1], 1 / max(len(rows), 1)
    first = (
        f"The first half of the inputs makes {early:.0%} of what single inputs change in the answer"
        f"{controls_of(answered, 'early_share', '{:.0%}'.format)}"
    )
    single = f"; the input of step {int(most['step']) + 1} makes most, {most['value']:.0%}."
    first += single if most["value"] > FAR * equal else "; no step's input makes far more than another's."
    setup = (
        "We replace the input of one step by another one of that step, run the rest, and compare the expected "
        f"answers after the last step. We ran {ends_of(answered.subject).drawn(ROWS)}."
    )
    figure: Any = figure_of(
        answered,
        draw,
        "share_at_step",
        title="Which inputs move the answer",
        alt=first,
        caption=CAPTION,
    )
    return Told({"answer": first, "setup": setup}, figure)
