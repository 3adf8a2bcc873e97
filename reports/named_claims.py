"""The table of every claim on the counter's first page, each by a name that stands alone."""

from __future__ import annotations

from collections.abc import Sequence

from probe import ProbeError
from probe.evidence import Claim
from probe.report import Table

from . import story

#: What a reader who has not read the rules calls each claim, and in brackets what its number is.
NAMES = {
    "27a": "Some cell keeps a running count of the ones (1 if one passes all tests)",
    "27b": "Some cell keeps a running count of the zeros (1 if one passes all tests)",
    "27c": "Some cell keeps the running value of the network's own program (1 if one passes all tests)",
    "27d": "Training takes the running count out of single cells (share of prefixes read off the best)",
    "0": "The network counts (share of unseen strings misread)",
    "1a": "Some cell follows the count within every step (correlation)",
    "1b": "Some cell tells the count at a fixed step (share of prefixes read)",
    "1c": "One cell tells the count at all steps (share of prefixes read)",
    "1d": "One unit carries the count (share of the largest)",
    "2": "A linear probe reads the count off the last state (R²)",
    "3": "The last state holds the count better than other sums of the bits (R² more)",
    "4": "Most of what varies in the last state is the count (share)",
    "5": "The network needs nothing but the count (accuracy kept on mean states)",
    "5b": "The count stands noise (accuracy under noise)",
    "5c": "The cells pull together (share that works against the rest)",
    "7a": "The cell carries most of the count to the next step (share)",
    "8": "The answer follows the direction of the linear probe (interchange score)",
    "9": "Two directions of the state carry the count (interchange score)",
    "12a": "Once the count is erased, the answer is a guess (accuracy above guessing)",
    "12b": "Erasing shuffled labels leaves the answer (accuracy above guessing)",
    "12c": "Once the two directions are removed, the answer is a guess (accuracy above guessing)",
    "13": "A push by one count moves the answer by one (share of answers)",
    "14": "No unit suffices alone (accuracy kept by the best)",
    "15a": "A 1 opens the input gate (share of this gate)",
    "15b": "A 1 enters by the candidate (share of the candidate)",
    "15c": "Constant gates suffice (accuracy)",
    "16": "A bit does the same to the answer wherever it comes (spread of its effect)",
    "17a": "The network counts ones at other lengths (drift for each missing bit)",
    "17b": "Most networks count neither ones, nor zeros, nor their balance (share of networks)",
    "17c": "Order does not matter at other lengths (share that the number of ones explains)",
    "18": "The network runs on 66 states, one for each step and count (accuracy kept on them)",
    "19": "The answer rests while zeros come (change for each)",
    "19b": "The answer rests when a one comes (change for each)",
    "20": "One number predicts the answers at another length (R²)",
    "20b": "One number gives each answer at another length (share of answers)",
    "20c": "One number gives the mean answer at another length (error)",
    "25a": "The same cells carry the count in every string (relay index)",
    "25b": "No cell carries half of a count in the median string (largest share)",
    "25c": "Training makes cells take over from each other (relay index)",
    "26": "The answer follows the direction that reads best (interchange score)",
    "23a": "The input code sets the drift (with 0 and 1 less with -1 and +1)",
    "23b": "A tenth of shorter strings suffices for a small drift (drift)",
    "T1": "The running count leaves single cells before the network counts (share of networks)",
}


def named_claims(claims: Sequence[Claim]) -> Table:
    """Return claims as a sortable table of four columns: the name, trained, the best control, the verdict.

    Args:
        claims: all.

    Raises:
        ProbeError: a claim has no name.
    """
    rows = []
    for claim in claims:
        difference, *_ = claim.differences or (None,)
        control = None if difference is None else difference.control
        rows.append([_name(claim), claim.value, control, claim.verdict])
    return Table(
        ["claim", "trained", "best control", "verdict"],
        rows,
        "Medians over networks; in brackets, what the numbers are. The best control: of three heads on "
        "untrained weights the one that does best, network by network, or the network before training.",
        verdict="verdict",
        name="claims",
        digits=2,
        max_rows=len(rows),
        sortable=True,
    )


def _name(claim: Claim) -> str:
    key = story.key(claim)
    if key not in NAMES:
        raise ProbeError(f"Claim {key!r} ({claim.rule.statement}) has no name; add one to NAMES in {__name__}.")
    return NAMES[key]
