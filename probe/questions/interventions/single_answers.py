"""Does the direction in which states move with an answer carry it from there on, and leave the others alone?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from ...errors import ProbeError, several
from ...evidence.words import listed
from ...methods.causal.directions import joint_directions
from ...methods.causal.pairs import Pairs, Put, along_coordinate, columns, whole
from ...methods.causal.patched_states import later_states
from ...methods.machines import Machine
from ...methods.probing.groups import folds
from ...methods.probing.targets import LEAST_SEQUENCES
from ...plots.networks import draw_dots
from ...recurrent.signals import as_indices, within
from ...subjects.ends import affordable_runs, part_of, runs_of, said_of
from ...subjects.subject import Subject, by_network
from .. import needs, uses
from ..headings import by_rule
from ..question import Answered, Question, Told
from ..rules import ANSWERING, FITTED, above, rule
from .patching import Value, table_of

#: Puts nothing in.
NOTHING = columns([])
#: Of which answers shares are counted: with the coordinate, with nothing, and with the whole state put in.
_PUTS = ("followed", "followed_unpatched", "followed_whole")
#: Of several concepts the worst -> the metric of one.
_WORST = {
    "worst_followed": "followed",
    "worst_followed_whole": "followed_whole",
    "worst_score": "followed_score",
    "worst_kept": "others_kept",
}
_ONE_DIRECTION = needs.Need(
    lambda s: s.concept.is_categorical and len(s.concept.levels) > 2,
    "“{0.concept.name}” has several categories, and one direction holds a number or one of two categories",
)
#: Of a study: how many steps are patched, and on how many pairs at most.
STEPS, PAIRS = 3, 500


def question(subject: Subject) -> Question:
    """Return the question, asked where the readout answers after more than the last step."""
    wanted = (needs.runs, needs.exact, _ONE_DIRECTION, _steps_to_patch, uses.guessing_at_steps)
    askable = all(need(subject) is None for need in wanted)
    name, beside = f"“{subject.concept.name}”", (above(FITTED),)
    return Question(
        "single-answers",
        "Does the direction in which states move with the answer carry it from step to step?",
        measure,
        wanted,
        ANSWERING,
        rules=(
            rule(
                "single-followed-2",
                f"The direction in which states move with {name} carries it: later answers follow it alone.",
                "worst_followed",
                definition="Share of right answers to the spliced sequence, after steps at which it has another "
                "right answer than the base, where the source's coordinate of the concept was put into the base's "
                "state, on sequences that the direction was not found on.",
                source="Geiger et al. 2024; Sussillo & Barak 2013",
                at_least=0.95,
                controls=beside,
            ),
            rule(
                "single-score-2",
                f"Along that direction the answers to {name} follow as far as along the whole state.",
                "worst_score",
                definition="(followed - followed with nothing put in) / (followed with the whole state - followed "
                "with nothing put in).",
                source="Geiger et al. 2024; Sussillo & Barak 2013",
                at_least=0.95,
                controls=beside,
            ),
        ),
        draw=draw,
        settings=_settings(subject) if askable else {},
        tell=tell,
        version=2,
        heading=by_rule(
            f"One direction in the states carries {name} from step to step",
            f"No single direction in the states carries {name} from step to step",
        ),
        caption="How many answers follow one direction, and how many the whole state; dots are networks.",
    )


def _settings(subject: Subject) -> dict[str, Any]:
    sequences = affordable_runs(subject, needs.RUNS)
    return {"steps": usual_steps(part_of(subject, sequences)), "pairs": min(PAIRS, sequences), "sequences": sequences}


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
    pairs: int = PAIRS,
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
        ProbeError: a network cannot be run from its states, a step does not exist or is the last, or fewer than 8
            sequences go on after it.

    Reference:
        Geiger et al. 2024, Finding alignments between interpretable causal variables and distributed representations
        (distributed interchange of one variable of several).
    """
    groups = {given[0].network.name: given for given in by_network(subjects)}
    wanted = as_indices("steps", steps)

    def values(first: Subject) -> Iterator[Value]:
        group = [part_of(subject, sequences) for subject in groups[first.network.name]]
        return _of_network(group, wanted, pairs)

    return table_of("single_answers", [given[0] for given in groups.values()], values)


def _of_network(group: Sequence[Subject], steps: tuple[int, ...] | None, pairs: int) -> Iterator[Value]:
    machine, time = runs_of(group[0]), group[0].x.shape[1]
    chosen = within("steps", steps, time, "the input's time axis")
    if max(chosen) == time - 1:
        raise ProbeError(f"steps names {time - 1}, the last one, after which there is no later answer.")
    by_step = [_interchange(group, *_halves(group, machine, step, pairs)) for step in chosen]
    values = dict[str, list[float]]()
    for subject, own in zip(group, zip(*by_step, strict=True), strict=True):
        judged, stay = zip(*own, strict=True)
        for metric, value, place in _values(pd.concat(judged), np.concatenate(stay)):
            yield metric, value, {"kind": subject.asked.concept, **place}
            values.setdefault(metric, []).append(value)
    for worst, metric in _WORST.items():
        if metric in values:
            yield worst, min(values[metric]), {}


