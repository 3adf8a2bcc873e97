"""What does the answer follow? One sequence's state, or a part of it, is patched into another sequence's run.

Patched are parts of the state, the units that follow the concept most, random directions, and directions that an
alignment search (DAS) found; as controls the same search for relabelled values, and in a network with a fitted head,
whose answer is also followed along the directions that move it most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ...errors import ProbeError, several
from ...evidence.measurements import one, only
from ...evidence.words import said
from ...methods.causal.alignment import Search
from ...methods.causal.alignment_controls import Relabelled, differing, halves, random_bases
from ...methods.causal.class_means import classes_at
from ...methods.causal.directions import gradient_directions
from ...methods.causal.interchange import Interchange, Scores
from ...methods.causal.pairs import Pairs, Put, along, columns, whole
from ...methods.causal.support import FAR
from ...methods.causal.task import Task
from ...plots.networks import BESIDE, draw_dots
from ...plots.study_figures import labels
from ...subjects.answers import right_answer, takes_levels, task_of
from ...subjects.ends import Ends, alike, ends_of
from ...subjects.pairs import LEAST, SplicedPairs, spliced_pairs
from ...subjects.plans import RANKS, SEARCHED, Plan, plan_of
from ...subjects.subject import Subject, as_subjects, per_subject
from .. import needs
from ..answers.answers import wrong_in
from ..question import Answered, Question, Told
from ..readings import by_following
from ..rules import ANSWERING
from ..told import figure_of
from ..uses import unmoved
from .erasure import why_not_above_floor
from .patching import Value, find, table_of

QUESTION = "interchange"
#: What the picture shows.
CAPTION = "Each dot is a network: how far its answers follow what we patched."
#: Random subspaces, and the fewest distinct prefixes of which half are held out.
RANDOM, LEAST_HELD_OUT = 5, 64
#: The gradient of a control's answer is taken at so many states at most.
GRADIENTS = 128
#: The whole state moves answers if more follow by more than this.
MORE = 0.1
_SCORES = ("followed", "shift", "off_support")


@dataclass(frozen=True, eq=False)
class _Patching:
    """Where a network's states are patched, what they should hold, the rows of a search, and the pairs that count."""

    subject: Subject
    end: Ends
    plan: Plan
    task: Task
    train: Tensor
    held_out: bool
    own: SplicedPairs

    @cached_property
    def fit(self) -> Pairs:
        """The pairs that directions are searched on, whatever they differ in: those for relabelled values too."""
        place, most = self.plan.place, self.plan.spliced
        return spliced_pairs(self.subject, self.end, self.task, place, self.train, most=most, every=True).pairs

    def search(self, subject: Subject, wanted: Sequence[Search]) -> list[Put]:
        """Return what searches find in the network or a control; nothing where that would take too long."""
        most, seed = self.plan.iterations, self.subject.seed
        return [one.put for one in find(subject, self.plan.place, wanted, most=most, pairs=SEARCHED, seed=seed)]


@per_subject
def _patching_of(subject: Subject) -> _Patching:
    """Return where states are patched; pairs are held out of a search where there are enough prefixes."""
    end, plan, task = ends_of(subject), plan_of(subject), task_of(subject)
    groups = subject.groups_of(end.rows)
    ways = halves(end.machine, plan.place, least=LEAST_HELD_OUT, seed=subject.seed, groups=groups)
    defined = torch.as_tensor(np.isfinite(end.values[:, plan.place]))
    train, test = (rows[defined[rows]] for rows in (ways[0].train, ways[0].test))
    own = spliced_pairs(subject, end, task, plan.place, test, most=plan.spliced)
    return _Patching(subject, end, plan, task, train, len(ways) > 1, own)


def question(subject: Subject) -> Question:
    """Return the question."""
    title = "Does the answer follow the state?"
    asked = (needs.known_after, _goes_on, _why_not, _used)
    return Question(
        QUESTION, title, measure, asked, ANSWERING, draw=draw, tell=tell, version=6, heading=heading, caption=CAPTION
    )


def _goes_on(subject: Subject) -> str | None:
    """A step that follows the patch: else the readout reads what is put in, and the answer cannot but follow it."""
    if plan_of(subject).left:
        return None
    return (
        f"states would be patched after the last step, as “{subject.answered.name}” has a value in too few sequences "
        "before it, or as interchange_step says; no step follows, and the answer cannot but follow what is put in"
    )


def _used(subject: Subject) -> str | None:
    """Answers that the state moves after the step of the patch, and that are better than the later inputs allow.

    A control need not answer so: what is found in it stands beside its accuracy.
    """
    place = plan_of(subject).place
    reason = needs.used_states(subject) or unmoved(subject, place)
    return reason or (why_not_above_floor(subject, place) if takes_levels(subject) else None)


