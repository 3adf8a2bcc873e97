"""Does the direction in which states move with an answer carry it from there on, and leave the others alone?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ...errors import ProbeError, several
from ...evidence.claims import Control, Rule
from ...evidence.measurements import measurement, only, tabulate
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
from ..question import Answered, Question, Told
from ..rules import ANSWERING, FITTED, rule
from ..told import figure_of, of_network

QUESTION = "single_answers"
#: Of which answers shares are counted: with the coordinate, with nothing, and with the whole state put in.
_PUTS = ("followed", "followed_unpatched", "followed_whole")
#: Of several concepts the worst -> the metric of one.
_WORST = {
    "worst_followed": "followed",
    "worst_followed_whole": "followed_whole",
    "worst_score": "followed_score",
    "worst_kept": "others_kept",
}
#: Of a study: how many steps are patched, and on how many pairs at most; the rules' bound, and their distance.
STEPS, PAIRS = 3, 500
BOUND, MARGIN = 0.95, 0.05


def question(subject: Subject) -> Question:
    """Return the question, asked where the readout answers after more than the last step."""
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
        tell=tell,
        version=2,
    )


def _rules(name: str) -> tuple[Rule, ...]:
    worst, beside = "of several concepts the worst.", (Control(FITTED, MARGIN),)
    stated = {
        "followed": (
            f"The direction in which states move with “{name}” carries it: later answers follow it alone.",
            "Share of right answers to the spliced sequence, after steps at which it has another right answer than "
            "the base, where the source's coordinate of one concept was put into the base's state, on sequences that "
            f"the directions were not found on; {worst}",
            beside,
        ),
        "score": (
            f"Along that direction the answers to “{name}” follow as far as along the whole state.",
            "(followed - followed with nothing put in) / (followed with the whole state - followed with nothing put "
            f"in); {worst}",
            beside,
        ),
        "kept": (
            f"The answers to other concepts than “{name}” stay as they were.",
            f"Share of the other concepts' later answers that stay the base's own; {worst}",
            (),
        ),
    }
    return tuple(
        rule(
            f"single-{key}",
            statement,
            f"worst_{key}",
            definition=definition,
            source="Geiger et al. 2024; Sussillo & Barak 2013",
            at_least=BOUND,
            controls=controls,
        )
        for key, (statement, definition, controls) in stated.items()
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
        f"We ran {said_of(subject, found['sequences'])}. On one half of them we fitted the direction in which states "
        f"move with “{subject.answered.name}”; among the others we drew {several(found['pairs'], 'pair')} for each "
        f"place of the patch, after {listed(steps)} step{'s' * (steps != ['1'])}. We judge a later answer if the "
        "right answer to the spliced sequence is not the base's."
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
    other half, and the source's coordinate of one concept is put into the base's state (`along_coordinate`). Later
    answers are judged where the right value on the spliced sequence is not that on the base. A spliced sequence that
    cannot occur (`Subject.allowed`) is left out. Where all sequences have one state nothing is put in.

    Metrics, by concept (`kind`), over all patched steps: `followed`, the share of these answers that are the spliced
    sequence's right value; `followed_unpatched` with nothing put in, `followed_whole` with the whole state;
    `followed_score`, (followed - unpatched) / (whole - unpatched), left out at 0 / 0; `others_kept`, the share of the
    other concepts' later answers that are the base's own, over pairs that differ in the concept. By steps since the
    patch (`at`) too: `followed_after` and `followed_whole_after`. One value a network, the smallest of the concepts:
    `worst_followed`, `worst_followed_whole`, `worst_score` and `worst_kept`.

    Args:
        subjects: what is measured. The concepts are functions of a sequence.
        steps: after which steps states are patched, from 0, or negative from the end of the longest sequence.
        pairs: how many pairs of each step; they are drawn.
        sequences: how many of the subjects' sequences are run at most, drawn by their seed; None for all.

    Raises:
        ProbeError: a network cannot be run from its states, a concept is no function of a sequence, a step does not
            exist or is the last, or fewer than 8 sequences go on after it.

    Reference:
        Geiger et al. 2024, Finding alignments between interpretable causal variables and distributed representations
        (distributed interchange of one variable of several).
    """
    return tabulate(row for given in by_network(subjects) for row in _rows(given, steps, pairs, seed, sequences))


