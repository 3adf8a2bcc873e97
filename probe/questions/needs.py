"""What questions need of a network: each function returns the reason why a subject lacks it, or None."""

from __future__ import annotations

import numpy as np

from ..errors import ProbeError, several
from ..methods.abstraction.automata import as_symbols
from ..methods.causal import alignment
from ..methods.causal.pairs import all_pairs
from ..methods.probing.prefixes import first_of_prefix
from ..methods.probing.splits import LEAST_STATES
from ..methods.probing.targets import LEAST_SEQUENCES
from ..recurrent.signals import Signal
from ..subjects.computed.alphabet import MOST_SYMBOLS, alphabet_of, around, at_lengths
from ..subjects.computed.answers import rows_at_steps
from ..subjects.computed.changed_inputs import input_pairs, pairs_by_step, usual_steps
from ..subjects.computed.ends import ends_of, machine_of, not_last, step_of, why_not
from ..subjects.computed.plans import search_length
from ..subjects.computed.right_answers import only_last
from ..subjects.computed.sample import reads_ahead, rows_within_budget
from ..subjects.computed.sampled import sample_of
from ..subjects.computed.splices import can_occur
from ..subjects.computed.stacks import not_from_states
from ..subjects.computed.step_states import studied_layer
from ..subjects.computed.whole_runs import affordable_runs
from ..subjects.heads import MOST_LEVELS
from ..subjects.readouts import NUMBER
from ..subjects.subject import Subject
from . import uses
from .states.targets import why_no_target

#: The fewest steps of sequences that shorter ones are compared with; the most amounts by which a concept may grow
#: (of more, hardly two contexts would be alike); the most beginnings that an affine recurrence is fitted to.
SHORTEST, MOST_AMOUNTS, MOST_BEGINNINGS = 3, 12, 5_000
#: How often a question runs a sequence whole: once, and three times from each of three steps on.
RUNS = 10
#: For so many spliced sequences `splices` asks whether they can occur.
SPLICES = 512


def readout(subject: Subject) -> str | None:
    """A readout: what the network answers is known."""
    return "what the network answers is not known: the study has no readout" if subject.readout is None else None


def last_answer(subject: Subject) -> str | None:
    """A readout that answers after the last step of each sequence."""
    reason = readout(subject) or not_last(subject)
    return None if reason is None else reason.rstrip(".")


def machine(subject: Subject) -> str | None:
    """A network that can be run from its states to its answer, with a right answer after each."""
    if subject.readout is None:
        return readout(subject)
    if subject.readout.output is None:
        reason = why_not(subject)
        return None if reason is None else reason.rstrip(".")
    if subject.ragged:
        return "its answer stands in the model's output, and its sequences differ in length"
    if not np.isfinite(subject.answered.values[:, -1]).all():
        return f"“{subject.answered.name}” is undefined at the end of some sequences"
    try:
        _ = machine_of(subject)
    except ProbeError as error:
        return str(error).rstrip(".")
    return None


def splices(subject: Subject) -> str | None:
    """A machine in which any sequence may go on from any other's state, with a right answer to each."""
    reason = machine(subject)
    if reason is not None:
        return reason
    if only_last(subject):
        return (
            f"“{subject.answered.name}” is an array: nobody says its value where another sequence's rest is read; "
            "give it as a function, or give combine"
        )
    end = ends_of(subject)
    pairs = all_pairs(end.machine, step_of(subject, None), most=SPLICES, seed=subject.seed)
    if can_occur(subject, end, pairs.base, pairs.source, pairs.step).all():
        return None
    return "some sequences that are spliced of two cannot occur by valid, and this question splices all"