def _why_not(subject: Subject) -> str | None:
    """Pairs of sequences whose spliced sequence the network answers, in other words than the base."""
    end, plan = ends_of(subject), plan_of(subject)
    if alike(end, plan.place):
        return f"{plan.where} all sequences have the same state"
    wrong = wrong_in(end.machine.clean.answers.chosen.numpy(), end.values[:, -1]) if takes_levels(subject) else ""
    if wrong:
        return f"{wrong} With such answers we cannot say what they follow"
    return too_few(_patching_of(subject).own, subject.answered.name, plan, levels=takes_levels(subject))


def too_few(own: SplicedPairs, concept: str, plan: Plan, *, levels: bool) -> str | None:
    """Return why nothing is patched if too few pairs count, or None."""
    where, rest = f"spliced {plan.where}", own.drawn - own.unanswerable
    right = f"the network answers {own.right:.0%} of the sequences that are {where} right by “{concept}”"
    reasons = (
        (not own.drawn and own.impossible, f"none of {own.impossible:,} pairs can occur, as valid says, {where}"),
        (
            not own.drawn,
            f"“{concept}” is the same in all sequences {plan.where}, or the right answer stays in all pairs",
        ),
        (not rest, "the readout cannot give the right answer after any patch"),
        (levels and own.right - own.before <= MORE, f"{right}, and {own.before:.0%} with no patch at all"),
        (not own.way > MORE, f"its answers to sequences {where} go {said(own.way)} of the way to the right answers"),
        (len(own.pairs) < LEAST, f"{right}: {len(own.pairs):,} of {rest:,} pairs; at least {LEAST} are needed"),
    )
    return next((reason for holds, reason in reasons if holds), None)


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how the answers follow what is patched, on the pairs whose spliced sequence the network answers right.

    Metrics of each patch (`kind`, with `layer`, `signal` or `units`, and how many units or directions, `at`):
    `followed`, the share of pairs whose answer becomes the right one, where answers are right or wrong; `shift`, how
    far the expected answer moves from the base's answer (0) to the network's own answer to the spliced sequence (1);
    `off_support`, the median distance of patched states from the states that occur, in spacings of the concept. One
    value a network: `pairs`, and `right`, the share of spliced sequences that it answers right. A control is searched
    and scored on the same pairs, which it need not answer right; `accuracy` is the share of its answers that are.

    Raises:
        ProbeError: the network cannot be run from its states, or a function of the study fails.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3; Geiger et al. 2024, Finding alignments
        between interpretable causal variables and distributed representations.
    """
    network = as_subjects(subjects)[0]
    patching = _patching_of(network)

    def values(subject: Subject) -> Iterator[Value]:
        return _of_network(patching) if subject is network else _of_control(subject, patching)

    return table_of(QUESTION, subjects, values).dropna(subset="value", ignore_index=True)


def _of_network(patching: _Patching) -> Iterator[Value]:
    own, seed = patching.own, patching.subject.seed
    patched = Interchange(own.pairs, patching.task, support=_has_spacing(patching), seed=seed)
    for kind, place, put in (("whole", {}, whole), *_patches(patching)):
        scores = patched.scores(put)
        if kind == "whole" and takes_levels(patching.subject):
            yield "followed", scores.unpatched, {"kind": "nothing", "n": scores.pairs}
        yield from _followed(patching, scores, {"kind": kind, **place})
    yield "shift", 0.0, {"kind": "nothing", "n": len(own.pairs)}
    yield "pairs", float(len(own.pairs)), {}
    yield "right", own.right, {}


def _has_spacing(patching: _Patching) -> bool:
    """Return whether the concept is a number that follows from what was read, so that states can lie near or far."""
    end, place = patching.end, patching.plan.place
    if patching.subject.answered.is_categorical or not np.isfinite(end.values[:, place]).all():
        return False
    with suppress(ProbeError):
        return len(classes_at(end.machine, patching.task, place).values) > 0
    return False


def _followed(patching: _Patching, scores: Scores, place: dict[str, Any]) -> Iterator[Value]:
    if takes_levels(patching.subject):
        yield "followed", scores.iia, {**place, "n": scores.pairs}
    yield "shift", scores.shift / patching.own.way, {**place, "n": scores.pairs}
    yield "off_support", scores.off_support, {**place, "n": scores.pairs}


def _patches(patching: _Patching) -> Iterator[tuple[str, dict[str, Any], Put]]:
    """Yield each part of the state that is patched: its kind, where it is, and what puts it in."""
    subject, end, dynamics = patching.subject, patching.end, patching.end.machine.dynamics
    for number, layer in enumerate(end.stack if len(end.stack) > 1 else ()):
        yield "part", {"layer": layer.name}, columns(end.layer_columns(number))
    for signal in dynamics.signals if len(dynamics.signals) > 1 else ():
        yield "part", {"signal": signal}, columns(dynamics.columns(signal))
    if (order := by_following(subject, end)) is not None:
        for count in sorted({1, min(4, dynamics.units)}):
            put = columns([column for unit in order[:count] for column in dynamics.unit(unit)])
            yield "units", {"units": " ".join(map(end.name, order[:count])), "at": count}, put
    rank = min(RANKS[-1], dynamics.size)
    for basis in random_bases(dynamics.size, rank, RANDOM, seed=subject.seed):
        yield "random", {"at": rank}, along(basis)
    if patching.plan.iterations:
        yield from _searched(patching)


def _searched(patching: _Patching) -> Iterator[tuple[str, dict[str, Any], Put]]:
    """Yield directions that were searched for, and those searched for the values of other rows."""
    machine, rows, pairs, task = patching.end.machine, patching.train, patching.fit, patching.task
    # Values of other rows of the same half, so that the search sees no held-out row.
    order = torch.arange(len(machine.clean.inputs))
    order[rows] = rows[torch.as_tensor(np.random.default_rng([patching.subject.seed, 8]).permutation(len(rows)))]
    mixed = Relabelled(task.concept, task.combine, inner=task, order=order)
    # The source whose relabelled value is the true source's, so that the right answers are those of the same splices.
    own, other = differing(pairs, task), differing(pairs, mixed, torch.argsort(order)[pairs.source])
    if min(len(own[0]), len(other[0])) < LEAST:
        return
    wanted = [Search(rank, task, rows, pairs=own) for rank in RANKS if rank <= machine.dynamics.size]
    wanted.append(Search(wanted[-1].rank, mixed, rows, pairs=other))
    for search, put in zip(wanted, patching.search(patching.subject, wanted), strict=False):
        yield "searched" if search.task is task else "relabelled", {"at": search.rank}, put


def _of_control(control: Subject, patching: _Patching) -> Iterator[Value]:
    """Yield the scores of the same search in a control, of what moves its answer most, and of its whole state."""
    end, task, own = ends_of(control), patching.task, patching.own.pairs
    if not patching.plan.iterations or len((pairs := differing(patching.fit, task))[0]) < LEAST:
        return
    patched = Interchange(Pairs(end.machine, own.step, own.base, own.source, exhaustive=False), task)
    rank = min(RANKS[-1], end.machine.dynamics.size)
    for put in patching.search(control, [Search(rank, task, patching.train, pairs=pairs)]):
        yield from _followed(patching, patched.scores(put), {"kind": "searched", "at": rank})
    # A head that is a line has a direction that no search has to find: one that misses it is no contrast.
    some = patching.train[:: -(-len(patching.train) // GRADIENTS)]
    steepest = along(gradient_directions(end.machine, some, patching.plan.place, rank))
    yield from _followed(patching, patched.scores(steepest), {"kind": "steepest", "at": rank})
    yield from _followed(patching, patched.scores(whole), {"kind": "whole"})
    yield "accuracy", float(np.isclose(end.machine.clean.answers.chosen.numpy(), end.values[:, -1]).mean()), {}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return `followed`, `shift` and `off_support` of each patch of each network; random ones are averaged."""
    rows = table[table["metric"].isin(_SCORES)]
    alone = rows[rows["role"] == "trained"]["network"].nunique() == 1
    places = rows[["kind", "layer", "signal", "units", "at"]].itertuples(index=False)
    rows = rows.assign(patched=[_name(*place, alone=alone) for place in places])
    keys = ["role", "network", "kind", "patched"]
    wide = rows.pivot_table("value", keys, "metric", sort=False).reset_index()
    return wide.reindex(columns=[*keys, *(name for name in _SCORES if name in wide)])


