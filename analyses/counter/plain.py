"""Questions of the library that the counter is asked as they are, with the rules and the words for it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from analyses.counter import common
from probe.methods.abstraction.quantised import METRICS
from probe.questions.answers import other_lengths
from probe.questions.interventions import class_means, routes, unit_shares
from probe.questions.question import Question
from probe.questions.states import dynamics, quantised_states, single_units

by_cell = partial(
    common.rule, source="Karpathy et al. 2015; Weiss et al. 2018", at_least=0.9, controls=common.beside_untrained(0.0)
)
SINGLE_UNITS = Question(
    "single_units",
    "Is there one cell that holds the count?",
    single_units.measure,
    rules=(
        by_cell(
            key="II.1a",
            statement="Some cell unit follows the count within every step.",
            sentence="Some cell follows the count within steps (correlation)",
            metric="largest_correlation",
            definition="Largest over the cell units of the absolute correlation with the count, the mean of each "
            "step taken off both; every step weighs the same.",
        ),
        by_cell(
            key="II.1b",
            statement="At a fixed step one cell unit is a monotone code of the count.",
            sentence="Some cell shows the count at a fixed step (share of prefixes read)",
            metric="mean_monotone_accuracy",
            definition="Share of held-out prefixes whose rounded isotonic prediction is exact, unit and map chosen "
            "on the other half; mean over the steps after 7 to 10 bits.",
        ),
        by_cell(
            key="II.1c",
            statement="The same cell unit, read by the same map, is that code through all steps.",
            sentence="One cell shows the count at all steps (share of prefixes read)",
            metric="lasting_monotone_accuracy",
            definition="The same with one unit and one isotonic map for the states of all steps, four folds.",
        ),
    ),
    text="A cell may follow the count among strings of one length. Reading the count off one cell asks for more: we "
    "try it at fixed steps, and with one map for all steps, as a cell that keeps a running count would allow.",
)
CLASS_MEANS = Question(
    "class_means",
    "Does the network need more than the count?",
    class_means.measure,
    roles=common.ANSWERING,
    rules=(
        common.rule(
            key="II.5",
            statement="The network needs nothing of its state but the count: class means do as well.",
            sentence="The network needs nothing but the count (accuracy kept on mean states)",
            metric="worst_class_mean_ratio",
            definition="Accuracy where the state after t bits is the mean state of its count, over the network's own "
            "accuracy, without the counts 0 and t, which one prefix alone has; the smallest over t = 1 to 9.",
            source="Chan et al. 2022, causal scrubbing",
            at_least=0.95,
            controls=common.MORE,
        ),
    ),
    text="After one of the bits we replace the state with the mean state of all strings with the same count, and let "
    "the run continue. We judge each network by the bit after which this costs most.",
)
ALL_SUBSETS = (
    "After 7 bits, between a string and the same with bit 5 flipped 0 to 1: all 4,096 subsets of the 12 units (the "
    "pairs c_u, h_u) put in from the flipped string, expected answer at the end over all suffixes; sum of the "
    "Shapley values over the sum of the whole differences"
)
UNIT_SHARES = Question(
    "unit_shares",
    "Is the count carried by one unit?",
    unit_shares.measure,
    roles=common.ANSWERING,
    settings={"step": 6, "changed": 4},
    rules=(
        common.rule(
            key="II.1d",
            statement="One unit carries the count.",
            sentence="One unit carries the count (share of the largest)",
            metric="largest_unit_share",
            definition=f"{ALL_SUBSETS}. The largest unit's share.",
            source="Shapley 1953; Lakretz et al. 2019 for the question",
            at_least=0.5,
            controls=common.MORE,
        ),
        common.rule(
            key="II.5c",
            statement="The cells pull together.",
            sentence="The cells pull together (share that works against the rest)",
            metric="negative_unit_shares",
            definition=f"{ALL_SUBSETS}. The negative shares' sum, as a positive number.",
            source="Shapley 1953; causal scrubbing (Chan et al. 2022) for the question",
            at_most=0.1,
            controls=common.LESS,
        ),
    ),
    text="We put the states of some units from one string into the run of another, and divide the change of the "
    "answer, over all strings, among the units. A unit that works against the others has a negative share.",
)
ROUTES = Question(
    "routes",
    "Where is the sum kept from step to step?",
    routes.measure,
    roles=common.ANSWERING,
    settings={"step": 6, "changed": 4},
    rules=(
        common.rule(
            key="II.7a",
            statement="The cell carries most of it.",
            sentence="The cell carries most of the count to the next step (share)",
            metric="route_share",
            signal="cell_state",
            definition="After 7 bits, between a string and the same with bit 5 flipped 0 to 1: all 32 subsets of the "
            "routes (c through f*c; h into i, g, f and o) delivered for one step, then the run goes on; expected "
            "answer over all suffixes, sum of the Shapley values over the sum of the whole differences. The share of "
            "f*c.",
            source="Shapley 1953; Geiger et al. 2021 and 2023; Sutter et al. 2025",
            at_least=0.5,
            controls=common.MORE,
        ),
    ),
    text="We take two strings whose counts differ by one, and ask by which route the difference reaches the next "
    "state: through the cell, or through gates that read the hidden state and write the sum again.",
)
HUPKES = "Hupkes et al. 2018; Meloux et al. 2025; the theorem in docs/science.md"
OTHER_LENGTHS = Question(
    "other_lengths",
    "What does the network answer at other lengths?",
    other_lengths.measure,
    roles=(*common.ANSWERING, "own initialisation"),
    settings={"most": 2**14},
    rules=(
        common.rule(
            key="II.17a",
            statement="The network is a ones-counter: its answer does not drift with the length.",
            sentence="The network counts ones at other lengths (drift for each missing bit)",
            metric="absolute_drift",
            definition="|d| of g(L) = d (10 - L) over L = 6..14; g(L) is the mean of expected answer minus ones over "
            "the strings of length L with at most 10 ones and at most 10 zeros.",
            source=HUPKES,
            at_most=0.1,
            controls=common.LESS,
        ),
        common.rule(
            key="II.17b",
            statement="Most networks are none of the named programs: they count neither ones nor zeros, nor balance.",
            sentence="Most networks count neither ones, nor zeros, nor their balance (share of networks)",
            metric="near_none",
            definition="Share of networks whose d is not within 0.1 of 0 (ones), 0.5 (balance) or 1 (zeros).",
            source=HUPKES,
            at_least=0.5,
            statistic="share",
            controls=common.MORE,
        ),
        common.rule(
            key="II.17c",
            statement="Order does not matter at other lengths: the number of ones explains the answer.",
            sentence="Order does not matter at other lengths (share that the number of ones explains)",
            metric="least_explained",
            definition="Share of the expected answer's variance between numbers of ones; least of L = 8, 9, 11, 12.",
            source=HUPKES,
            at_least=0.9,
            controls=common.MORE,
        ),
    ),
    text="Each bit short of ten shifts the answer by the drift: 0 for a counter of ones, a half for a balance of "
    "ones against zeros, 1 for a counter that takes zeros off ten. Ten-bit strings cannot show it.",
)
QUANTISED_STATES = Question(
    "quantised_states",
    "Does the network run on one state for each count?",
    quantised_states.measure,
    roles=(*common.ANSWERING, "own initialisation"),
    rules=(
        common.rule(
            key="II.18",
            statement="The network runs on 66 states, one for each step and count.",
            sentence="The network runs on 66 states, one for each step and count (accuracy kept on them)",
            metric="accuracy_kept_by_step",
            definition="Accuracy with every state replaced after each step by the step's nearest class mean (each "
            "number in units of its sd over the step's prefixes), the run going on from there; over own accuracy.",
            source="Omlin & Giles 1996",
            at_least=0.95,
            controls=common.MORE,
        ),
    ),
    text="A class mean is the mean state of all strings with one count at one step. Idle units can pull a run to the "
    "wrong mean, so a low number does not show that no count is held.",
)
FEW_STATES = Question(
    "few_states",
    "Does the network run on a few states, however “nearest” is measured?",
    quantised_states.measure,
    roles=(*common.ANSWERING, "own initialisation"),
    settings={"metrics": METRICS},
    rules=(
        common.rule(
            key="18b",
            statement="The network runs on 66 states, one for each step and count, also if distances are whitened.",
            sentence="Fresh networks run on 66 states by a whitened distance (accuracy kept on them)",
            metric="accuracy_kept_by_step_whitened",
            definition="Accuracy with every state replaced after each step by the step's nearest class mean, the run "
            "going on from there, over own accuracy. The distance is that of Mahalanobis by the pooled covariance "
            "within the step's classes, of numbers in units of their sd over the step's prefixes, plus 0.01.",
            source="Omlin & Giles 1996; Mahalanobis 1936",
            at_least=0.95,
            controls=common.MORE,
        ),
        replace(
            QUANTISED_STATES.rules[0],
            key="III.18",
            sentence="Fresh networks run on 66 states by standard deviations (accuracy kept on them)",
        ),
    ),
    text="II.18 asked this in units of each number's standard deviation, in which idle units weigh as much as those "
    "that hold the count. We ask it again of fresh networks, both so and with a distance that gives a direction more "
    "weight the less it varies among strings of one count.",
)
stays = partial(
    common.rule, source="Sussillo & Barak 2013; Maheswaranathan et al. 2019", at_most=0.1, controls=common.LESS
)
DYNAMICS = Question(
    "dynamics",
    "Does the answer stay put when nothing is counted?",
    dynamics.measure,
    settings={"silent": torch.zeros(1), "driving": torch.ones(1, 1), "steps": (5, 6, 7, 8, 9)},
    version=2,
    rules=(
        stays(
            key="II.19",
            statement="The answer rests on a line while zeros come.",
            sentence="The answer stays put while zeros come in (change for each)",
            metric="silent_speed",
            definition="Mean |change of the expected answer| when a 0 is read after 5 to 9 bits, over all prefixes.",
        ),
        stays(
            key="II.19b",
            statement="The answer holds when a one is read.",
            sentence="The answer stays put when a one comes in (change for each)",
            metric="driven_speed",
            definition="Mean |change of the expected answer| when a 1 is read after 5 to 9 bits, over all prefixes.",
        ),
    ),
    text="We read one more bit, and ask how far it moves the answer. If a 0 hardly moves it, that alone is no sign "
    "of counting: perhaps no bit does.",
)

QUESTIONS = (SINGLE_UNITS, CLASS_MEANS, UNIT_SHARES, ROUTES, OTHER_LENGTHS, QUANTISED_STATES, DYNAMICS)
#: Of the fresh networks.
FRESH = (FEW_STATES,)
