"""Questions of the library that the counter is asked as they are, with the rules and the words for it."""

from __future__ import annotations

import torch

from analyses.counter import common, rules
from probe.methods.abstraction.quantised import METRICS
from probe.questions.answers import inputs, memory, other_lengths
from probe.questions.interventions import class_means, routes, unit_shares
from probe.questions.question import Question
from probe.questions.states import dynamics, noise_margin, quantised_states, single_units

SINGLE_UNITS = Question(
    "single_units",
    "Is there one cell that holds the count?",
    single_units.measure,
    rules=rules.SINGLE_UNITS,
    text="A cell may follow the count among strings of one length. Reading the count off one cell asks for more: we "
    "try it at fixed steps, and with one map for all steps, as a cell that keeps a running count would allow.",
)
CLASS_MEANS = Question(
    "class_means",
    "Does the network need more than the count?",
    class_means.measure,
    roles=common.ANSWERING,
    rules=rules.CLASS_MEANS,
    text="After one of the bits we replace the state with the mean state of all strings with the same count, and let "
    "the run continue. We judge each network by the bit after which this costs most.",
)
UNIT_SHARES = Question(
    "unit_shares",
    "Is the count carried by one unit?",
    unit_shares.measure,
    roles=common.ANSWERING,
    settings={"step": 6, "changed": 4},
    rules=rules.UNIT_SHARES,
    text="We put the states of some units from one string into the run of another, and divide the change of the "
    "answer, over all strings, among the units. A unit that works against the others has a negative share.",
)
ROUTES = Question(
    "routes",
    "Where is the sum kept from step to step?",
    routes.measure,
    roles=common.ANSWERING,
    settings={"step": 6, "changed": 4},
    rules=rules.ROUTES,
    text="We take two strings whose counts differ by one, and ask by which route the difference reaches the next "
    "state: through the cell, or through gates that read the hidden state and write the sum again.",
)
OTHER_LENGTHS = Question(
    "other_lengths",
    "What does the network answer at other lengths?",
    other_lengths.measure,
    roles=(*common.ANSWERING, "own initialisation"),
    settings={"most": 2**14},
    rules=rules.OTHER_LENGTHS,
    text="Each bit short of ten shifts the answer by the drift: 0 for a counter of ones, a half for a balance of "
    "ones against zeros, 1 for a counter that takes zeros off ten. Ten-bit strings cannot show it.",
)
QUANTISED_STATES = Question(
    "quantised_states",
    "Does the network run on one state for each count?",
    quantised_states.measure,
    roles=(*common.ANSWERING, "own initialisation"),
    rules=rules.QUANTISED_STATES,
    text="A class mean is the mean state of all strings with one count at one step. Idle units can pull a run to the "
    "wrong mean, so a low number does not show that no count is held.",
)
FEW_STATES = Question(
    "few_states",
    "Does the network run on a few states, however “nearest” is measured?",
    quantised_states.measure,
    roles=(*common.ANSWERING, "own initialisation"),
    settings={"metrics": METRICS},
    rules=rules.FEW_STATES,
    text="II.18 asked this in units of each number's standard deviation, in which idle units weigh as much as those "
    "that hold the count. We ask it again of fresh networks, both so and with a distance that gives a direction more "
    "weight the less it varies among strings of one count.",
)
DYNAMICS = Question(
    "dynamics",
    "Does the answer stay put when nothing is counted?",
    dynamics.measure,
    settings={"silent": torch.zeros(1), "driving": torch.ones(1, 1), "steps": (5, 6, 7, 8, 9)},
    version=2,
    rules=rules.DYNAMICS,
    text="We read one more bit, and ask how far it moves the answer. If a 0 hardly moves it, that alone is no sign "
    "of counting: perhaps no bit does.",
)
INPUTS = Question(
    "inputs",
    "What does each bit contribute?",
    inputs.measure,
    roles=common.ANSWERING,
    text="We flip one bit, run the rest, and compare the last answers. A network that is always right moves by one.",
)
MEMORY = Question(
    "memory",
    "How long does the count last?",
    memory.measure,
    roles=common.ANSWERING,
    text="We set the whole state back to the initial one after a bit, let the network read the rest, and compare its "
    "answers with those of the undisturbed run.",
)
NOISE_MARGIN = Question(
    "noise_margin",
    "Is the count held with a margin?",
    noise_margin.measure,
    roles=common.ANSWERING,
    settings={"dose": 0.1, "draws": 32},
    rules=rules.NOISE_MARGIN,
    text="We add Gaussian noise, a tenth of its own deviation, to every number of the state after every step.",
)

QUESTIONS = (
    SINGLE_UNITS,
    CLASS_MEANS,
    UNIT_SHARES,
    ROUTES,
    OTHER_LENGTHS,
    QUANTISED_STATES,
    DYNAMICS,
    INPUTS,
    MEMORY,
    NOISE_MARGIN,
)
#: Of the fresh networks.
FRESH = (FEW_STATES,)