def _name(kind: str, layer: str, signal: str, units: str, at: float, *, alone: bool) -> str:
    """Return what is patched, in words; which units only where one network is shown."""
    count = 0 if np.isnan(at) else int(at)
    directions = several(count, "direction")
    names = {
        "nothing": "nothing",
        "whole": "the whole state",
        "part": f"all {signal.replace('_', ' ')}s" if signal else f"all of {layer}",
        "units": f"{several(count, 'unit')} chosen by the concept{f' ({units})' * alone}",
        "random": f"{directions} at random",
        "searched": f"{directions} found by a search",
        "steepest": f"{directions} along which the answer moves most",
        "relabelled": f"{directions} found for relabelled values",
    }
    return names[kind]


def draw(frame: pd.DataFrame) -> Axes:
    """Draw how far the answers follow each patch, a dot a network."""
    rows = summary(frame)
    column = "followed" if "followed" in rows else "shift"
    rows = rows.rename(columns={"patched": "metric", column: "value"})
    names = list(rows["metric"].unique())
    value = "answers that follow" if column == "followed" else "share of the way"
    return draw_dots(rows, dict(zip(names, labels(names, BESIDE), strict=True)), value=value)


def heading(answered: Answered) -> str:
    """Return whether a part of one network's state carries the answer, where the best control carries less."""
    rows = summary(answered.table)
    own, column = rows[rows["role"] == "trained"], "followed" if "followed" in rows else "shift"
    parts, controls = _parts(rows, "trained"), _controls(rows, "trained")
    whole_state, nothing = (own.loc[own["kind"] == kind, column].mean() for kind in ("whole", "nothing"))
    if own["network"].nunique() != 1 or parts.empty or controls.empty or whole_state - nothing <= MORE:
        return ""
    best = parts.iloc[int(parts[column].to_numpy().argmax())]
    if best[column] - controls[column].max() <= MORE:
        return "Parts of the state carry the answer no further than random directions or a random network's do"
    return f"{str(best['patched']).capitalize()} carry the answer from one sequence to another"


