"""The rules of the counter's study, by question, committed before the networks that they judge were trained.

II. and III. mark a rule that was judged before on other networks. `rules_first_used.json` keeps the digest that each
rule had before its networks were trained; since then controls were added, and in six rules a second weight.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from models.recipes import EARLY
from probe.evidence import Control, Range, Rule
from probe.evidence.claims import STRONGEST
from probe.questions.rules import rule as of_networks

#: A verdict of the counter's takes 50 networks.
rule = partial(of_networks, needs=50)
#: By how much most rules ask for more, or for less, than the best of five heads on untrained weights reaches.
MORE, LESS = (Control(STRONGEST, 0.05),), (Control(STRONGEST, 0.05, lower=True),)
#: Whose states rules about states are held against: before training, and before it with larger weights.
UNTRAINED = ("own initialisation", "scaled head")


def beside_untrained(margin: float, *, lower: bool = False) -> tuple[Control, ...]:
    """Return the controls of a rule about states, with what the difference to each must exceed."""
    return tuple(Control(role, margin, lower) for role in UNTRAINED)


# Does the network count?
ACCURACY = (
    rule(
        key="II.0",
        statement="The network counts: at most 1 % of the strings that it never saw are misread.",
        sentence="The network counts (share of unseen strings misread)",
        metric="test_error",
        definition="Share of the network's own 524 test strings whose highest score is not at their count.",
        source="the notebook that the counter comes from, which reports 0.1 %",
        at_most=0.01,
        controls=(Control(STRONGEST, 0.0, lower=True),),
    ),
)

# Is there one cell that holds the count?
by_cell = partial(
    rule, source="Karpathy et al. 2015; Weiss et al. 2018", at_least=0.9, controls=beside_untrained(0.0)
)
SINGLE_UNITS = (
    by_cell(
        key="II.1a",
        statement="Some cell unit follows the count within every step.",
        sentence="Some cell follows the count within steps (correlation)",
        metric="largest_correlation",
        definition="Largest over the cell units of the absolute correlation with the count, the mean of each step "
        "taken off both; every step weighs the same.",
    ),
    by_cell(
        key="II.1b",
        statement="At a fixed step one cell unit is a monotone code of the count.",
        sentence="Some cell shows the count at a fixed step (share of prefixes read)",
        metric="mean_monotone_accuracy",
        definition="Share of held-out prefixes whose rounded isotonic prediction is exact, unit and map chosen on "
        "the other half; mean over the steps after 7 to 10 bits.",
    ),
)

# Can the count be read out of the state?
LINEAR_READOUT = (
    rule(
        key="II.2",
        statement="A linear probe reads the count out of the last state.",
        sentence="A linear probe reads the count off the last state (R²)",
        metric="last_step_r_squared",
        definition="Held-out R² of a linear probe at the last step (halves, both ways), the smaller of c's and h's.",
        source="Hupkes et al. 2018",
        at_least=0.95,
        controls=beside_untrained(0.02),
    ),
    rule(
        key="II.3",
        statement="The last state holds the count better than other memories of its input.",
        sentence="The last state holds the count better than other sums of the bits (R² more)",
        metric="selectivity",
        signal="hidden_state",
        definition="Held-out R² of the count minus the mean of that of 200 sums of the bits with signs that nearly "
        "cancel; h after the last step.",
        source="Hewitt & Liang 2019; Voita & Titov 2020",
        at_least=0.5,
        controls=beside_untrained(0.1),
    ),
    rule(
        key="II.4",
        statement="The last state is mostly about the count.",
        sentence="Most of what varies in the last state is the count (share)",
        metric="between_concept_share",
        signal="hidden_state",
        definition="Share of the variance of h after the last step that lies between counts, all units together.",
        source="Pearson 1905 (correlation ratio, eta squared)",
        at_least=0.8,
        controls=beside_untrained(0.1),
    ),
)

# Does the network need more than the count?
CLASS_MEANS = (
    rule(
        key="II.5",
        statement="The network needs nothing of its state but the count: class means do as well.",
        sentence="The network needs nothing but the count (accuracy kept on mean states)",
        metric="worst_class_mean_ratio",
        definition="Accuracy where the state after t bits is the mean state of its count, over the network's own "
        "accuracy, without the counts 0 and t, which one prefix alone has; the smallest over t = 1 to 9.",
        source="Chan et al. 2022, causal scrubbing",
        at_least=0.95,
        controls=MORE,
    ),
)

# Is the count held with a margin?
NOISE_MARGIN = (
    rule(
        key="II.5b",
        statement="The count is held with a margin.",
        sentence="The count withstands noise (accuracy under noise)",
        metric="noisy_accuracy",
        definition="Accuracy on all 1,024 strings with independent Gaussian noise of .1 sd of each unit (sd over "
        "strings at that step) added to every number of (c, h) after every step, 32 draws.",
        source="docs/science.md; causal scrubbing (Chan et al. 2022) for the question",
        at_least=0.95,
        controls=MORE,
    ),
)

# Is the count carried by one unit?
ALL_SUBSETS = (
    "After 7 bits, between a string and the same with bit 5 flipped 0 to 1: all 4,096 subsets of the 12 units (the "
    "pairs c_u, h_u) put in from the flipped string, expected answer at the end over all suffixes; sum of the "
    "Shapley values over the sum of the whole differences"
)
UNIT_SHARES = (
    rule(
        key="II.1d",
        statement="One unit carries the count.",
        sentence="One unit carries the count (share of the largest)",
        metric="largest_unit_share",
        definition=f"{ALL_SUBSETS}. The largest unit's share.",
        source="Shapley 1953; Lakretz et al. 2019 for the question",
        at_least=0.5,
        controls=MORE,
    ),
    rule(
        key="II.5c",
        statement="The cells pull together.",
        sentence="The cells pull together (share that works against the rest)",
        metric="negative_unit_shares",
        definition=f"{ALL_SUBSETS}. The negative shares' sum, as a positive number.",
        source="Shapley 1953; causal scrubbing (Chan et al. 2022) for the question",
        at_most=0.1,
        controls=LESS,
    ),
)

# Where is the sum kept from step to step?
ROUTES = (
    rule(
        key="II.7a",
        statement="The cell carries most of it.",
        sentence="The cell carries most of the count to the next step (share)",
        metric="route_share",
        signal="cell_state",
        definition="After 7 bits, between a string and the same with bit 5 flipped 0 to 1: all 32 subsets of the "
        "routes (c through f*c; h into i, g, f and o) delivered for one step, then the run goes on; expected answer "
        "over all suffixes, sum of the Shapley values over the sum of the whole differences. The share of f*c.",
        source="Shapley 1953; Geiger et al. 2021 and 2023; Sutter et al. 2025",
        at_least=0.5,
        controls=MORE,
    ),
)

# Is there one direction that the answer follows?
DIRECTIONS = (
    rule(
        key="II.8",
        statement="The answer follows one direction of the state, the weight of the least-squares probe.",
        sentence="The answer follows the direction of the least-squares probe (interchange score)",
        metric="direction_score",
        signal="ols",
        definition="(IIA - IIA of no patch) / (IIA of the whole state - IIA of no patch) of all pairs after 7 bits, "
        "the source's part of (c, h) along the least-squares weight of the count put into the base's state.",
        source="Geiger et al. 2021 and 2023; Elazar et al. 2021; Makelov et al. 2023",
        at_least=0.5,
        controls=MORE,
    ),
)

# Do two dimensions carry the count?
ALIGNMENT = (
    rule(
        key="II.9",
        statement="Two dimensions of the state carry the count.",
        sentence="Two directions of the state carry the count (interchange score)",
        metric="few_directions_score",
        definition="Alignment search of rank 2 after 7 bits, fitted on half of the prefixes and scored on pairs of "
        "the others, both ways: share of the way from no patch to the whole state. The readout twin's value is that "
        "of its one direction in closed form.",
        source="Geiger et al. 2021 and 2023; Sutter et al. 2025",
        at_least=0.95,
        controls=MORE,
    ),
)

# Is the count needed for the answer?
erased = partial(rule, source="Elazar et al. 2021; Belrose et al. 2023")
ERASURE = (
    erased(
        key="II.12a",
        statement="With the count erased from the state, the answer is no better than the suffix allows.",
        sentence="Once the count is erased, the answer is a guess (accuracy above guessing)",
        metric="erased_excess",
        definition="One-hot LEACE after 7 bits, fitted on half of the prefixes and applied to the others, both ways: "
        "accuracy of the run that goes on, minus the floor (the best constant answer given the suffix), 0 below it.",
        at_most=0.05,
        controls=LESS,
    ),
    erased(
        key="II.12b",
        statement="Erasing shuffled labels instead, at the same rank, leaves the answer well above that.",
        sentence="Erase shuffled labels, not the count, and answers stay much better than a guess (accuracy above "
        "guessing)",
        metric="shuffled_excess",
        definition="The same with the labels of the fitting half in another order, mean of 20 orders.",
        at_least=0.3,
        controls=MORE,
    ),
    erased(
        key="II.12c",
        statement="With the two dimensions that carry the count projected out, it is no better either.",
        sentence="Once the two directions are removed, the answer is a guess (accuracy above guessing)",
        metric="projected_excess",
        definition="The subspace of claim 9, found on half of the prefixes, the mean of these put in its place in "
        "the others, both ways: accuracy minus the floor, 0 below it.",
        at_most=0.1,
        controls=LESS,
    ),
)

# Does the answer go where the state is pushed?
STEERING = (
    rule(
        key="II.13",
        statement="Pushing the state by one count, from class mean to class mean, moves the answer by one.",
        sentence="A push by one count moves the answer by one (share of answers)",
        metric="steered_exact",
        signal="class_mean",
        definition="Share of answers that are the target where the state after 7 bits is moved by the difference of "
        "the class means of its count and of the next or the previous one; all strings with both counts in range.",
        source="Heimersheim & Nanda 2024",
        at_least=0.95,
        controls=MORE,
    ),
)

# Would one unit be enough?
UNIT_ABLATION = (
    rule(
        key="II.14",
        statement="No unit suffices: alone, the best one keeps less than half of what the network can do.",
        sentence="No unit suffices alone (accuracy kept by the best)",
        metric="best_single_unit_score",
        definition="(accuracy with the best unit alone - with none) / (own accuracy - with none); the states of the "
        "others, (c, h), are those of a random other prefix after every bit, 32 draws.",
        source="Lakretz et al. 2019; Chan et al. 2022, causal scrubbing",
        at_most=0.5,
        controls=LESS,
    ),
)

# Where does a bit enter?
#: The bound on a gate's share, at which the figure draws a line.
GATE = 0.5
ALL_GATES = (
    "Bit t changed 0 to 1 and delivered to all subsets of {i, f, g, o}; expected answer, Shapley values summed over "
    "t = 2..10 and all contexts, over the sum of the whole differences"
)
enters = partial(
    rule,
    source="Shapley 1953; Karpathy et al. 2015 for the gate stories",
    at_least=GATE,
    controls=(Control(STRONGEST, 0.05),),
)
GATE_SHARES = (
    enters(
        key="II.15a",
        statement="A 1 opens the input gate.",
        sentence="A 1 opens the input gate (share of this gate)",
        metric="gate_share",
        signal="input_gate",
        definition=f"{ALL_GATES}. The share of i.",
    ),
    enters(
        key="II.15b",
        statement="A 1 is written by the candidate.",
        sentence="A 1 enters through the candidate (share of the candidate)",
        metric="gate_share",
        signal="cell_candidate",
        definition=f"{ALL_GATES}. The share of g.",
    ),
    enters(
        key="II.15c",
        statement="Constant gates suffice.",
        sentence="Constant gates suffice (accuracy)",
        metric="constant_gates_accuracy",
        definition="Accuracy on all 1,024 strings with i, f and o frozen at their mean per unit and step.",
    ),
)

# What does one more bit do to the answer?
BIT_EFFECTS = (
    rule(
        key="II.16",
        statement="A 1 and a 0 each do the same to the answer, wherever they come.",
        sentence="A bit has the same effect on the answer wherever it comes (spread of its effect)",
        metric="largest_effect_sd",
        definition="Change of the expected answer on a bit at steps 6..10, read off the state before and after it; "
        "sd over contexts (every step the same total weight), the larger of those on a 1 and on a 0.",
        source="Weiss et al. 2018",
        at_most=0.25,
        controls=LESS,
    ),
)

# What does the network answer at other lengths?
at_lengths = partial(rule, source="Hupkes et al. 2018; Meloux et al. 2025; the theorem in docs/science.md")
OTHER_LENGTHS = (
    at_lengths(
        key="II.17a",
        statement="The network is a ones-counter: its answer does not drift with the length.",
        sentence="The network counts ones at other lengths (drift for each missing bit)",
        metric="absolute_drift",
        definition="|d| of g(L) = d (10 - L) over L = 6..14; g(L) is the mean of expected answer minus ones over the "
        "strings of length L with at most 10 ones and at most 10 zeros.",
        at_most=0.1,
        controls=LESS,
    ),
    at_lengths(
        key="II.17b",
        statement="Most networks are none of the named programs: they count neither ones nor zeros, nor balance.",
        sentence="Most networks count neither ones, nor zeros, nor their balance (share of networks)",
        metric="near_none",
        definition="Share of networks whose d is not within 0.1 of 0 (ones), 0.5 (balance) or 1 (zeros).",
        statistic="share",
        at_least=0.5,
        controls=MORE,
    ),
    at_lengths(
        key="II.17c",
        statement="Order does not matter at other lengths: the number of ones explains the answer.",
        sentence="Order does not matter at other lengths (share that the number of ones explains)",
        metric="least_explained",
        definition="Share of the expected answer's variance between numbers of ones; least of L = 8, 9, 11, 12.",
        at_least=0.9,
        controls=MORE,
    ),
)

# How few numbers describe what the network answers?
REDUCED_MODELS = (
    rule(
        key="II.20",
        statement="One number predicts the answers at another length.",
        sentence="One number predicts the answers at another length (R²)",
        metric="law_r_squared",
        definition="R² of the expected answer at 12 bits by ones + d (10 - L), d fitted on 8 to 10 bits; the null is "
        "the best of d = 0, 0.5 and 1 (counting ones, balance, counting zeros).",
        source="Suzgun et al. 2019; El-Naggar et al. 2022",
        at_least=0.9,
        controls=MORE,
    ),
)

# Does the network run on one state for each count?
QUANTISED_STATES = (
    rule(
        key="II.18",
        statement="The network runs on 66 states, one for each step and count.",
        sentence="The network runs on 66 states, one for each step and count (accuracy kept on them)",
        metric="accuracy_kept_by_step",
        definition="Accuracy with every state replaced after each step by the step's nearest class mean (each number "
        "in units of its sd over the step's prefixes), the run going on from there; over own accuracy.",
        source="Omlin & Giles 1996",
        at_least=0.95,
        controls=MORE,
    ),
)

# Does the answer stay put when nothing is counted?
stays = partial(rule, source="Sussillo & Barak 2013; Maheswaranathan et al. 2019", at_most=0.1, controls=LESS)
DYNAMICS = (
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
)

# Does one cell pass every test of a running count?
TESTED = "Karpathy et al. 2015; Weiss et al. 2018; Lakretz et al. 2019; Geiger et al. 2021"
#: A rule on prefixes of many lengths is judged by two weights, and undecided where they disagree.
TWO_WEIGHTS = "each number of bits weighs the same (also judged with each prefix weighing the same)"
READ_BEST = "The first of the five tests for the ones (27e), of the cell that does best in it"
FIVE_TESTS = (
    f"Five tests of each cell u; in the first two {TWO_WEIGHTS}. Read: one isotonic map from c_u to the target at "
    "all steps of 1 to 10 bits, within .5 on >= .9 of held-out prefixes, four folds, mean over ten splits drawn by "
    "the network's seed. Lasts: that map fitted on all of them is within .5 on >= .9 of the prefixes of 11 and 12 "
    "bits whose target lies in the fitted range. Carries: exact Shapley share after 7 bits >= .5. Moves: "
    "interchange score of (c_u, h_u) after 7 bits >= .5. Suffices: (accuracy with u alone - none) / (own - none) >= "
    ".5, all others resampled after every bit. 1 if one cell passes all five"
)
some_cell = partial(
    rule, metric="all_tests", also="all_tests_by_prefix", source=TESTED, at_least=0.5, statistic="share"
)
best_cell = partial(Rule, metric="best_read", also="best_read_by_prefix", source=TESTED)
ONE_CELL = (
    some_cell(
        key="27e",
        statement="Some cell keeps a running count of the ones.",
        sentence="Some cell keeps a running count of the ones (1 if one passes all tests)",
        signal="ones",
        definition=f"{FIVE_TESTS}. The target is n1.",
    ),
    some_cell(
        key="27f",
        statement="Some cell keeps a running count of the zeros.",
        sentence="Some cell keeps a running count of the zeros (1 if one passes all tests)",
        signal="zeros",
        definition=f"{FIVE_TESTS}. The target is n0 = t - n1.",
    ),
    some_cell(
        key="27g",
        statement="Some cell keeps the running value of the network's own program.",
        sentence="Some cell keeps the running value of the network's own program (1 if one passes all tests)",
        signal="drift",
        definition=f"{FIVE_TESTS}. The target is n1 + d (10 - t), d the network's drift over 6 to 14 bits.",
    ),
    best_cell(
        key="III.1c",
        statement="The same cell unit, read by the same map, is the count through all steps.",
        sentence="One cell shows the count at all steps (share of prefixes read)",
        definition=f"{READ_BEST}; {TWO_WEIGHTS}.",
        established_if=Range.at_least(0.9),
        refuted_if=Range.below(0.9),
        controls=beside_untrained(0.0),
    ),
    best_cell(
        key="27h",
        statement="Training takes the running count out of single cells.",
        sentence="Read by one formula, single cells lose the running count in training (share read off the best)",
        definition=f"{READ_BEST}; {TWO_WEIGHTS}.",
        established_if=Range.below(0.9),
        refuted_if=Range.at_least(0.9),
        controls=beside_untrained(0.2, lower=True),
    ),
)

# Do the same cells carry every count? The bounds were fixed before a trained network was looked at.
#: The bound on the relay index, which the figure draws too.
SAME = 1.5
#: A pair whose whole difference is smaller, in counts, has no shares worth the name; a count should make 1.
TINY = 0.1
EACH_PAIR = (
    "After 7 bits, between a prefix and the same with bit 5 flipped 0 to 1, mean over all suffixes: exact Shapley "
    "values of the 12 units (the pairs c_u, h_u) in each of the 64 pairs of prefixes"
)
RELAY = (
    rule(
        key="25a",
        statement="The cells work as a crowd and not as a relay: the same cells carry the count in every string.",
        sentence="The same cells carry the count in every string (relay index)",
        metric="relay_index",
        definition=f"{EACH_PAIR}. m_ku = the absolute value of unit u in pair k. The participation (sum m)^2 / sum "
        "m^2 of the sizes summed over pairs, over the mean participation of a pair (harmonic, each pair weighted "
        "by the sum of its sizes). 1 if all pairs use the same cells in the same proportions, the number of "
        "cells if each takes its turn alone and as often.",
        source="Jost 2007, effective numbers of order 2: total over within; Shapley 1953",
        at_most=SAME,
    ),
    Rule(
        key="25b",
        statement="In the median string, too, no cell carries half of a count.",
        sentence="No cell carries half of a count in the median string (largest share)",
        metric="largest_pair_share",
        definition=f"{EACH_PAIR}. The largest share of a unit in a pair, median over the pairs whose whole "
        f"difference is at least {TINY:g} of a count.",
        source="Shapley 1953; Lakretz et al. 2019 for the question",
        established_if=Range.below(0.5),
        refuted_if=Range.at_least(0.5),
    ),
    Rule(
        key="25c",
        statement="Training makes a relay: cells take over from each other.",
        sentence="Training makes cells take over from each other (relay index)",
        metric="relay_index",
        definition="The relay index of 25a, more than in the best of the heads on untrained weights.",
        source="Jost 2007; Shapley 1953",
        established_if=Range.above(SAME),
        refuted_if=Range.at_most(SAME),
        controls=(Control(STRONGEST, 0.5),),
    ),
)

# Does the answer follow what reads the count best?
ESTIMATORS = (
    rule(
        key="26",
        statement="The answer follows the direction of the estimator that reads best.",
        sentence="The answer follows the direction that reads best (interchange score)",
        metric="best_score",
        definition="(IIA - IIA of no patch) / (IIA of the whole state - IIA of no patch) of all pairs after 7 bits, "
        "along the direction with the largest held-out R2 of the count (one affine map of the state's part along it, "
        "direction and map fitted on one half of the prefixes and scored on the other, both ways, mean over ten "
        "splits drawn by the network's seed), of logistic, least squares, ridge .01, .1, 1 and the encoding slope.",
        source="Geiger et al. 2021; Haufe et al. 2014; Hoerl & Kennard 1970",
        at_least=0.5,
    ),
)

# Is it the ones plus an offset for each missing bit?
LAW = "n1 + d (10 - L), d fitted on the mean expected answers at 8 to 10 bits"
offset = partial(rule, source="Suzgun et al. 2019; El-Naggar et al. 2022")
OFFSET_LAW = (
    offset(
        key="20b",
        statement="One number gives the answers at another length.",
        sentence="One number gives each answer at another length (share of answers)",
        metric="law_answers",
        definition="Share of the strings of 12 bits with at most 10 ones and 10 zeros whose answer is a whole "
        f"number nearest to {LAW}. Where the law says a half, both neighbours are nearest.",
        at_least=0.9,
        controls=MORE,
    ),
    offset(
        key="20c",
        statement="One number gives the mean offset at another length.",
        sentence="One number gives the mean answer at another length (error)",
        metric="offset_error",
        definition=f"|mean of expected answer minus ones over those strings of 12 bits - (-2 d)|, with {LAW}.",
        at_most=0.1,
        controls=LESS,
    ),
)

# What is added to the ones at each length?
added = partial(rule, source="docs/science.md, What it counts")
DRIFT_LAW = (
    added(
        key="20d",
        statement="To strings of 6 to 12 bits the answer is ten less the zeros, to within one.",
        sentence="For strings of 6 to 12 bits the answer is mostly within one of ten minus the number of zeros "
        "(share)",
        metric="ten_less",
        definition="Of strings of 6 to 12 bits with at most 10 ones and 10 zeros, at the length where it is "
        "smallest, the share whose answer is 9, 10 or 11 less the zeros.",
        at_least=0.9,
        controls=MORE,
    ),
    added(
        key="20e",
        statement="To strings of 3 to 5 bits with a 1 among them it is nine less the zeros, to within one.",
        sentence="For strings of 3 to 5 bits with a 1 it is mostly within one of nine minus the zeros (share)",
        metric="nine_less",
        definition="Of strings of 3 to 5 bits with a 1 among them, at the length where it is smallest, the share "
        "whose answer is 8, 9 or 10 less the zeros.",
        at_least=0.9,
        controls=MORE,
    ),
    added(
        key="20f",
        statement="Two ends, a drift, and how fast the start is forgotten give the mean answer at every length.",
        sentence="Two ends, a drift and the rate of forgetting give the mean answer at every length (error)",
        metric="law_error",
        definition="Mean of |d (10 - L) - (10 d - g(0)) r^L - g(L)| over L = 2 to 5 and 11 to 14, with d from 6 to "
        "10 bits, g(0) of the state before the first bit, and r from g(1).",
        at_most=0.25,
        controls=LESS,
    ),
)

# Does the network run on a few states, however “nearest” is measured?
FEW_STATES = (
    rule(
        key="18b",
        statement="The network runs on 66 states, one for each step and count, also if distances are whitened.",
        sentence="Fresh networks run on 66 states by a whitened distance (accuracy kept on them)",
        metric="accuracy_kept_by_step_whitened",
        definition="Accuracy with every state replaced after each step by the step's nearest class mean, the run "
        "going on from there, over own accuracy. The distance is that of Mahalanobis by the pooled covariance within "
        "the step's classes, of numbers in units of their sd over the step's prefixes, plus 0.01.",
        source="Omlin & Giles 1996; Mahalanobis 1936",
        at_least=0.95,
        controls=MORE,
    ),
    replace(
        QUANTISED_STATES[0],
        key="III.18",
        sentence="Fresh networks run on 66 states by standard deviations (accuracy kept on them)",
    ),
)

# What do two directions carry from one step to another? The bounds were fixed on seeds 0 to 39.
SEARCHED = (
    "An alignment search of rank 2 on strings of ten bits, with bases and sources after 3, 5 or 7 bits, equal or "
    "not; tried from one to another of the steps after 4, 6 and 8 bits. "
)
OWN_ANSWERS = (
    "Share of answers that are the network's own to the source's first s bits and the base's bits from t on, among "
    "pairs whose ones, and ones + t - s, are 0 to 10"
)
swapped = partial(rule, source="Geiger et al. 2021 and 2024", controls=MORE)
STEPS_SWAPPED = (
    swapped(
        key="24c",
        statement="Two directions carry the ones and the drift from step to step.",
        sentence="Two directions carry ones plus drift from step to step (share of answers)",
        metric="swapped_own",
        definition=f"{SEARCHED}{OWN_ANSWERS}, of the directions that were searched for this.",
        at_least=0.7,
    ),
    swapped(
        key="24d",
        statement="No two directions carry the ones alone from step to step as well.",
        sentence="Two directions carry ones plus drift better than ones alone (share of answers)",
        metric="own_over_ones",
        definition=f"{SEARCHED}{OWN_ANSWERS}, less the share that are the ones (a = 0), each of the directions that "
        "were searched for it.",
        at_least=0.2,
    ),
    swapped(
        key="24e",
        statement="No two directions carry the ones with a drift of 1 from step to step as well.",
        sentence="Two directions carry ones plus drift better than a count of zeros (share of answers)",
        metric="own_over_zeros",
        definition=f"{SEARCHED}{OWN_ANSWERS}, less the share that are the ones + t - s (a = 1), each of the "
        "directions that were searched for it.",
        at_least=0.2,
    ),
)

# Does the base rate decide the program?
NEAR, EXACT = (Control(STRONGEST, 0.1, lower=True),), (Control(STRONGEST, 0.02, lower=True),)
rated = partial(rule, source="docs/science.md, The base rate")
BASE_RATE = (
    rated(
        key="29a",
        statement="Before the first bit the answer is the mean of the training labels.",
        sentence="Before the first bit the answer is the mean of the training labels (mean distance)",
        metric="start_error",
        definition="Mean over p(1) = .2, .3, .5, .7, .8 of |g(0) - 10 p|; g(0) is the expected answer of the state "
        "before the first bit.",
        at_most=0.5,
        controls=NEAR,
    ),
    rated(
        key="29b",
        statement="At the beginning the mean answer is a straight line from there to the count at ten bits.",
        sentence="Early in training the mean answer is a straight line from there to ten bits (mean distance)",
        metric="early_line",
        definition=f"Mean over p of |d - g(0) / 10| after {EARLY} steps of training.",
        at_most=0.05,
        controls=EXACT,
    ),
    rated(
        key="29c",
        statement="At the beginning the drift is the base rate.",
        sentence="Early in training a missing bit adds the base rate (mean distance)",
        metric="early_rate",
        definition=f"Mean over p of |d - p| after {EARLY} steps of training.",
        at_most=0.1,
        controls=EXACT,
    ),
    rated(
        key="29d",
        statement="At the beginning the drift is one half, whatever the base rate.",
        sentence="Early in training a missing bit adds a half, whatever the base rate (mean distance)",
        metric="early_half",
        definition=f"Mean over p of |d - .5| after {EARLY} steps of training.",
        at_most=0.1,
        controls=EXACT,
    ),
    rated(
        key="29e",
        statement="Trained, the drift rises with the base rate.",
        sentence="The more 1s in training, the more a missing bit adds (drift, .8 less .2)",
        metric="drift_rise",
        definition="d of the network trained at p(1) = .8 less d of the one of the same seed at .2.",
        at_least=0.15,
        controls=MORE,
    ),
    rated(
        key="29f",
        statement="Where ones are rare, it counts ones.",
        sentence="With ones rare in training, networks count ones (drift at .2)",
        metric="rare_ones",
        definition="d at p(1) = .2: a counter of ones has 0.",
        at_most=0.25,
        controls=LESS,
    ),
    rated(
        key="29g",
        statement="Where zeros are rare, it takes zeros away.",
        sentence="With zeros rare in training, networks take zeros off ten; no test of rarity (drift at .8)",
        metric="rare_zeros",
        definition="d at p(1) = .8: ten less the zeros has 1.",
        at_least=0.75,
        controls=MORE,
    ),
)

# What decides what it takes? A drift that is .1 less moves the answer to five bits by half a one: the least that
# changes an answer. A cell's own median of ten networks is uncertain by half of that.
ENOUGH, NO_LAW = 0.1, (Control("no law", 0.05, lower=True),)
crossed = partial(rule, source="docs/science.md, What decides")
#: Cells of the crossed networks: of each is one drift to be foretold.
of_cells = partial(crossed, at_most=ENOUGH, needs=27, controls=NO_LAW)
FORETOLD = (
    "|median d of a cell's ten networks - what a line through the medians of the other 26 cells gives|, the line "
)
CROSSED = (
    crossed(
        key="30a",
        statement="The larger the numbers that a network reads, the larger its drift.",
        sentence="The larger the numbers read, the more a missing bit adds (drift, mean .5 less -.5)",
        metric="numbers_rise",
        definition="d of a network that reads .5 on average less d of one that reads -.5, of equal p(1) and start; "
        "the networks of two cells are paired in the order of their seeds.",
        at_least=ENOUGH,
    ),
    crossed(
        key="30b",
        statement="The more frequent ones are, at equal numbers read, the larger the drift.",
        sentence="The more 1s in training, numbers read being equal, the more a missing bit adds (drift, .8 less .2)",
        metric="labels_rise",
        definition="d at p(1) = .8 less d at .2, of equal mean number read and start, paired as for 30a.",
        at_least=ENOUGH,
    ),
    crossed(
        key="30c",
        statement="The higher the head starts, the larger the drift.",
        sentence="The higher the answer before training, the more a missing bit adds (drift, start 10 less 0)",
        metric="start_rise",
        definition="d of a head that starts at 10 less d of one that starts at 0, of equal p(1) and mean number, "
        "paired as for 30a.",
        at_least=ENOUGH,
    ),
    of_cells(
        key="30d",
        statement="Base rate, numbers read and start foretell the drift together.",
        sentence="Base rate, numbers read and start together foretell the drift (distance)",
        metric="law_all",
        definition=f"{FORETOLD}in p(1), mean number read and start.",
    ),
    of_cells(
        key="30e",
        statement="The base rate alone foretells the drift.",
        sentence="The base rate alone foretells the drift (distance)",
        metric="law_labels",
        definition=f"{FORETOLD}in p(1).",
    ),
    of_cells(
        key="30f",
        statement="The mean number read alone foretells the drift.",
        sentence="The numbers read alone foretell the drift (distance)",
        metric="law_numbers",
        definition=f"{FORETOLD}in the mean number read.",
    ),
    of_cells(
        key="30g",
        statement="The start alone foretells the drift.",
        sentence="The start alone foretells the drift (distance)",
        metric="law_start",
        definition=f"{FORETOLD}in the start.",
    ),
    of_cells(
        key="30h",
        statement="What a zero is read as foretells the drift alone.",
        sentence="What a 0 is read as alone foretells the drift (distance)",
        metric="law_zero",
        definition=f"{FORETOLD}in the number that a 0 is read as, mean number read less p(1).",
    ),
    crossed(
        key="30i",
        statement="Labels, and not symbols, count: with a third symbol the drift is that of equal labels.",
        sentence="With a third symbol the drift is that of equal labels, not of equally frequent 0s and 1s "
        "(how much nearer)",
        metric="nearer_labels",
        definition="Ones of chance .2, a third symbol of .5 or .7, ten networks each: |d - d_s| less |d - d_l|. d_l "
        "is the median d of the cell of p(1) = .2, mean number 0 and start 5, and d_s that at the share of ones "
        "among zeros and ones, on straight lines between the cells of p(1) = .2, .5 and .8.",
        at_least=0.0,
        needs=20,
    ),
)

# What else in training sets the drift? A pair is networks of the same seed.
EXPERIMENT = "the experiment of docs/science.md; Suzgun et al. 2019"
TRAINING_SIGNAL = (
    Rule(
        key="23a",
        statement="The input code sets the drift: with 0/1 it is larger than with -1/+1.",
        sentence="The input code sets the drift (with 0 and 1, minus with -1 and +1)",
        metric="code_difference",
        definition="d of the network trained on 0/1 less d of the one trained from the same seed on -1/+1.",
        source=EXPERIMENT,
        established_if=Range.above(0.1),
        refuted_if=Range.at_most(0.1),
    ),
    rule(
        key="23b",
        statement="A tenth of strings of length 9 among the training strings suffices for a small drift.",
        sentence="A tenth of shorter strings suffices for a small drift (drift)",
        metric="shorter_drift",
        definition="d of the network of whose 500 training strings 50 were replaced by strings of 9 bits.",
        source=EXPERIMENT,
        at_most=0.3,
    ),
)

# When does the count appear in training, and when does it leave single cells?
OVER_TRAINING = (
    rule(
        key="T6",
        statement="The running count is gone from single cells before the network counts.",
        sentence="Once a network counts, no cell gives the count by one formula (share of networks)",
        metric="gone_before",
        also="gone_before_by_prefix",
        definition="Share of networks in which one monotone map reads the count off one cell at all steps (the first "
        "test of 27e, at least .9) at no checkpoint from the first one on that misreads at most 1 % of all 1,024 "
        f"strings; {TWO_WEIGHTS}.",
        source="docs/science.md, the second judgement; Saxe et al. 2019 for the question of what training does in "
        "its course",
        statistic="share",
        at_least=0.5,
        needs=12,
    ),
)

#: How many verdicts were decided together, which sets the level of each. In the first judgement, of recipes:
RECIPES_FAMILY = 33
#: In the second judgement, those that are no longer asked and those that name a second weight among them.
FAMILY = 55
#: Of fresh networks, together with all before them.
FRESH = (*DRIFT_LAW, *FEW_STATES, *STEPS_SWAPPED)
FRESH_FAMILY = FAMILY + len(FRESH)
#: Of base rates, together with all before them.
LAST_FAMILY = FRESH_FAMILY + len(BASE_RATE)
#: Of crossed networks, together with all before them.
CROSSED_FAMILY = LAST_FAMILY + len(CROSSED)


def family_of(rule: Rule) -> int:
    """Return how many verdicts are decided together with that of a rule."""
    later = ((TRAINING_SIGNAL, RECIPES_FAMILY), (FRESH, FRESH_FAMILY), (BASE_RATE, LAST_FAMILY))
    for judged, family in (*later, (CROSSED, CROSSED_FAMILY)):
        if rule.key in {one.key for one in judged}:
            return family
    return FAMILY
