"""What does one more input do to the answer, and is it the same at every step?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...methods.machines import Machine
from ...plots.legends import legend_above
from ...plots.style import ROLE_STYLE, axes_or_new
from ...recurrent.signals import as_indices, within
from ...subjects.answers import gives_number, task_of
from ...subjects.ends import ends_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Question
from ..rules import ANSWERING, rule

#: The most amounts by which a concept may grow: of more, hardly two contexts would be alike.
MOST_AMOUNTS = 12
QUESTION = "bit_effects"
#: How many steps are looked at by default: the last ones.
LATE = 5


def measure(subjects: Sequence[Subject], *, steps: Iterable[int] | None = None) -> pd.DataFrame:
    """Measure how the answer changes on an input, by how much the input adds to the concept.

    The answer y, a number before it is rounded or the value of the class that is chosen, is read off the state before
    and after each step, as the answer to the sequence so far. The contexts of a step are its distinct prefixes;
    pooled over steps, every step has the same total weight.

    Metrics (`at` is the amount added, such as 0 or 1): `effect_at_step` and `effect_sd_at_step`, the mean
    change of y and its sd over the contexts of a step; `effect` and `effect_sd`, the same over all of them;
    `largest_effect_sd`, one value a network, the largest over the amounts.

    Args:
        steps: on which steps' inputs, each with one before it; None for the last five. Of sequences of which only the
            ends are run, these are counted from the first step that is run.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), grows by more than 12 different amounts, or a step
            or layer does not exist.

    Reference:
        Weiss et al. 2018, On the practical computational power of finite precision RNNs, section 4 (what a counting
        cell does on each symbol); docs/science.md, claim 16.
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        end, concept = ends_of(subject), task_of(subject).concept
        machine, before = end.machine, subject.x.shape[1] - end.steps
        length = machine.clean.inputs.shape[1]
        wanted = later_steps(steps, range(max(1, length - LATE), length), length)
        effects = {before + step: _change(machine, step, chosen=not gives_number(subject)) for step in wanted}
        grown = concept.diff(dim=1).numpy()
        added = {before + step: grown[machine.clean.prefixes[step].rows, step - 1] for step in wanted}
        amounts = np.unique(np.concatenate(list(added.values())))
        if len(amounts) > MOST_AMOUNTS:
            raise ProbeError(
                f"The concept grows by {len(amounts)} different amounts at the steps {wanted}, and at most "
                f"{MOST_AMOUNTS} can be compared; round it, or cut it into a few values."
            )
        for metric, value, about in _effects(effects, added, amounts):
            rows.append(measurement(QUESTION, metric, subject.network, value, layer=subject.layer, **about))
    return tabulate(rows)


def later_steps(steps: Iterable[int] | None, usual: range, length: int) -> list[int]:
    """Return the steps on whose inputs something may change, the usual ones for None.

    Raises:
        ProbeError: a step does not exist, or is the first one.
    """
    chosen = within("steps", as_indices("steps", usual if steps is None else steps), length, "the input's time axis")
    if 0 in chosen:
        raise ProbeError(f"steps={chosen}: none of them may be the first, 0, before which nothing was read.")
    return chosen


def _change(machine: Machine, step: int, *, chosen: bool) -> np.ndarray:
    """Return how the answer, or the expected one, changes on a step's input, one number for each distinct prefix."""
    states = machine.clean.states[machine.clean.prefixes[step].rows]
    after, before = (machine.answers(states[:, at]) for at in (step, step - 1))
    return ((after.chosen.double() - before.chosen) if chosen else (after.expected - before.expected)).numpy()


def _effects(
    effects: dict[int, np.ndarray], added: dict[int, np.ndarray], amounts: np.ndarray
) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Yield (metric, value, amount and step)."""
    spreads = []
    for amount in amounts:
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        for step, change in effects.items():
            here = change[added[step] == amount]
            if len(here):
                yield "effect_at_step", here.mean(), {"at": amount, "step": step}
                yield "effect_sd_at_step", here.std(), {"at": amount, "step": step}
                parts.append((here, np.full(len(here), 1 / len(change))))
        values, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        mean = np.average(values, weights=weight)
        spreads.append(float(np.sqrt(np.average((values - mean) ** 2, weights=weight))))
        yield "effect", mean, {"at": amount}
        yield "effect_sd", spreads[-1], {"at": amount}
    yield "largest_effect_sd", max(spreads), {}


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the change of the answer by step: the mean, and one sd over contexts as a bar; medians over networks."""
    ax = axes_or_new(ax)
    roles = [role for role in ROLE_STYLE if (frame["role"] == role).any()]
    steps = sorted(frame["step"].dropna().unique().astype(int))
    for place, role in enumerate(roles):
        look, shift = ROLE_STYLE[role], (place - (len(roles) - 1) / 2) * 0.14
        of_role = frame[frame["role"] == role]
        for number, (amount, rows) in enumerate(of_role[of_role["at"].notna()].groupby("at")):
            tables = rows.pivot_table(index="step", columns="metric", values="value", aggfunc="median")
            at = tables.index.to_numpy(float) + 1
            style: dict[str, Any] = look.line() | {"fillstyle": "none" if number % 2 == 0 else "full"}
            label = role if amount == of_role["at"].max() else None
            ax.errorbar(
                at + shift, tables["effect_at_step"], tables["effect_sd_at_step"], **style, linewidth=1.2, label=label
            )
    for amount in frame["at"].dropna().unique():
        ax.axhline(amount, color="black", linewidth=0.6, zorder=0)
    ax.set_xticks(range(steps[0] + 1, steps[-1] + 2))
    ax.set_xlabel("step that is read")
    ax.set_ylabel("change of the expected answer")
    legend_above(ax)
    return ax


def question(subject: Subject) -> Question:
    """Return the question for whole numbers, by how much an input adds to them."""
    return Question(
        "bit-effects",
        "What does one more input do to the answer?",
        measure,
        (needs.one_length, needs.machine, needs.numbers, needs.whole_numbers, needs.better_than_a_guess),
        ANSWERING,
        (
            rule(
                "same-effect",
                f"What an input adds to “{subject.concept.name}” decides how it moves the answer, wherever it comes.",
                "largest_effect_sd",
                definition="Change of the answer, a number before rounding, on an input of the last five steps, read "
                "off the state before and after it; sd over contexts (every step the same weight), the largest over "
                "the amounts.",
                source="Weiss et al. 2018",
                at_most=0.25,
            ),
        ),
        draw,
        version=3,
    )