def search(subject: Subject) -> str | None:
    """A machine in which directions can be searched for."""
    reason = splices(subject)
    if reason is not None:
        return reason
    if subject.head is not None and not subject.head.differentiable:
        return "its readout has no gradient, which a search for directions follows; write it in torch"
    place, most = step_of(subject, None), alignment.ITERATIONS
    if not search_length(subject, place, searches=4, pairs=alignment.PAIRS, most=most):
        return "a search for directions would take too long: it runs the layers forwards and backwards on many pairs"
    return None


def better_than_a_guess(subject: Subject) -> str | None:
    """Answers that are right more often than always giving the most frequent one: else nothing follows from them."""
    return right_answers(subject) or uses.guessing(subject)


def used_states(subject: Subject) -> str | None:
    """Such answers, which the whole state of another sequence moves, at the study's step or later."""
    return machine(subject) or better_than_a_guess(subject) or uses.unmoved_anywhere(subject)


def used_state(subject: Subject) -> str | None:
    """Such answers, which the whole state moves at the study's step: a part of it is scored against that."""
    return used_states(subject) or uses.unmoved(subject)


def one_layer(subject: Subject) -> str | None:
    """A machine of one layer."""
    reason = machine(subject)
    if reason is None and machine_of(subject).dynamics.cell is None:
        return "its readout reads a stack of several layers, and the question is about one layer's formulas"
    return reason


def gates(subject: Subject) -> str | None:
    """Gates that keep or forget: with them there are several ways through a cell."""
    reason = one_layer(subject)
    if reason is None and not {Signal.FORGET_GATE, Signal.UPDATE_GATE} & set(machine_of(subject).cell.signals):
        return "its cell has no gates, so that there is only one way through it"
    return reason


def cell_state(subject: Subject) -> str | None:
    """A cell state beside the hidden state."""
    has = Signal.CELL_STATE in subject.layers[-1].signals
    return None if has else "its cell has no cell state beside the hidden state"


def number(subject: Subject) -> str | None:
    """A concept that is a number, at some steps at least, and not the same one everywhere."""
    concept, levels = subject.concept, subject.concept.levels
    if concept.is_categorical:
        return f"“{concept.name}” is categorical, and the question is about a number"
    same = f"“{concept.name}” is {concept.said(levels[0])} wherever it is defined, and never varies"
    return same if len(levels) == 1 else None


def states(subject: Subject) -> str | None:
    """A concept that is a number, with values at enough states of the layer that is studied."""
    reason, name = number(subject), subject.concept.name
    if reason is not None:
        return reason
    try:
        _ = studied_layer(subject)
        count = len(sample_of(subject).of[name])
    except ProbeError as error:
        return str(error).rstrip(".")
    if count < LEAST_SEQUENCES:
        return f"“{name}” has a value at {several(count, 'state')} that we read; {LEAST_SEQUENCES} are needed"
    return why_no_target(subject, name)


def many_states(subject: Subject) -> str | None:
    """A value at enough distinct states of one step: of fewer, half cannot be held out, and a score is noise."""
    rows = rows_within_budget(subject, studied_layer(subject).units * len(studied_layer(subject).states))
    counted = subject.data[rows]
    if studied_layer(subject).name not in reads_ahead(subject):
        counted = first_of_prefix(subject.x[rows].double().numpy(), subject.lengths[rows])
    most = int((counted & np.isfinite(subject.concept.values[rows])).sum(0).max(initial=0))
    if most >= LEAST_STATES:
        return None
    prefixes = several(most, "distinct prefix", "distinct prefixes")
    return f"“{subject.concept.name}” has a value after {prefixes} of a length at most; {LEAST_STATES} are needed"


def numbers(subject: Subject) -> str | None:
    """A concept that is a number, defined at every step."""
    whole = np.isfinite(subject.concept.values[subject.data]).all()
    return number(subject) or (None if whole else f"“{subject.concept.name}” is not defined at every step")


def whole_numbers(subject: Subject) -> str | None:
    """A concept of whole numbers."""
    levels = subject.concept.levels
    if subject.concept.is_categorical or not (levels == levels.round()).all():
        return f"“{subject.concept.name}” holds other than whole numbers"
    return None


