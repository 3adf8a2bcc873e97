"""Does the direction in which states move with an answer carry it from there on, and leave the others alone?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError, several
from ...evidence.claims import Control, Rule
from ...evidence.measurements import Network, measurement, tabulate
from ...evidence.words import listed
from ...methods.causal.directions import joint_directions
from ...methods.causal.later import later_states
from ...methods.causal.pairs import Pairs, Put, along_coordinate, whole
from ...methods.machines import Machine
from ...methods.probing.targets import LEAST_SEQUENCES
from ...plots.networks import draw_dots
from ...recurrent.signals import as_indices, within
from ...subjects.ends import affordable_runs, part_of, runs_of, said_of
from ...subjects.subject import Subject, by_network
from .. import needs, uses
from ..question import Question
from ..rules import ANSWERING, FITTED, rule
from ..telling import step_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "single_answers"
#: What the columns of the counts are: with the coordinate, with nothing, and with the whole state put in.
_FOLLOWED, _UNPATCHED, _WHOLE = range(3)
#: Of a study: how many steps are patched, and on how many pairs at most; the rules' bound, and their distance.
STEPS, PAIRS = 3, 500
BOUND, MARGIN = 0.95, 0.05


def question(subject: Subject) -> Question:
    """Return the question, asked where the readout answers after more than the last step.

    A study has one readout, so the question is about the concept that it answers.

    Args:
        subject: one of the networks.
    """
    wanted = (needs.runs, needs.exact, _of_spliced, _steps_to_patch, uses.guessing_at_steps)
    askable = all(need(subject) is None for need in wanted)
    return Question(
        "single-answers",
        "Does the direction in which states move with the answer carry it from step to step?",
        measure,
        wanted,
        ANSWERING,
        rules=_rules(subject.concept.name),
        draw=draw,
        settings=_settings(subject) if askable else {},
        tell=partial(step_words.single_answers, draw=draw, setup=_setup),
        version=2,
    )


def _rules(name: str) -> tuple[Rule, ...]:
    followed = (
        "Share of right answers to the spliced sequence after steps at which it has another right answer than the "
        "base, where the source's coordinate of one concept was put into the base's state; of several concepts the "
        "worst, on sequences that the directions were not found on."
    )
    score = (
        "(followed - followed with nothing put in) / (followed with the whole state - followed with nothing put in); "
        "of several concepts the worst."
    )
    kept = "Share of the other concepts' later answers that stay the base's own; of several concepts the worst."
    beside, source = (Control(FITTED, MARGIN),), "Geiger et al. 2024; Sussillo & Barak 2013"
    return (
        rule(
            "single-followed",
            f"The direction in which states move with “{name}” carries it: later answers follow it alone.",
            "worst_followed",
            definition=followed,
            source=source,
            at_least=BOUND,
            controls=beside,
        ),
        rule(
            "single-score",
            f"Along that direction the answers to “{name}” follow as far as along the whole state.",
            "worst_score",
            definition=score,
            source="Geiger et al. 2021, Causal abstractions of neural networks",
            at_least=BOUND,
            controls=beside,
        ),
        rule(
            "single-kept",
            f"The answers to other concepts than “{name}” stay as they were.",
            "worst_kept",
            definition=kept,
            source="Geiger et al. 2024",
            at_least=BOUND,
        ),
    )


def _settings(subject: Subject) -> dict[str, Any]:
    sequences = affordable_runs(subject, needs.RUNS)
    part = part_of(subject, sequences)
    return {"steps": usual_steps(part), "pairs": min(PAIRS, sequences), "sequences": sequences}


def _setup(subject: Subject) -> str:
    """Return how a network of a study was measured."""
    found = _settings(subject)
    steps = [str(step + 1) for step in found["steps"]]
    return (
        f"We ran {said_of(subject, found['sequences'])}, each from its first step on. On one half of them we fitted "
        f"the direction in which states move with “{subject.answered.name}”. Among the others we drew "
        f"{several(found['pairs'], 'pair')} for each place of the patch, which is after {listed(steps)} "
        f"step{'s' * (steps != ['1'])}. We judge a later answer if the right answer to the spliced sequence is not "
        "the base's."
    )


def _of_spliced(subject: Subject) -> str | None:
    """A concept with a value on any sequence, which one direction can hold: a number, or one of two categories."""
    concept = subject.concept
    if concept.function is None:
        return f"“{concept.name}” is given as an array, and only a function has values on spliced sequences"
    if concept.is_categorical and len(concept.levels) > 2:
        return f"“{concept.name}” has several categories, and one direction holds a number or one of two categories"
    return None


def _steps_to_patch(subject: Subject) -> str | None:
    """A step before an answer at which enough sequences differ in the concept."""
    if len(usual_steps(part_of(subject, affordable_runs(subject, needs.RUNS)))):
        return None
    return (
        f"after no step do {LEAST_SEQUENCES} sequences have another value of “{subject.concept.name}” than the most "
        "frequent one, and a later answer that is known to be right or wrong"
    )


def usual_steps(subject: Subject) -> tuple[int, ...]:
    """Return at most three steps, spread over the sequence, after which a study patches states.

    After each, at least 8 sequences go on to a step that is answered, and as many have another value of the concept
    than the most frequent one.

    Args:
        subject: a network, whose readout answers after several steps.
    """
    values, lengths = subject.answered.values, subject.lengths
    judged = subject.asked.answered(lengths, values.shape[1]) & np.isfinite(values)
    possible = []
    for step in range(values.shape[1] - 1):
        here = values[np.isfinite(values[:, step]) & judged[:, step + 1 :].any(1), step]
        often = np.unique(here, return_counts=True)[1].max(initial=0)
        if len(here) - often >= LEAST_SEQUENCES:
            possible.append(step)
    places = np.linspace(0, len(possible) - 1, STEPS + 2)[1:-1].round().astype(int) if possible else []
    return tuple(possible[place] for place in np.unique(places))


def measure(
    subjects: Sequence[Subject],
    *,
    steps: int | Iterable[int],
    pairs: int = 500,
    seed: int = 0,
    sequences: int | None = None,
) -> pd.DataFrame:
    """Interchange one concept of several along one direction, and measure which later answers follow.

    Subjects of one network are its several answers, one concept each. After a step, states of one half of the
    sequences are fitted as a sum of one direction for each concept (`joint_directions`). Pairs are drawn among the
    other half, and the source's coordinate of one concept is put into the base's state (`along_coordinate`). The
    answers to that concept are judged after later steps at which its right value on the spliced sequence (the source
    up to the patch, then the base) is not its value on the base: until the base's inputs decide it anew. A spliced
    sequence that cannot occur (`Subject.allowed`) is left out. Where all sequences have one state there is no
    direction, and nothing is put in.

    Metrics, by concept (`kind`), over all patched steps: `followed`, the share of these answers that are the spliced
    sequence's right value; `followed_unpatched` the same with nothing put in, and `followed_whole` with the whole
    state, which is the network's own answer to the spliced sequence; `followed_score`, (followed - unpatched) /
    (whole - unpatched); `others_kept`, the share of the other concepts' answers after all later steps that are the
    base's own, over pairs that differ in the concept; a network of one answer has none. By concept and steps since
    the patch (`at`): `followed_after` and `followed_whole_after`. One value a network: `worst_followed`,
    `worst_followed_whole`, `worst_score` and `worst_kept`, the smallest of the concepts. A score is left out where
    the whole state answers as no patch does.

    Args:
        subjects: what is measured. The concepts are functions of a sequence.
        steps: after which steps states are patched, from 0, or negative from the end of the longest sequence.
        pairs: how many pairs of each step; they are drawn.
        seed: of the halves and the pairs.
        sequences: how many of the subjects' sequences are run at most, drawn by their seed; None for all.

    Raises:
        ProbeError: a network cannot be run from its states, a concept is no function of a sequence, a step does not
            exist or is the last, or fewer than 8 sequences go on after it.

    Reference:
        Geiger et al. 2024, Finding alignments between interpretable causal variables and distributed representations
        (distributed interchange of one variable of several).
    """
    rows: list[dict[str, Any]] = []
    for given in by_network(subjects):
        group = [part_of(subject, sequences) for subject in given]
        first = group[0]
        _check_functions(group)
        machine, time = runs_of(first), first.x.shape[1]
        chosen = within("steps", as_indices("steps", steps), time, "the input's time axis")
        if max(chosen) == time - 1:
            raise ProbeError(f"steps names {time - 1}, the last one, after which there is no later answer.")
        found = [_Counts(time) for _ in group]
        for step in chosen:
            train, drawn = _halves(group, machine, step, pairs, seed)
            _interchange(group, train, drawn, found)
        rows += _rows(group, found)
    return tabulate(rows)


def _check_functions(group: Sequence[Subject]) -> None:
    for subject in group:
        if subject.answered.function is None:
            raise ProbeError(
                f"The concept {subject.asked.concept!r} is an array, which says nothing of spliced sequences; give a "
                "function of one sequence's inputs."
            )


class _Counts:
    """Of one concept, by steps since the patch: how many answers were judged, and how many followed.

    Args:
        time: how many steps there may be.
    """

    def __init__(self, time: int) -> None:
        self.judged, self.followed = np.zeros(time), np.zeros((3, time))
        self.others, self.kept = 0, 0


@dataclass(frozen=True, eq=False)
class _Later:
    """What is answered and what is right after later steps, one entry a concept, (pair, step) each."""

    there: np.ndarray
    own: list[np.ndarray]
    spliced: list[np.ndarray]
    right_own: list[np.ndarray]
    right: list[np.ndarray]


def _interchange(group: Sequence[Subject], train: np.ndarray, pairs: Pairs, found: list[_Counts]) -> None:
    """Run the pairs of one step and add up what followed."""
    machine, step = pairs.machine, pairs.step
    concepts = np.column_stack([subject.answered.values[train, step] for subject in group])
    states = machine.clean.states[train, step].numpy()
    puts = [_nothing for _ in group]
    if np.ptp(states, axis=0).any():
        puts = [along_coordinate(*one) for one in zip(*joint_directions(states, concepts), strict=True)]
    later = _later(group, pairs)
    for place, (subject, counts) in enumerate(zip(group, found, strict=True)):
        patched = _answers(group, pairs, puts[place])
        right, judged = later.right[place], later.there & ~np.isclose(later.right[place], later.right_own[place])
        counts.judged[1 : 1 + judged.shape[1]] += judged.sum(0)
        for column, given in ((_FOLLOWED, patched), (_UNPATCHED, later.own), (_WHOLE, later.spliced)):
            counts.followed[column, 1 : 1 + judged.shape[1]] += (np.isclose(given[place], right) & judged).sum(0)
        values = subject.answered.values[:, step]
        differ = (values[pairs.base] != values[pairs.source])[:, None] & later.there
        for other in range(len(group)):
            if other != place:
                counts.others += int(differ.sum())
                counts.kept += int((np.isclose(patched[other], later.own[other]) & differ).sum())


def _halves(group: Sequence[Subject], machine: Machine, step: int, most: int, seed: int) -> tuple[np.ndarray, Pairs]:
    """Return the sequences on which directions are found, and pairs of the others; all go on after the step."""
    defined = np.all([np.isfinite(subject.answered.values[:, step]) for subject in group], axis=0)
    rows = np.flatnonzero(machine.clean.has(step + 1).numpy() & defined)
    if len(rows) < LEAST_SEQUENCES:
        raise ProbeError(
            f"{several(len(rows), 'sequence')} of the network {group[0].network.name!r} go on after step {step} and "
            f"have a value of all concepts there; at least {LEAST_SEQUENCES} are needed."
        )
    generator = np.random.default_rng([seed, step])
    order = generator.permutation(rows)
    train, test = np.sort(order[: len(rows) // 2]), order[len(rows) // 2 :]
    base, source = (torch.as_tensor(test[generator.integers(0, len(test), most)]) for _ in range(2))
    return train, Pairs(machine, step, base, source, exhaustive=False)


def _answers(group: Sequence[Subject], pairs: Pairs, put: Put) -> list[np.ndarray]:
    """Return the answers after all later steps, one entry a concept, NaN where a base has ended."""
    states = later_states(pairs, put, range(pairs.step + 1, pairs.machine.clean.inputs.shape[1]))
    return [states.answers(runs_of(subject).readout).chosen.numpy() for subject in group]


def _later(group: Sequence[Subject], pairs: Pairs) -> _Later:
    first, step = group[0], pairs.step
    base, source = pairs.base.numpy(), pairs.source.numpy()
    there = first.asked.answered(first.lengths, first.x.shape[1])[base, step + 1 :]
    own = _answers(group, pairs, _nothing)
    spliced = _answers(group, pairs, whole)
    right_own = [subject.answered.values[base, step + 1 :] for subject in group]
    x = first.x.double().numpy()
    right = [np.full(there.shape, np.nan) for _ in group]
    for row, (b, s) in enumerate(zip(base, source, strict=True)):
        read = np.concatenate([x[s, : step + 1], x[b, step + 1 : first.lengths[b]]])
        if not first.allows(read):
            continue
        for values, subject in zip(right, group, strict=True):
            values[row, : len(read) - step - 1] = subject.answered.of_sequence(read)[step + 1 :]
    every = [there, *(np.isfinite(values) for values in (*right, *right_own))]
    return _Later(np.all(every, axis=0), own, spliced, right_own, right)


def _nothing(pairs: Pairs) -> Tensor:
    return pairs.base_states


def _rows(group: Sequence[Subject], found: Sequence[_Counts]) -> list[dict[str, Any]]:
    network, layer = group[0].network, group[0].layer
    rows: list[dict[str, Any]] = []
    worst: dict[str, list[float]] = {}
    for subject, counts in zip(group, found, strict=True):
        for metric, value, after, count in _values(counts):
            rows.append(
                measurement(
                    QUESTION, metric, network, value, layer=layer, kind=subject.asked.concept, at=after, n=count
                )
            )
            worst.setdefault(metric, []).append(value)
    return rows + _worst(network, layer, worst)


def _values(counts: _Counts) -> list[tuple[str, float, float | None, int]]:
    """Return (metric, value, steps since the patch, how many answers) of a concept."""
    every = int(counts.judged.sum())
    if not every:
        raise ProbeError("No pair differs in a concept after a later step; give more pairs or longer sequences.")
    shares = counts.followed.sum(1) / every
    names = ("followed", "followed_unpatched", "followed_whole")
    found: list[tuple[str, float, float | None, int]] = [
        (name, float(share), None, every) for name, share in zip(names, shares, strict=True)
    ]
    way = float(shares[_WHOLE] - shares[_UNPATCHED])
    if way:
        found.append(("followed_score", float(shares[_FOLLOWED] - shares[_UNPATCHED]) / way, None, every))
    if counts.others:
        found.append(("others_kept", counts.kept / counts.others, None, counts.others))
    for after in np.flatnonzero(counts.judged):
        judged = int(counts.judged[after])
        for name, column in (("followed_after", _FOLLOWED), ("followed_whole_after", _WHOLE)):
            found.append((name, float(counts.followed[column, after] / judged), float(after), judged))
    return found


def _worst(network: Network, layer: str, values: dict[str, list[float]]) -> list[dict[str, Any]]:
    names = {
        "followed": "worst_followed",
        "followed_whole": "worst_followed_whole",
        "followed_score": "worst_score",
        "others_kept": "worst_kept",
    }
    return [
        measurement(QUESTION, name, network, min(values[metric]), layer=layer)
        for metric, name in names.items()
        if metric in values
    ]


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw for each network the share of answers that follow one direction, the whole state, and are kept.

    Args:
        frame: what `measure` returned.
        threshold: the bound of a rule, or None.
        ax: where to draw, or None for new axes.
    """
    metrics = {
        "worst_followed": "follow their\ndirection",
        "worst_followed_whole": "follow the\nwhole state",
        "worst_kept": "other answers\nthat stay",
    }
    metrics = {metric: label for metric, label in metrics.items() if (frame["metric"] == metric).any()}
    bounds = None if threshold is None else dict.fromkeys(metrics, threshold)
    ax = draw_dots(frame, metrics, thresholds=bounds, ax=ax)
    ax.set_ylabel("share of answers, worst concept")
    return ax
