"""What does one more input do to the answer, and is it the same at every step?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import ProbeError
from ...evidence.measurements import measurement, only, tabulate
from ...evidence.words import listed, signed
from ...methods.machines import Machine
from ...plots.legends import Key, name_lines, numbered
from ...plots.networks import draw_median_line
from ...plots.style import NARROW, NARROW_HEIGHT, name_colours, new_figure
from ...recurrent.signals import as_indices, within
from ...subjects.answers import gives_number, task_of
from ...subjects.ends import ends_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..rules import ANSWERING, rule
from ..told import figure_of

#: The most amounts by which a concept may grow: of more, hardly two contexts would be alike.
MOST_AMOUNTS = 12
QUESTION = "bit_effects"
#: How many steps are looked at by default: the last ones.
LATE = 5
#: So many amounts are named in a sentence; an answer that moves by less stays as it is.
MOST_SAID, LEAST = 3, 0.05
CAPTION = "A dotted line is what the input adds to the concept itself."


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


def heading(answered: Answered) -> str:
    """Return what an input does to the answer, by what it adds to the concept: of many amounts the two ends."""
    effects = only(answered.table, metric="effect", role="trained").groupby("at")["value"].median()
    names = _names(answered.subjects, effects.index)
    shown = effects if len(effects) <= MOST_SAID else effects.iloc[[0, -1]]
    first, *others = (f"{names[at]} {_does(value)}" for at, value in zip(shown.index.tolist(), shown, strict=True))
    return listed([first[0].upper() + first[1:], *(other.replace(" the answer", " it", 1) for other in others)])


def _does(change: float) -> str:
    """Return in words what a change of so much does to the answer."""
    if abs(change) < LEAST:
        return "leaves the answer as it is"
    return f"{'raises' if change > 0 else 'lowers'} the answer by {abs(change):.2f}"


def _names(subjects: Sequence[Subject], amounts: Iterable[float]) -> dict[float, str]:
    """Return what a sentence calls the inputs that add an amount: the input itself where there is one for each."""
    names = {amount: f"an input that adds {amount:g}" for amount in amounts}
    if not subjects or len(subjects[0].x) == 0:
        return names
    subject = subjects[0]
    grown = task_of(subject).concept.diff(dim=1).numpy().ravel()
    read = ends_of(subject).machine.clean.inputs[:, 1:].double().flatten(0, 1).numpy()
    if len(read) != len(grown):
        return names
    pairs = np.unique(np.column_stack([grown, read]), axis=0)
    own = {amount: pairs[pairs[:, 0] == amount, 1:] for amount in names}
    if any(len(inputs) != 1 for inputs in own.values()) or len(np.unique(pairs[:, 1:], axis=0)) != len(own):
        return names
    symbols = {tuple(value.tolist()): f"“{symbol}”" for symbol, value in subject.symbols.items()}
    for amount, inputs in own.items():
        (value,) = inputs.tolist()
        digit = f"{'an' if f'{value[0]:g}'.startswith('8') else 'a'} {value[0]:g}" if len(value) == 1 else ""
        names[amount] = symbols.get(tuple(value), digit) or names[amount]
    return names


def tell(answered: Answered) -> Told:
    """Say what an input does to the answers of one network, and show it after each step."""
    first, table = heading(answered), answered.table
    amounts = only(table, metric="effect")["at"].unique()
    figure = figure_of(
        answered,
        partial(draw, names=_names(answered.subjects, amounts)),
        "effect_at_step",
        title="What one input does to the answer",
        alt=f"{first}.",
        caption=CAPTION,
    )
    return Told({"answer": f"{first}."}, figure)


def draw(frame: pd.DataFrame, *, names: Mapping[float, str] | None = None) -> Axes:
    """Draw how far each input moves the answer by step, the median over trained networks, beside what it adds.

    Args:
        frame: what was measured.
        names: amount that an input adds -> what a sentence calls such an input.
    """
    rows = only(frame, metric="effect_at_step", role="trained")
    ax = new_figure(width=NARROW, height=NARROW_HEIGHT)[1][0, 0]
    amounts = sorted(rows["at"].unique())
    effects = only(frame, metric="effect", role="trained").groupby("at")["value"].median()
    called = names or _names((), amounts)
    labels = [f"{called[amount].removeprefix('an input that ')}: {signed(effects[amount])}" for amount in amounts]
    key = Key(labels, name_colours(len(amounts)))
    ends = []
    for amount, ink in zip(amounts, key.colours, strict=True):
        own = rows[rows["at"] == amount]
        draw_median_line(own, ax=ax, color=ink, marker="o")
        _ = ax.axhline(amount, color=ink, linewidth=1, linestyle=":", zorder=0)
        ends.append(float(own.groupby("step")["value"].median().iloc[-1]))
    ax.set(xlabel="step that is read", ylabel="moves the answer by")
    numbered(ax, np.unique(rows["step"].to_numpy(int) + 1))
    name_lines([ax], ends, key)
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
        tell,
        version=3,
        heading=heading,
        caption=CAPTION,
    )