def one_length(subject: Subject) -> str | None:
    """Sequences of one length."""
    return "its sequences differ in length" if subject.ragged else None


def exact_answers(subject: Subject) -> str | None:
    """A machine whose answers are right or wrong, and not numbers that are more or less near."""
    return machine(subject) or exact(subject)


def kept_answers(subject: Subject) -> str | None:
    """Answers to sequences of one length that come from the state, and not one answer to nearly all."""
    return one_length(subject) or used_states(subject) or uses.mostly_one(subject)


def exact(subject: Subject) -> str | None:
    """A readout whose answers are right or wrong, and not numbers that are more or less near."""
    head = subject.head
    if subject.readout is None or head is None or head.kind != NUMBER or len(head.values):
        return readout(subject)
    return f"it answers with a number, and “{subject.answered.name}” has too many values to call one answer right"


def several_steps(subject: Subject) -> str | None:
    """A head that answers after another step than each sequence's last one too."""
    if subject.readout is None:
        return readout(subject)
    if subject.head is None or subject.read is None:
        return "its answer stands in the model's output, which has the last answer alone"
    there = subject.readout.answered(subject.lengths, subject.x.shape[1])
    there[np.arange(len(there)), subject.lengths - 1] = False
    if there.any():
        return None
    return "its readout answers after the last step alone; steps of the readout names others"


def runs(subject: Subject) -> str | None:
    """A network that answers after several steps, and that can be run from any state of enough whole sequences."""
    reason = several_steps(subject)
    if reason is None and subject.read is not None:
        reason = not_from_states(subject, subject.read)
    if reason is not None:
        return reason.rstrip(".")
    if affordable_runs(subject, RUNS) < 2 * LEAST_SEQUENCES <= len(subject.x):
        return "whole sequences of so many steps, run from states through so large layers, take too long"
    return None


def step_values(subject: Subject) -> str | None:
    """A right answer after one of the steps that the readout names."""
    if subject.readout is None:
        return readout(subject)
    if len(rows_at_steps(subject)):
        return None
    return f"“{subject.answered.name}” has no value {subject.readout.when}, so no answer can be right or wrong"


def scale(subject: Subject) -> str | None:
    """A machine whose expected answers lie on a scale: numbers, or the probability of one of two categories."""
    reason = machine(subject)
    if reason is None and subject.answered.is_categorical and len(subject.answered.levels) > 2:
        return f"“{subject.answered.name}” has several categories, and a share is one of a difference on a scale"
    return reason


def few_values(subject: Subject) -> str | None:
    """A concept of so few values that each can have states of its own."""
    count = len(subject.concept.levels)
    return (
        f"“{subject.concept.name}” has {count:,} values, and each would need a state" if count > MOST_LEVELS else None
    )


def defined_steps(subject: Subject) -> str | None:
    """A machine of which the concept is defined in all sequences after two steps at least."""
    reason = machine(subject)
    if reason is None and np.isfinite(ends_of(subject).values).all(0).sum() < 2:
        name = subject.concept.name
        return f"there is one step alone after which all sequences with an answer have a value of “{name}”"
    return reason


def differing_inputs(subject: Subject) -> str | None:
    """Pairs of sequences that differ in one input, two steps before states are looked at; or some can be made."""
    reason = machine(subject)
    if reason is not None:
        return reason
    if machine_of(subject).clean.inputs.shape[1] < 2:
        return "its sequences have a single step"
    try:
        _ = input_pairs(subject, *usual_steps(subject))
    except ProbeError as error:
        return str(error).rstrip(".")
    return None


def inputs_to_change(subject: Subject) -> str | None:
    """Pairs of sequences that differ in one input, whichever it is; or some can be made."""
    reason = machine(subject)
    try:
        _ = pairs_by_step(subject) if reason is None else None
    except ProbeError as error:
        return str(error).rstrip(".")
    return reason


