"""What the counter's pages tell: each question's finding as a heading that its verdicts and numbers must bear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from analyses.counter.one_cell import BOUNDS, BY_LENGTH, BY_PREFIX
from probe import Finding
from probe.evidence.measurements import FITTED_HEADS, only
from probe.evidence.words import listed
from probe.report import Section
from probe.studies.pages.sections import Contents, Told
from reports.claims import claims_of

TRAINED, UNTRAINED = "trained", "own initialisation"
#: What is nearly all of the answers, and what is about half of the networks.
MOST, HALF = 0.9, (0.4, 0.6)
#: A change of which more is left has not faded.
KEPT = 0.8
#: How much further a gate must be open to be called more open.
MORE = 0.05
#: The page that says how we know.
HOW = "how.html"
UNTRAINED_TOO = "This takes no training: a random network with a fitted head does the same."


def _some_before_none_after(finding: Finding) -> bool:
    """Return whether it is so by either weight of a prefix."""
    rows = finding.measurements
    for weighed in (BY_LENGTH, BY_PREFIX):
        best = only(rows, metric=f"best_read{weighed}")
        read = {role: best[best["role"] == role]["value"] >= BOUNDS["read"] for role in (TRAINED, UNTRAINED)}
        if read[TRAINED].any() or not read[UNTRAINED].any():
            return False
    return True


def _one_unit_alone(finding: Finding) -> bool:
    most = only(finding.measurements, metric="most_tests")
    whole = most[most["value"] == len(BOUNDS)]["network"].str.partition("/")[0]
    return set(whole) == {"hidden-1"}


def _no_program_everywhere(finding: Finding) -> bool:
    agreement = only(finding.measurements, metric="agreement", role=TRAINED)
    return bool((agreement.groupby(["kind", "at"])["value"].median().groupby("kind").min() < MOST).all())


def _keeps_more_after_a_one(finding: Finding) -> bool:
    own = only(finding.measurements, role=TRAINED, signal="forget_gate")
    last = own[own["step"] == own["step"].max()].groupby("metric")["value"].median()
    return last["mean_where_true"] - last["mean_where_false"] > MORE


def _each_bit_counts(finding: Finding) -> bool:
    effects = only(finding.measurements, metric="effect_at_step")
    medians = effects[effects["role"].isin([TRAINED, "fitted head"])].groupby(["role", "step"])["value"].median()
    return bool(((medians - 1).abs() < MORE).all())


def _recovers_by_half(finding: Finding) -> bool:
    kept = only(finding.measurements, metric="kept_at_end").groupby("role")["value"].median()
    return HALF[0] <= kept[TRAINED] <= HALF[1] and bool((kept.drop(TRAINED) > KEPT).all())


def _start_lowers(finding: Finding) -> bool:
    return float(only(finding.measurements, metric="start_rise")["value"].median()) < 0


def _more_is_not_learned(finding: Finding) -> bool:
    verdicts = list(finding.figures[0].data["verdict"])
    return verdicts.count("not specific") > verdicts.count("established")


#: The pages behind the first one, in the order of the story.
PAGES = {
    "units.html": Contents(
        "Does one cell count?",
        "The tests below say in which networks, and how far.",
        {
            "one_cell": Told(
                "Before training, some networks have a cell that gives the ones; after training, none has",
                {"III.1c": "refuted"},
                _some_before_none_after,
            ),
            "relay": Told("The cells take turns", {"25a": "refuted", "25c": "established"}),
            "over_training": Told(
                "Once a network can count, no cell gives the count at all steps", {"T6": "established"}
            ),
            "width": Told("Only in networks of one unit does a cell pass all five tests", {}, _one_unit_alone),
        },
        ("moving_zero", "single_units", "unit_ablation", "unit_shares"),
    ),
    "lengths.html": Contents(
        "What does it count?",
        "At ten bits the ones; the tests below say what else.",
        {
            "programs": Told("None of four programs matches it at all lengths", {}, _no_program_everywhere),
            "inputs": Told(
                "Flip any bit: on average the answer moves by one, as with a least-squares head",
                {},
                _each_bit_counts,
            ),
            "memory": Told(
                "What looks like recovery from a reset is the answer to a shorter string", {}, _recovers_by_half
            ),
        },
        ("reduced_models", "accuracy", "labels", "drift_law", "other_lengths", "offset_law", "training_signal"),
    ),
    "interventions.html": Contents(
        "What moves it?",
        "The tests below say what moves it, and how far.",
        {
            "directions": Told("It does not follow the direction of a least-squares probe", {"II.8": "refuted"}),
            "alignment": Told("Two directions do nearly all of it, trained or not", {"II.9": "not specific"}),
            "steering": Told(
                "Push the state by one count, and the answer moves by one, trained or not", {"II.13": "not specific"}
            ),
            "erasure": Told("Erase the count, and the answer is a guess, trained or not", {"II.12a": "not specific"}),
        },
        ("steps_swapped", "class_means", "estimators"),
    ),
    "mechanism.html": Contents(
        "How does a bit get in?",
        "The tests below say by which gate, and what it does.",
        {
            "gate_shares": Told("A 1 enters through the candidate, trained or not", {"II.15b": "not specific"}),
            "gate_activity": Told("After a 1 the forget gate keeps more than after a 0", {}, _keeps_more_after_a_one),
            "bit_effects": Told("What a bit does depends on the bits before it", {"II.16": "refuted"}),
        },
        ("routes", "quantised_states", "few_states", "dynamics"),
    ),
    "training.html": Contents(
        "What decides how much a missing bit adds?",
        "The tests below vary one thing at a time.",
        {
            "crossed": Told(
                "Frequent ones and large numbers both raise it; a head that starts high lowers it a little",
                {"30a": "established", "30b": "established", "30c": "refuted"},
                _start_lowers,
            ),
            "base_rate": Told(
                "The more 1s in training, the more a missing bit adds",
                {"29e": "established", "29g": "established"},
            ),
        },
    ),
    HOW: Contents(
        "How do we know?",
        "We wrote down nearly every rule before we trained the networks that it judges, and compared "
        "most claims with the best control that we could find.",
        {
            "verdicts": Told("Most of what holds after training holds before it", {}, _more_is_not_learned),
            "linear_readout": Told("A probe reads the count, trained or not", {"II.2": "not specific"}),
            "noise_margin": Told("The count withstands noise, trained or not", {"II.5b": "not specific"}),
        },
    ),
}


def _cells(found: Mapping[str, Finding]) -> str | None:
    tests = only(found["one_cell"].measurements, role=TRAINED)
    passed = tests[tests["metric"].str.startswith("all_tests")].groupby("network")["value"].max()
    said = (
        f"No cell of {len(passed)} trained networks passes the five tests of a running count. A few cells carry the "
        "count in one string, and others in another."
    )
    return None if passed.any() else said


def _drift(found: Mapping[str, Finding]) -> str | None:
    excess = only(found["other_lengths"].measurements, metric="mean_excess", role=TRAINED)
    by_length = excess[excess["at"].between(6, 9)].groupby("at")["value"].median()
    added = by_length / (10 - by_length.index)
    said = (
        f"The ones, at ten bits; at six to nine bits a missing bit adds {added.min():.1f} to {added.max():.1f} on "
        "average. Counting ones would add nothing; taking zeros off ten would add 1."
    )
    return said if added.min() > HALF[1] else None


def _both(found: Mapping[str, Finding]) -> str:
    rows = found["crossed"].measurements
    labels, numbers = (only(rows, metric=f"{one}_rise")["value"].median() for one in ("labels", "numbers"))
    return (
        "How frequent ones are, and how large the numbers are that the bits are read as. From rare to frequent ones "
        f"a missing bit adds {labels:.2f} more, from small to large numbers {numbers:.2f} (medians)."
    )


#: By page the answer to its title, which verdicts it rests on, and how it is said; None where numbers do not bear it.
Said = Callable[[Mapping[str, Finding]], str | None]
ANSWERS: dict[str, tuple[dict[str, str], Said]] = {
    "units.html": ({"27e": "refuted", "27f": "refuted", "27g": "refuted", "25a": "refuted"}, _cells),
    "lengths.html": ({"II.17a": "refuted"}, _drift),
    "training.html": (dict.fromkeys(("30a", "30b"), "established"), _both),
    "interventions.html": (
        {"II.8": "refuted", "II.9": "not specific", "II.1d": "refuted"},
        lambda _: (
            "The whole state, and two directions in it found by search. Random networks with a fitted head have two "
            "as well. No single cell, nor a least-squares probe's direction."
        ),
    ),
    "mechanism.html": (
        {"II.15b": "not specific", "II.7a": "not specific"},
        lambda _: f"The candidate writes it into the cells, and the cells carry the sum forward. {UNTRAINED_TOO}",
    ),
}


def _law(found: Mapping[str, Finding]) -> str:
    notes = found["crossed"].notes
    verdicts = {claim.rule.key: claim.verdict for claim in found["crossed"].claims}
    fate = {"established": "holds", "refuted": "fails"}.get(verdicts["30d"], "is undecided")
    alone = Counter(verdicts[key] for key in ("30e", "30f", "30g", "30h"))
    told = listed([f"{number} {'is' if number == 1 else 'are'} {verdict}" for verdict, number in alone.items()])
    return (
        f"{notes['answer']} A law of all three {fate} by its rule: {notes['law']} Of four accounts by one thing "
        f"alone {told}."
    )


def _flips(found: Mapping[str, Finding]) -> str:
    effects = only(found["inputs"].measurements, metric="effect_at_step")
    medians = effects.groupby(["role", "step"])["value"].median()
    trained, head = medians[TRAINED], medians["fitted head"]
    return (
        f"Bit by bit the answer moves by {trained.min():.2f} to {trained.max():.2f} in trained networks and by "
        f"{head.min():.2f} to {head.max():.2f} with a least-squares head on random weights (medians)."
    )


def _reset(found: Mapping[str, Finding]) -> str:
    kept = only(found["memory"].measurements, metric="kept_at_end").groupby("role")["value"].median()
    offsets = only(found["other_lengths"].measurements, metric="mean_excess", role=TRAINED)
    high = offsets.groupby("at")["value"].median()
    heads = kept[[*FITTED_HEADS]]
    if min(high[9], high[6]) < MORE:
        return ""
    return (
        "Such a run is the run on the bits that are left. Trained networks answer too high to these: by "
        f"{high[9]:.2f} to the last nine, by {high[6]:.2f} to the last six (medians). So of the change at once "
        f"{kept[TRAINED]:.2f} is left at the end, with heads on random weights {heads.min():.2f} to "
        f"{heads.max():.2f}."
    )


def _withstands(found: Mapping[str, Finding]) -> str:
    rows = only(found["noise_margin"].measurements, metric="noisy_accuracy").groupby("role")["value"].median()
    best = rows[[*FITTED_HEADS]].max()
    return (
        f"Then {rows[TRAINED]:.1%} of the answers are right, with the best kind of head on random weights {best:.1%}."
    )


#: By question what its section says with numbers.
SAID: dict[str, Callable[[Mapping[str, Finding]], str]] = {
    "one_cell": lambda found: found["pictures"].notes["every_step"],
    "crossed": _law,
    "inputs": _flips,
    "memory": _reset,
    "noise_margin": _withstands,
}


def pages(found: Mapping[str, Finding], behind: Sequence[Section]) -> dict[str, Contents]:
    """Return what each page behind the first one tells, by file name.

    Args:
        found: all findings, by question.
        behind: what stands behind the questions of the last page.
    """
    verdicts = {key: claim.verdict for key, claim in claims_of(found.values()).items()}
    told = {}
    for name, page in PAGES.items():
        rests_on, said = ANSWERS.get(name, ({}, lambda _: None))
        holds = all(verdicts[key] == verdict for key, verdict in rests_on.items())
        parts = {one: replace(each, said=SAID[one](found) if one in SAID else "") for one, each in page.told.items()}
        told[name] = replace(page, lead=(said(found) if holds else None) or page.lead, told=parts)
    return told | {HOW: replace(told[HOW], after=behind)}