def _rows(
    given: Sequence[Subject], steps: int | Iterable[int], pairs: int, seed: int, sequences: int | None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one network."""
    group = [part_of(subject, sequences) for subject in given]
    for subject in group:
        if subject.answered.function is None:
            raise ProbeError(
                f"The concept {subject.asked.concept!r} is an array, which says nothing of spliced sequences; give a "
                "function of one sequence's inputs."
            )
    machine, time = runs_of(group[0]), group[0].x.shape[1]
    chosen = within("steps", as_indices("steps", steps), time, "the input's time axis")
    if max(chosen) == time - 1:
        raise ProbeError(f"steps names {time - 1}, the last one, after which there is no later answer.")
    counts = [_Counts(time) for _ in group]
    for step in chosen:
        train, drawn = _halves(group, machine, step, pairs, seed)
        _interchange(group, train, drawn, counts)
    network, layer, values = group[0].network, group[0].layer, dict[str, list[float]]()
    for subject, counted in zip(group, counts, strict=True):
        for metric, value, place in counted.values():
            yield measurement(QUESTION, metric, network, value, layer=layer, kind=subject.asked.concept, **place)
            values.setdefault(metric, []).append(value)
    for worst, metric in _WORST.items():
        if metric in values:
            yield measurement(QUESTION, worst, network, min(values[metric]), layer=layer)


class _Counts:
    """Of one concept, by steps since the patch: how many answers were judged, and how many followed each put."""

    def __init__(self, time: int) -> None:
        self.judged, self.followed = np.zeros(time), {name: np.zeros(time) for name in _PUTS}
        self.others, self.kept = 0, 0

    def values(self) -> Iterator[tuple[str, float, dict[str, Any]]]:
        """Yield each metric, its value, and its place."""
        every = int(self.judged.sum())
        if not every:
            raise ProbeError("No pair differs in a concept after a later step; give more pairs or longer sequences.")
        shares = {name: float(counted.sum() / every) for name, counted in self.followed.items()}
        for name, share in shares.items():
            yield name, share, {"n": every}
        along, nothing, all_of_it = shares.values()
        if all_of_it != nothing:
            yield "followed_score", (along - nothing) / (all_of_it - nothing), {"n": every}
        if self.others:
            yield "others_kept", self.kept / self.others, {"n": self.others}
        for after in np.flatnonzero(self.judged):
            place = {"at": float(after), "n": int(self.judged[after])}
            for name in ("followed", "followed_whole"):
                yield f"{name}_after", float(self.followed[name][after] / self.judged[after]), place


def _interchange(group: Sequence[Subject], train: np.ndarray, pairs: Pairs, counts: Sequence[_Counts]) -> None:
    """Run the pairs of one step and add up what followed."""
    machine, step = pairs.machine, pairs.step
    concepts = np.column_stack([subject.answered.values[train, step] for subject in group])
    states = machine.clean.states[train, step].numpy()
    puts: list[Put] = [_nothing for _ in group]
    if np.ptp(states, axis=0).any():
        puts = [along_coordinate(*both) for both in zip(*joint_directions(states, concepts), strict=True)]
    there, right_own, right = _right(group, pairs)
    unpatched, spliced = _answers(group, pairs, _nothing), _answers(group, pairs, whole)
    for place, (subject, counted) in enumerate(zip(group, counts, strict=True)):
        patched = _answers(group, pairs, puts[place])
        judged = there & ~np.isclose(right[place], right_own[place])
        counted.judged[1 : 1 + judged.shape[1]] += judged.sum(0)
        for name, given in zip(_PUTS, (patched, unpatched, spliced), strict=True):
            hits = np.isclose(given[place], right[place]) & judged
            counted.followed[name][1 : 1 + judged.shape[1]] += hits.sum(0)
        values = subject.answered.values[:, step]
        differ = (values[pairs.base] != values[pairs.source])[:, None] & there
        for other in range(len(group)):
            if other != place:
                counted.others += int(differ.sum())
                counted.kept += int((np.isclose(patched[other], unpatched[other]) & differ).sum())


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
    """Return the answers after all later steps, (pair, step) for each concept, NaN where a base has ended."""
    states = later_states(pairs, put, range(pairs.step + 1, pairs.machine.clean.inputs.shape[1]))
    return [states.answers(runs_of(subject).readout).chosen.numpy() for subject in group]


def _right(group: Sequence[Subject], pairs: Pairs) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Return which later steps are answered, (pair, step), and what is right there, of the base and of the splice."""
    first, step = group[0], pairs.step
    base, source = pairs.base.numpy(), pairs.source.numpy()
    there = first.asked.answered(first.lengths, first.x.shape[1])[base, step + 1 :]
    of_base = [subject.answered.values[base, step + 1 :] for subject in group]
    x = first.x.double().numpy()
    of_splice = [np.full(there.shape, np.nan) for _ in group]
    for row, (b, s) in enumerate(zip(base, source, strict=True)):
        read = np.concatenate([x[s, : step + 1], x[b, step + 1 : first.lengths[b]]])
        if first.allows(read):
            for values, subject in zip(of_splice, group, strict=True):
                values[row, : len(read) - step - 1] = subject.answered.of_sequence(read)[step + 1 :]
    known = np.all([there, *(np.isfinite(values) for values in (*of_splice, *of_base))], axis=0)
    return known, of_base, of_splice


def _nothing(pairs: Pairs) -> Tensor:
    return pairs.base_states


def draw(frame: pd.DataFrame) -> Axes:
    """Draw for each network the share of answers that follow one direction, the whole state, and are kept."""
    metrics = {
        "worst_followed": "follow their\ndirection",
        "worst_followed_whole": "follow the\nwhole state",
        "worst_kept": "other answers\nthat stay",
    }
    ax = draw_dots(frame, {metric: label for metric, label in metrics.items() if (frame["metric"] == metric).any()})
    ax.set_ylabel("share of answers, worst concept")
    return ax


def tell(answered: Answered) -> Told:
    """Return how many later answers follow the direction, beside the whole state, nothing and a fitted head."""
    along, nothing, whole_state = (float(of_network(answered, metric)["value"].iloc[0]) for metric in _PUTS)
    text = (
        f"Along the direction in which states move with “{answered.subject.answered.name}”, {along:.0%} of later "
        f"answers follow a patch; with the whole state {whole_state:.0%}, with nothing {nothing:.0%}. We tried no "
        "other direction."
    )
    heads = only(answered.table, metric="worst_followed", role="fitted head")["value"]
    if len(heads):
        text += f" In a network with random weights and a fitted head it is {heads.median():.1%}."
    title, caption = "Later answers that follow a patch", "Each mark is a network, the one under study or a control."
    picture = figure_of(answered, draw, "worst_followed", title=title, alt=text, caption=caption)
    return Told({"answer": text, "setup": _setup(answered.subject)}, picture)