def right_answers(subject: Subject) -> str | None:
    """A right answer to some sequences."""
    if subject.readout is None:
        return readout(subject)
    reason = last_answer(subject)
    if reason is not None:
        return reason
    last = subject.answered.values[np.arange(len(subject.x)), subject.lengths - 1]
    if np.isfinite(last).any():
        return None
    name = subject.answered.name
    return f"“{name}” is not defined at the last step of any sequence, so no answer can be right or wrong"


def programs(subject: Subject) -> str | None:
    """Rival programs."""
    return None if subject.programs else "the study names no rival program"


def small_alphabet(subject: Subject) -> str | None:
    """Sequences of one length over few distinct inputs."""
    reason = one_length(subject)
    if reason is None and alphabet_of(subject) is None:
        return f"its inputs take more than {MOST_SYMBOLS} different values, so that few of all sequences can be asked"
    return reason


def function(subject: Subject) -> str | None:
    """A concept that is a function, so that the right answer to any sequence is known."""
    if subject.concept.function is None:
        return f"“{subject.concept.name}” is given as an array, and only a function has values at other lengths"
    return None


def other_lengths(subject: Subject) -> str | None:
    """Sequences of the lengths around the study's own, with a right answer to each."""
    reason = next(
        (one for need in (last_answer, small_alphabet, function) if (one := need(subject)) is not None), None
    )
    if reason is None and subject.x.shape[1] < SHORTEST:
        return f"its sequences have fewer than {SHORTEST} steps, so that hardly any are shorter"
    if (
        reason is None
        and subject.readout is not None
        and not subject.readout.at_last(np.array(around(subject))).all()
    ):
        reason = (
            f"its readout answers {subject.readout.when}, which is not the last step of sequences of other lengths; "
            "add -1 to steps, or give steps='every'"
        )
    if reason is not None:
        return reason
    try:
        # Few of them: whether there are any, and whether the concept and the readout can say something of them.
        _ = at_lengths(subject, around(subject), most=64)
    except ProbeError as error:
        return str(error).rstrip(".")
    return None


def few_amounts(subject: Subject) -> str | None:
    """A concept that grows by few different amounts from a step to the next."""
    grown = np.diff(subject.concept.values, axis=1)[subject.data[:, 1:]]
    amounts = len(np.unique(grown[np.isfinite(grown)]))
    if amounts > MOST_AMOUNTS:
        name = subject.concept.name
        return f"“{name}” grows by {amounts} different amounts, and at most {MOST_AMOUNTS} can be compared"
    return None


def whole_sequences(subject: Subject) -> str | None:
    """A machine that runs whole sequences as they are given, from their first step on, of few beginnings."""
    reason = machine(subject)
    if reason is not None:
        return reason
    end = ends_of(subject)
    if not end.whole:
        return "its sequences are so many or long that only their ends are run from states"
    given, read = (as_symbols(one.double()).alphabet.tolist() for one in (subject.x, end.machine.clean.inputs))
    if not all(symbol in given for symbol in read):
        return "its layer reads what the network makes of the inputs, such as an embedding, and not the inputs"
    beginnings = sum(len(prefixes.rows) for prefixes in end.machine.clean.prefixes)
    if beginnings > MOST_BEGINNINGS:
        return f"its sequences have {beginnings:,} distinct beginnings, and at most {MOST_BEGINNINGS:,} can be fitted"
    return None


#: A question with one of these needs judges the answer after each sequence's last step, whatever else is answered.
OF_LAST = (
    machine,
    splices,
    search,
    one_layer,
    gates,
    exact_answers,
    scale,
    defined_steps,
    differing_inputs,
    inputs_to_change,
    right_answers,
    other_lengths,
    whole_sequences,
)
#: A network without these has no answers that a question could be about, and is no control that counts either.
OF_ANSWERS = (better_than_a_guess, used_states, used_state)