def _parts(rows: pd.DataFrame, role: str) -> pd.DataFrame:
    own = rows[(rows["role"] == role) & rows["kind"].isin(["units", "searched", "part"])]
    return own.sort_values("kind", ascending=False, kind="stable")


def _controls(rows: pd.DataFrame, role: str) -> pd.DataFrame:
    others = (rows["role"] != role) & rows["kind"].isin(["searched", "steepest"])
    return rows[rows["kind"].isin(["random", "relabelled"]) | others]


def tell(answered: Answered) -> Told:
    """Return the sentences and the picture of a page of one network."""
    table, patching = answered.table, _patching_of(answered.subject)
    answer = _answer(table, answered.subject, patching.plan)
    title = "What the answer follows"
    picture = figure_of(answered, draw, summary(table), title=title, alt=answer, caption=CAPTION)
    return Told({"answer": answer, "setup": _setup(table, patching)}, picture)


def _answer(table: pd.DataFrame, subject: Subject, plan: Plan) -> str:
    """Return how far the answers follow the whole state, and the best part of it beside the best control."""
    rows = summary(table)
    own, kind = rows["role"] == subject.network.role, rows["kind"]
    column = "followed" if "followed" in rows else "shift"
    whole_state, nothing = (float(rows[own & (kind == name)][column].iloc[0]) for name in ("whole", "nothing"))
    unit = "of the answers follow" if column == "followed" else "of the way to the right answer is gone"
    text = f"With another sequence's whole state put in {plan.where}, {whole_state:.0%} {unit}, "
    if whole_state - nothing <= MORE:
        return f"{text}with nothing {nothing:.0%}. So what parts of the state move says nothing."
    parts, controls = (part(rows, subject.network.role) for part in (_parts, _controls))
    if len(parts) and len(controls):
        part, control = (some.iloc[int(some[column].to_numpy().argmax())] for some in (parts, controls))
        where = "" if control["role"] == subject.network.role else " in a network with a fitted head"
        text = f"With {part['patched']}, the best part of a state, put in from another sequence {plan.where}, "
        text += f"{part[column]:.0%} {unit}; with the best control, {control['patched']}{where}, "
        text += f"{control[column]:.0%}; with the whole state {whole_state:.0%}, which cannot fail, and with nothing "
        text += f"{nothing:.0%}."
        if part.get("off_support", 0.0) > FAR:
            text += f" These states lie {said(part['off_support'])} spacings off those that occur: it may work for a "
            text += "reason that the network never uses."
    else:
        text += f"which cannot fail; with nothing {nothing:.0%}."
    if column == "followed":
        text += f" We count pairs whose spliced sequence it answers right, {one(table, metric='right'):.0%} of all."
    return text


def _setup(table: pd.DataFrame, patching: _Patching) -> str:
    subject, plan = patching.subject, patching.plan
    text = (
        f"We patch the state of one sequence (the source) into the run of another (the base) {plan.where}, of "
        f"{patching.end.said}. The right answer is {right_answer(subject)}. "
        f"{several(round(one(table, metric='pairs')), 'pair')} count: base and source differ in "
        f"“{subject.answered.name}”, and the right answer is not the base's. “Shift”: how far the expected answer "
        "moves from the base's answer (0) to the network's own to the spliced sequence (1). “Off support”: how far "
        "patched states lie from those that occur, in distances between mean states of neighbouring values; beyond "
        f"{FAR} a patch may work for a reason that the network never uses (Makelov et al. 2023)."
    )
    searched = len(only(table, kind="searched"))
    notes = {
        "The study does not say which sequences can occur (valid under [inputs]).": subject.allowed is None,
        "Directions were not searched for: the readout has no gradient, it takes too long, or pairs are few.": (
            not searched
        ),
        "There were too few sequences to hold some out of the search.": searched and not patching.held_out,
    }
    return " ".join([text, *(note for note, holds in notes.items() if holds)])
