"""What questions need of a network: each `Need` returns the reason why a subject lacks it, or None."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ProbeError
from ..methods.abstraction.automata import as_symbols
from ..methods.causal.pairs import all_pairs
from ..methods.probing.groups import LEAST_STATES
from ..methods.probing.targets import LEAST_SEQUENCES
from ..recurrent.signals import Signal
from ..subjects.alphabet import around, at_lengths
from ..subjects.answers import only_last, rows_at_steps
from ..subjects.ends import affordable_runs, ends_of, machine_of, step_of, why_not
from ..subjects.own_output import SAID_OF_OUTPUT
from ..subjects.pairs import can_occur, input_pairs, pairs_by_step, usual_steps
from ..subjects.readouts import EVERY, MOST_LEVELS, NUMBER
from ..subjects.stacks import not_from_states
from ..subjects.states import studied_layer
from ..subjects.subject import Subject
from . import uses
from .readings import told_by_step, why_unread

#: The most beginnings that an affine recurrence is fitted to.
MOST_BEGINNINGS = 5_000
#: How often a question runs a sequence whole: once, and three times from each of three steps on.
RUNS = 10
#: For so many spliced sequences `splices` asks whether they can occur.
SPLICES = 512
#: What several needs say to type.
_END_THERE = "End the sequences where it is defined: lengths=..."
_SEE_ANSWERS = 'See what it answers: questions=["answers"]'
_ROUND = "Give fewer values, such as np.round(values)"
_AS_NUMBERS = 'If its values are numbers, say so: probe.Concept(values, kind="numeric")'
_EVERYWHERE = "Give it a value at every step, such as np.nan_to_num(values)"
_ONE_LENGTH = "Study those of one length: inputs[lengths == {0.lengths[0]}][:, :{0.lengths[0]}]"
OUTPUT = "its answer stands in the model's output"


@dataclass(frozen=True, eq=False)
class Need:
    """What a network must have.

    Attributes:
        lacks: from a subject to whether it lacks this, or to the reason why.
        reason: the reason, with the subject for its braces, where `lacks` returns none.
        first: needs that come before it.
        advice: what to type so that the network has it, or to see why it cannot, with the subject for its braces;
            empty where a study can change nothing, as of a cell without gates.
    """

    lacks: Callable[[Subject], object] = lambda subject: None
    reason: str = ""
    first: tuple[Need, ...] = ()
    advice: str = ""

    def __call__(self, subject: Subject) -> str | None:
        """Return the first reason why a subject lacks this, without a full stop, or None."""
        for need in self.first:
            if (reason := need(subject)) is not None:
                return reason
        lacking = self.lacks(subject)
        if not lacking:
            return None
        reason = (lacking if isinstance(lacking, str) else self.reason.format(subject)).rstrip(".")
        return f"{reason}. {self.advice.format(subject)}" if self.advice else reason


def rest_on(needs: Collection[object], *others: Need) -> bool:
    """Return whether one of some needs is one of these, or has one of them before it."""
    return any(need in others or rest_on(need.first, *others) for need in needs if isinstance(need, Need))


def refusal(call: Callable[[Subject], Any]) -> Callable[[Subject], str]:
    """Return what says why a call is refused, without a full stop; empty if it is not."""

    def refused(subject: Subject) -> str:
        try:
            call(subject)
        except ProbeError as error:
            return str(error).rstrip(".")
        return ""

    return refused


def _no_readout(subject: Subject) -> str | None:
    if subject.readout is not None:
        return None
    output = subject.card.get(SAID_OF_OUTPUT)
    why = "the study has no readout" if output is None else f"its output is {output.rstrip('.')}"
    line = f"Say what it answers: readout=probe.Readout({subject.concept.name!r}, function=head)"
    return f"what the network answers is not known: {why}" + ("" if "readout=" in why else f". {line}")


def _no_machine(subject: Subject) -> str | None:
    if subject.readout is None or subject.readout.functions is None:
        return why_not(subject)
    if subject.ragged:
        return f"{OUTPUT}, and its sequences differ in length. {_ONE_LENGTH.format(subject)}"
    if not np.isfinite(subject.last_values).all():
        return f"“{subject.answered.name}” is undefined at the end of some sequences. {_END_THERE}"
    return refusal(machine_of)(subject)


def _impossible(subject: Subject) -> bool:
    end = ends_of(subject)
    pairs = all_pairs(end.machine, step_of(subject, None), most=SPLICES, seed=subject.seed)
    return not can_occur(subject, end, pairs.base, pairs.source, pairs.step).all()


def _too_few_states(subject: Subject) -> str | None:
    return refusal(studied_layer)(subject) or why_unread(subject, subject.concept.name)


def _ends_alike(subject: Subject) -> bool:
    known = np.isfinite(subject.concept.values) & subject.data
    read = np.flatnonzero(known.sum(0) >= LEAST_STATES)
    return len(read) > 0 and len(np.unique(subject.concept.values[known[:, read[-1]], read[-1]])) == 1


def _last_alone(subject: Subject) -> str | None:
    if subject.head is None or subject.read is None or subject.readout is None:
        return f"{OUTPUT}, which has the last answer alone"
    there = subject.readout.steps == EVERY and subject.x.shape[1] > 1
    last = 'its readout answers after the last step alone. If it answers after each, give it steps="every"'
    return None if there else last


def _read_otherwise(subject: Subject) -> bool:
    given, read = (as_symbols(x.double()).alphabet.tolist() for x in (subject.x, machine_of(subject).clean.inputs))
    return not all(symbol in given for symbol in read)


# Of the answer.
readout = Need(_no_readout)
right_answers = Need(
    lambda s: not np.isfinite(s.last_values).any(),
    "“{0.answered.name}” is not defined at the last step of any sequence, so no answer can be right or wrong",
    (readout,),
    advice=_END_THERE,
)
#: Answers that are right more often than always giving the most frequent one: else nothing follows from them.
better_than_a_guess = Need(
    uses.guessing,
    first=(right_answers,),
    advice=_SEE_ANSWERS,
)
exact = Need(
    lambda s: s.head is not None and s.head.kind == NUMBER and not len(s.head.values),
    "it answers with a number, and “{0.answered.name}” has too many values to call one answer right",
    (readout,),
    advice=_ROUND,
)
#: Answers after another step than each sequence's last one too.
several_steps = Need(_last_alone, first=(readout,))
step_values = Need(
    lambda s: not len(rows_at_steps(s)),
    "“{0.answered.name}” has no value {0.readout.when}, so no answer can be right or wrong",
    (readout,),
    advice=_END_THERE,
)
programs = Need(
    lambda s: not s.programs,
    "the study names no rival program",
    advice='Name one: programs={{"name": function}}',
)

# Of the network: a machine can be run from its states to its answer, with a right answer after each.
machine = Need(_no_machine, first=(readout,))
exact_answers = Need(first=(machine, exact))
one_layer = Need(
    lambda s: machine_of(s).dynamics.cell is None,
    "its readout reads a stack of several layers, and the question is about one layer's formulas",
    (machine,),
    advice="Give a head of one of them: probe.Readout({0.concept.name!r}, function=head, layer={0.layers[0].name!r})",
)
gates = Need(
    lambda s: not {Signal.FORGET_GATE, Signal.UPDATE_GATE} & set(machine_of(s).cell.signals),
    "its cell has no gates, so that there is only one way through it",
    (one_layer,),
)
#: Expected answers on a scale: numbers, or the probability of one of two categories.
scale = Need(
    lambda s: s.answered.is_categorical and len(s.answered.levels) > 2,
    "“{0.answered.name}” has several categories, and a share is one of a difference on a scale",
    (machine,),
    advice=_AS_NUMBERS,
)
#: A right answer where another sequence's rest is read.
known_after = Need(
    only_last,
    "“{0.answered.name}” is an array: nobody says its value where another sequence's rest is read",
    (machine,),
    advice='Give it as a function of the inputs, or say it with probe.Readout({0.answered.name!r}, combine="added")',
)
#: Any sequence may go on from any other's state, with a right answer to each.
splices = Need(
    _impossible,
    "some sequences that are spliced of two cannot occur by valid, and this question splices all",
    (known_after,),
    advice="If they can all the same, leave valid= out",
)
#: Enough whole sequences can be run from any state, with answers after several steps.
runs = Need(
    lambda s: affordable_runs(s, RUNS) < 2 * LEAST_SEQUENCES <= len(s.x),
    "whole sequences of so many steps, run from states through so large layers, take too long",
    (Need(lambda s: s.read is not None and not_from_states(s, s.read), first=(several_steps,)),),
)
whole = Need(
    lambda s: not ends_of(s).whole,
    "only the ends of its long sequences are run from states",
    (machine,),
    advice="Give shorter ones: inputs[:, -100:]",
)
whole_sequences = Need(
    lambda s: sum(len(prefixes.rows) for prefixes in machine_of(s).clean.prefixes) > MOST_BEGINNINGS,
    f"its sequences have too many distinct beginnings; at most {MOST_BEGINNINGS:,} can be fitted",
    (
        whole,
        Need(
            _read_otherwise,
            "its layer reads what the network makes of the inputs, such as an embedding, and not the inputs",
        ),
    ),
)

# Of what moves the answer: such answers, which the whole state of another sequence moves.
used_states = Need(
    uses.unmoved_anywhere,
    first=(machine, better_than_a_guess),
    advice='See which units it needs: questions=["ablation"]',
)
#: The same at the study's step: a part of the state is scored against that.
used_state = Need(
    uses.unmoved,
    first=(used_states,),
    advice="Take another step: readout=probe.Readout({0.concept.name!r}, ..., interchange_step=-1)",
)
one_length = Need(
    lambda s: s.ragged,
    "its sequences differ in length",
    advice=_ONE_LENGTH,
)
#: The same of sequences of one length, and not one answer to nearly all.
kept_answers = Need(
    uses.mostly_one,
    first=(one_length, used_states),
    advice=_SEE_ANSWERS,
)

# Of the concept.
_numeric = Need(
    lambda s: s.concept.is_categorical,
    "“{0.concept.name}” is categorical, and the question is about a number",
    advice=_AS_NUMBERS,
)
number = Need(
    lambda s: len(s.concept.levels) == 1, "“{0.concept.name}” never varies where it is defined", (_numeric,)
)
#: A concept at enough states of the layers that are studied, numbers or categories.
readable = Need(lambda s: why_unread(s, s.concept.name))
#: One in which states of one step differ, so that a unit can follow it within steps.
differs_within_steps = Need(lambda s: told_by_step(s, s.concept.name), first=(readable,))
#: A number at enough states of the layer that is studied.
states = Need(_too_few_states, first=(number,))
#: Different numbers after the last step that enough sequences reach: a probe of the last state has something to tell.
last_states = Need(
    _ends_alike,
    "“{0.concept.name}” has one value after the last step, and a probe of the last state has nothing to tell apart",
    (states,),
    advice="End the sequences at different values: lengths=...",
)
numbers = Need(
    lambda s: not np.isfinite(s.concept.values[s.data]).all(),
    "“{0.concept.name}” is not defined at every step",
    (number,),
    advice=_EVERYWHERE,
)
whole_numbers = Need(
    lambda s: s.concept.is_categorical or not (s.concept.levels == s.concept.levels.round()).all(),
    "“{0.concept.name}” holds other than whole numbers",
    advice=_ROUND,
)
few_values = Need(
    lambda s: len(s.concept.levels) > MOST_LEVELS,
    "“{0.concept.name}” has {0.concept.levels.size:,} values, and each would need a state",
    advice=_ROUND,
)
defined_steps = Need(
    lambda s: np.isfinite(ends_of(s).values).all(0).sum() < 2,
    "there is one step alone after which all sequences with an answer have a value of “{0.concept.name}”",
    (machine,),
    advice=_EVERYWHERE,
)

# Of the inputs: pairs of sequences that differ in one of them; and other lengths.
two_steps = Need(lambda s: ends_of(s).steps < 2, "its sequences have a single step", (machine,))
differing_inputs = Need(refusal(lambda s: input_pairs(s, *usual_steps(s))), first=(two_steps,))
inputs_to_change = Need(refusal(pairs_by_step), first=(machine,))
_longer = Need(lambda s: s.x.shape[1] < 3, "its sequences have fewer than 3 steps: hardly any are shorter")
#: Sequences of the lengths around the study's own, with a right answer to each; a few of them show whether there are.
other_lengths = Need(refusal(lambda s: at_lengths(s, around(s), most=64)), first=(readout, _longer))

#: A network without these has no answers that a question could be about, and is no control that counts either.
OF_ANSWERS = (better_than_a_guess, used_states, used_state)