def _values(judged: pd.DataFrame, stay: np.ndarray) -> Iterator[Value]:
    """Yield the metrics of one concept: of the answers that are judged, and of the others' answers."""
    if judged.empty:
        raise ProbeError("No pair differs in a concept after a later step; give more pairs or longer sequences.")
    shares = judged[list(_PUTS)].mean()
    for name, share in shares.items():
        yield str(name), share, {"n": len(judged)}
    along, nothing, all_of_it = shares
    if all_of_it != nothing:
        yield "followed_score", (along - nothing) / (all_of_it - nothing), {"n": len(judged)}
    if len(stay):
        yield "others_kept", stay.mean(), {"n": len(stay)}
    for after, own in judged.groupby("after"):
        for name in ("followed", "followed_whole"):
            yield f"{name}_after", own[name].mean(), {"at": after, "n": len(own)}


def _interchange(
    group: Sequence[Subject], train: np.ndarray, pairs: Pairs
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Yield for each concept which judged answers followed each put, and which answers to the others stayed."""
    machine, step = pairs.machine, pairs.step
    concepts = np.column_stack([subject.answered.values[train, step] for subject in group])
    states = machine.clean.states[train, step].numpy()
    puts: list[Put] = [NOTHING] * len(group)
    if np.ptp(states, axis=0).any():
        puts = [along_coordinate(*both) for both in zip(*joint_directions(states, concepts), strict=True)]
    there, right_own, right = _right(group, pairs)
    unpatched, spliced = _answers(group, pairs, NOTHING), _answers(group, pairs, whole)
    for place, subject in enumerate(group):
        given = _answers(group, pairs, puts[place]), unpatched, spliced
        judged = there & ~np.isclose(right[place], right_own[place])
        hits = [np.isclose(each[place], right[place])[judged] for each in given]
        values = subject.answered.values[:, step]
        differ = (values[pairs.base] != values[pairs.source])[:, None] & there
        stay = np.isclose(given[0], unpatched)[[other != place for other in range(len(group))]]
        yield (
            pd.DataFrame({"after": judged.nonzero()[1] + 1} | dict(zip(_PUTS, hits, strict=True))),
            stay[:, differ].ravel(),
        )


def _halves(group: Sequence[Subject], machine: Machine, step: int, most: int) -> tuple[np.ndarray, Pairs]:
    """Return the sequences on which directions are found, and pairs of the others; all go on after the step."""
    defined = np.all([np.isfinite(subject.answered.values[:, step]) for subject in group], axis=0)
    rows = np.flatnonzero(machine.clean.has(step + 1).numpy() & defined)
    if len(rows) < LEAST_SEQUENCES:
        raise ProbeError(
            f"{several(len(rows), 'sequence')} of the network {group[0].network.name!r} go on after step {step} and "
            f"have a value of all concepts there; at least {LEAST_SEQUENCES} are needed."
        )
    generator = np.random.default_rng([0, step])
    groups = group[0].groups_of(rows)
    if groups is None:
        order = generator.permutation(rows)
        train, test = np.sort(order[: len(rows) // 2]), order[len(rows) // 2 :]
    else:
        cut = folds(len(rows), 2, groups=groups)
        if len(cut) < 2:
            raise ProbeError(
                f"All sequences of the network {group[0].network.name!r} that go on after step {step} are in one "
                "group; at least two are needed to hold one out."
            )
        train, test = (rows[part] for part in cut)
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


def draw(frame: pd.DataFrame) -> Axes:
    """Draw for each network the share of answers that follow one direction, and the whole state."""
    names = {"worst_followed": "their\ndirection", "worst_followed_whole": "the\nwhole state"}
    return draw_dots(frame, names, value="share of answers that follow")


def tell(answered: Answered) -> Told:
    """Say how one network was measured."""
    subject, found = answered.subject, _settings(answered.subject)
    steps = [str(step + 1) for step in found["steps"]]
    setup = (
        f"We ran {said_of(subject, found['sequences'])}. On one half of them we fitted the direction in which states "
        f"move with “{subject.answered.name}”; among the others we drew {several(found['pairs'], 'pair')} for each "
        f"place of the patch, after {listed(steps)} step{'s' * (steps != ['1'])}. We judge a later answer if the "
        "right answer to the spliced sequence is not the base's. We tried no other direction."
    )
    return Told({"setup": setup})
