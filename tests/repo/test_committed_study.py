"""The committed study as a whole: networks, rules, findings and pages belong together."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import claims_told
import numpy as np
import pandas as pd
import pytest

from analyses.counter import FRESH_QUESTIONS, QUESTIONS, base_rate, common, crossed, rules, story, study, verdicts
from models import planted, populations, zoo
from models.counter import answer
from models.populations import FRESH, POPULATIONS, SECOND_JUDGED, Population
from models.tasks import bit_strings
from probe.evidence import Control, Range, Rule, judge
from probe.evidence.claims import STRONGEST
from probe.evidence.measurements import FITTED_HEADS, LATER
from probe.studies.measure import groups_of
from probe.studies.store import read
from reports import claims
from reports.first_page import RIVALS

OWN = "own initialisation"
#: How the strongest head was made when the rules were first used.
THREE = "least squares 1, ridge 1, noise 1"
PAGES = zoo.ZOO.parents[1] / "reports" / "counter"
RULES: dict[str, tuple[str, Rule]] = {
    rule.key: (one.name, rule)
    for one in (*study.questions(QUESTIONS), *study.ACROSS)
    for rule in one.rules
    if one not in (base_rate.ACROSS, crossed.ACROSS)
}
#: Those that networks are judged by which were made later, before and after these are made.
OF_FRESH: dict[str, tuple[str, Rule]] = {
    rule.key: (one.name, rule)
    for one in (*study.questions(FRESH_QUESTIONS), base_rate.ACROSS, crossed.ACROSS)
    for rule in one.rules
}
MADE = RULES | OF_FRESH
#: Those that named no weight of a prefix, and those that came in their place after the networks had been measured.
UNWEIGHED = {"II.1c", "27a", "27b", "27c", "27d", "T1"}
WEIGHED = {"III.1c", "27e", "27f", "27g", "27h", "T6"}


@cache
def kept(name: str) -> Any:
    """Return what stands in a file of JSON beside the study's modules."""
    return json.loads((study.FOLDER.parent / f"{name}.json").read_text(encoding="utf-8"))


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Return the committed claims by key."""
    found = json.loads((PAGES / "findings.json").read_text(encoding="utf-8"))["claims"]
    return {entry["key"]: entry for entry in found}


def test_every_population_is_whole() -> None:
    """No seed is left out, so that none was chosen; all are measured, but those whose rules are frozen.

    Those that rules are judged on are of no other population: nobody looked at them while rules were written.
    """
    fresh = [SECOND_JUDGED, FRESH, *populations.BASE_RATE, *populations.WIDER, *populations.CROSSED]
    fresh += populations.TRAJECTORY
    used = {seed for each in POPULATIONS if each not in fresh for seed in each.seeds}
    assert not used & {seed for each in fresh for seed in each.seeds}
    assert [each for each in POPULATIONS if not study.is_whole(each)] == []
    asked = [each for each in POPULATIONS if each not in (populations.EXPLORING, populations.TEMPLATE)]
    members = {member for part in study.STUDIES for member in read(study.FOLDER / f"{part}.csv.xz")}
    assert members >= {f"{each.recipe}/seed-{seed}" for each in asked for seed in each.seeds}


def test_a_population_that_is_not_whole_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of its networks would be a choice: seed 0 of a recipe is not its population."""
    few = Population("few", "hidden-1", range(777, 779))
    small = next(each for each in populations.FIRST if each.recipe == "hidden-1")
    monkeypatch.setattr(study, "FIRST", (few, small))
    names = [one.network.name for one in study.recipes().networks]
    assert names == [f"hidden-1/seed-{seed}" for seed in small.seeds]


def test_every_rule_stands_in_the_file_of_rules_under_the_name_of_its_question() -> None:
    """So that who looks for a rule has one file to read; none stands there that no question is judged by."""
    tuples = {name: value for name, value in vars(rules).items() if isinstance(value, tuple) and name != "FRESH"}
    stand = {one.key: (name.lower(), one) for name, value in tuples.items() for one in value if isinstance(one, Rule)}
    assert stand == MADE


def test_the_committed_findings_are_those_of_the_rules_that_are_here() -> None:
    """Every rule has a verdict on as many networks as it needs, beside each control that it names.

    None was changed after measuring but by a control more, or a second weight: the files of digests were committed
    before the networks were trained that the rules are judged on, and without the two controls that came later the
    digests are these.
    """
    assert (set(entries()), set(OF_FRESH) & set(RULES)) == (set(MADE), set())
    for key, (question, rule) in MADE.items():
        entry, names = entries()[key], [control.role for control in rule.controls]
        assert entry["question"] == question
        assert entry["rule"]["digest"] == rule.digest
        assert entry["judged_by"] == claims.judged_by(rule, study.FITS)
        assert rule.check or entry["n"] >= rule.needs
        assert [each["role"] for each in entry["differences"]] == names
        assert entry["verdict_first"] == kept("verdicts_first").get(key)
        if key in WEIGHED:
            assert (entry["rule_first_used"], entry["changed_after_measuring"]) == (None, True)
            assert rule.also == f"{rule.metric}_by_prefix"
            continue
        first, fits, later = rule, study.FITS, []
        if key in RULES:
            first = replace(rule, controls=tuple(one for one in rule.controls if one.role != "scaled head"))
            fits = {**study.FITS, STRONGEST: THREE}
            later = ["scaled head"] * (OWN in names) + [*LATER] * (STRONGEST in names)
        assert entry["rule_first_used"] == kept("rules_first_used")[key] == first.digest
        assert kept("judged_by_first_used")[key] == claims.judged_by(first, fits)
        assert entry["controls_added_after_measuring"] == later
        assert entry["changed_after_measuring"] == bool(later)


#: What a sentence must have that names a refuted key, and one that names an undecided one.
DENIES = re.compile(r"\b(no|not|none|neither|nor|refuted|cannot|lowers)\b", re.IGNORECASE)
DOUBTS = re.compile(r"\b(undecided|whether|surely)\b", re.IGNORECASE)


def against_verdicts(text: str) -> list[str]:
    """Return the sentences with a key in brackets that do not deny what is refuted, or doubt what is undecided."""
    found = []
    for sentence in re.split(r"(?<=[.:])\s+(?=[A-Z*])", re.sub(r"\s+", " ", text)):
        for key in re.findall(r"(?:II\.|III\.)?\b(?:T\d|\d+[a-z]?)\b", " ".join(re.findall(r"\(.*?\)", sentence))):
            verdict = entries().get(key, entries().get(f"II.{key}", {"verdict": ""}))["verdict"]
            asked = {"refuted": DENIES, "undecided": DOUBTS}.get(verdict)
            found += [f"{key}: {sentence}"] * (asked is not None and not asked.search(sentence))
    return found


def test_no_sentence_says_what_a_refuted_claim_denies() -> None:
    """In docs/science.md, by the keys that stand in it; what is undecided is said to be, or asked with "whether"."""
    text = (PAGES.parents[1] / "docs" / "science.md").read_text(encoding="utf-8")
    found, decides = text.partition("most important first.")[2], text.partition("## The base rate")[2]
    assert against_verdicts(found.partition("\n## ")[0]) + against_verdicts(decides) == []
    assert against_verdicts("A straight line joins these ends, early in training (29b).") != []
    assert against_verdicts("A law linear in all three holds (30d).") != []


def test_the_page_of_what_decides_tells_the_fate_of_what_was_predicted() -> None:
    """How many of its own predictions came true, and the verdicts on each account: undecided is not "none holds"."""
    page = " ".join((PAGES / "training.html").read_text(encoding="utf-8").split())
    true = sum(entries()[key]["verdict"] == verdict for key, verdict in crossed.PREDICTED.items())
    assert f"Of the {len(crossed.PREDICTED)} verdicts that we predicted, {true} came true." in page
    alone = Counter(entries()[key]["verdict"] for key in ("30e", "30f", "30g", "30h"))
    told = [f"{number} {'is' if number == 1 else 'are'} {verdict}" for verdict, number in alone.items()]
    assert f"Of four accounts by one thing alone {' and '.join(told)}." in page


def test_pages_say_that_nearly_all_rules_came_first() -> None:
    """All but those with a second weight; the table of all claims names these."""
    late = {key for key, entry in entries().items() if entry["rule_first_used"] is None}
    assert late == WEIGHED
    assert len(late) < 0.1 * len(entries())
    assert "Nearly all rules were written before" in " ".join((PAGES / "index.html").read_text("utf-8").split())
    how = " ".join((PAGES / "how.html").read_text("utf-8").split())
    named = re.findall(r"Rule changed after measuring: (.*?)\. ", how)
    assert [{*each.split(", ")} for each in named] == [WEIGHED]


def test_a_rule_says_what_came_after_it_was_first_used() -> None:
    """A control more and a head more are named; with another margin, or no first digest, it is no such rule."""
    rule = replace(RULES["II.3"][1], controls=(Control(OWN, 0.1),))
    first = rule.digest, claims.judged_by(rule, study.FITS)
    assert claims.added(rule, first, study.FITS) == []
    assert claims.added(RULES["II.3"][1], first, study.FITS) == ["scaled head"]
    assert claims.added(replace(rule, controls=(Control(OWN, 0.2),)), first, study.FITS) is None
    assert claims.added(rule, (None, None), study.FITS) is None
    heads = RULES["II.5b"][1]
    first = heads.digest, claims.judged_by(heads, {STRONGEST: THREE})
    assert claims.added(heads, first, study.FITS) == [*LATER]
    assert claims.added(heads, first, {STRONGEST: "least squares 2, ridge 1, noise 1"}) is None


def test_what_training_made_is_told_with_each_control_that_it_was_held_against() -> None:
    """The first page lists the first established claim of a family: states have two controls, answers the best head.

    A claim that a refuted one takes most from is not told. The page of all claims names those that got a
    control after measuring, and those with another verdict since.
    """
    first, how = ((PAGES / name).read_text(encoding="utf-8") for name in ("index.html", "how.html"))
    held = {STRONGEST, *rules.UNTRAINED}
    every = [
        one
        for one in entries().values()
        if one["verdict"] == "established" and {each["role"] for each in one["differences"]} & held
    ]
    joined = claims_told.families(how)
    firsts = [next((one["key"] for one in every if one["key"] in own), None) for own in joined]
    made = [one for one in every if one["key"] in firsts or not any(one["key"] in own for own in joined)]
    made = [one for one in made if entries().get(RIVALS.get(one["key"], ""), {}).get("verdict") != "refuted"]
    assert 0 < len(made) < len(every)
    for entry, text in zip(made, claims_told.listed(first, "training"), strict=True):
        assert text.startswith(f"{entry['sentence'].partition(' (')[0] or entry['statement'].rstrip('.')}")
        held = {each["role"] for each in entry["differences"]}
        assert held in ({STRONGEST}, {*rules.UNTRAINED})
    for entry in entries().values():
        moved = entry["verdict_first"] not in (None, entry["verdict"])
        assert (f"{entry['key']} (“{entry['verdict_first']}”)" in how) == moved


def test_fresh_networks_stand_beside_their_controls_and_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own initialisation and every head; planted networks, and some that keep a count at every step."""
    monkeypatch.setattr(study, "FRESH", Population("few", "counter", range(2)))
    made = study.fresh(fit=False)
    roles = Counter(one.network.role for one in made.networks)
    heads = dict.fromkeys(("trained", "own initialisation", *FITTED_HEADS), 2)
    assert roles == heads | {"planted": len(planted.battery()), "other": len(study.FEW)}
    later = len(rules.BASE_RATE) + len(rules.CROSSED)
    assert made.family == rules.FRESH_FAMILY == rules.FAMILY + len(OF_FRESH) - later
    assert [*base_rate.PREDICTED, *crossed.PREDICTED] == [rule.key for rule in (*rules.BASE_RATE, *rules.CROSSED)]
    assert [one.name for one in made.questions or ()] == list(FRESH_QUESTIONS)


@pytest.mark.parametrize("part", study.STUDIES)
def test_every_network_of_a_study_is_measured_and_no_other(part: str) -> None:
    """No measurement is left of a network that the study does not have, and none is of other weights."""
    make = study.STUDIES[part]
    made = make(fit=False) if "fit" in inspect.signature(make).parameters else make()
    groups = groups_of(made.networks, controls=())
    stored = read(study.FOLDER / f"{part}.csv.xz")
    assert set(stored) == set(groups)
    assert set(study.PANEL[part]) <= set(groups)
    for member, each in stored.items():
        asked = [one.name for one in made.questions or () if one.why_not(groups[member][0]) is None]
        assert sorted(each.tables) == sorted(asked), member


def test_what_the_first_page_says_of_other_lengths_is_right() -> None:
    """Of nine in ten pairs of a string and a network at each length, and of the network on the page."""
    drifts = pd.concat([one.tables["other_lengths"] for one in read(study.FOLDER / "judged.csv.xz").values()])
    own = common.median_drift(drifts)
    for length in range(6, 13):
        x = bit_strings(length)
        ones, shares = x.sum((1, 2)).numpy(), []
        zeros = length - ones
        asked = np.maximum(ones, zeros) <= 10
        for seed in (*SECOND_JUDGED.seeds, *FRESH.seeds):
            answers = answer(zoo.networks("counter", [seed])[0].model(x)).numpy()
            shares.append(float((np.abs(answers - 10 + zeros) <= 1)[asked].mean()))
            assert shares[-1] > 0.9 or f"counter/seed-{seed}" != own
        assert np.mean(shares) >= 0.9
    page = " ".join((PAGES / "index.html").read_text(encoding="utf-8").split())
    assert "nine in ten answers are within one of ten minus the number of zeros." in page


def test_what_is_no_longer_asked_is_kept_and_counts() -> None:
    """Every rule that was ever judged is in force or frozen, with its first digest, and all were decided together."""
    ended, first_used = {each["key"]: each["rule"] for each in kept("frozen")}, kept("rules_first_used")
    assert not set(ended) & {*RULES, *OF_FRESH}
    assert set(first_used) == {*RULES, *OF_FRESH, *(key for key in ended if not key.startswith("E"))} - WEIGHED
    assert {key: ended[key] for key in first_used if key in ended}.items() <= first_used.items()
    last, recipes = {"16b", "16c", "24a", "24b", "T2", "T3", "T4", "T5", *UNWEIGHED}, {"23a", "23b"}
    assert len({*RULES, *last} - recipes) == rules.FAMILY
    again = {key.removeprefix("II.") for key in {*RULES, *UNWEIGHED} if key.startswith("II.")}
    assert len({*again, *recipes, "10"}) == rules.RECIPES_FAMILY


def test_pages_give_each_claim_the_number_and_the_verdict_that_were_found() -> None:
    """A point a claim on the page of its question, and as many of each verdict as a sentence of the page counts.

    The pills of the first page count all; a row of the table has the key, the value and the verdict.
    """
    every = Counter(entry["verdict"] for entry in entries().values())
    for name, contents in story.PAGES.items():
        page = (PAGES / name).read_text(encoding="utf-8")
        found = [entry for entry in entries().values() if entry["question"] in contents.questions]
        wanted = {
            f"{one['verdict']} {one['sentence'] or one['statement'].rstrip('.')}: {one['value']:.3g}" for one in found
        }
        told = [text.partition(" ")[2] for text in claims_told.points(page)]
        assert len(told) == len(wanted)
        assert all(any(text.startswith(f"{one} (") for text in told) for one in wanted)
        counted = every if name == story.HOW else Counter(entry["verdict"] for entry in found)
        assert +claims_told.tally(page) == (counted if contents.more or name == story.HOW else Counter())
    first, how = ((PAGES / name).read_text(encoding="utf-8") for name in ("index.html", "how.html"))
    joined = claims_told.families(how)
    alone = [{key} for key in set(entries()) - set().union(*joined)]
    assert {"25a", "25c"} in joined
    assert +claims_told.pills(first) == every
    assert f"{len(joined) + len(alone)} families" in claims_told.words(first)
    rows = {row["claim"]: row for row in claims_told.rows(how)}
    assert set(rows) == set(entries())
    for key, entry in entries().items():
        assert float(rows[key]["trained"].replace("\N{MINUS SIGN}", "-")) == pytest.approx(
            float(f"{entry['value']:.3g}")
        )
        assert rows[key]["verdict"].endswith(entry["verdict"])


def test_bounds_are_moved_to_half_and_double_and_judged_at_the_level_of_their_claim() -> None:
    """With its own bound each claim gets its verdict again; a milder bound refutes no more than a stricter one."""
    found = study.findings(["accuracy", "one_cell", "drift_law"])
    every = [(finding, claim) for finding in found.values() for claim in finding.claims]
    assert {rules.family_of(claim.rule) for _, claim in every} == {rules.FAMILY, rules.FRESH_FAMILY}
    for finding, claim in every:
        family, bounds = rules.family_of(claim.rule), verdicts.moved_bounds(claim.rule)
        assert bounds is not None
        own = claim.rule.established_if
        asked = [verdicts.with_bound(claim.rule, one) for one in (*bounds, own.low if own.low > 0 else own.high)]
        milder, stricter, same = judge(finding.measurements, asked, family=family)
        assert (same.verdict, same.reason) == (claim.verdict, claim.reason)
        assert (milder.verdict == "refuted") <= (stricter.verdict == "refuted")


MOVED = {
    "a small bound": (Range.at_least(0.2), (0.1, 0.4)),
    "near one": (Range.at_least(0.9), (0.8, 0.95)),
    "a half": (Range.at_least(0.5), (0.25, 0.75)),
    "at most": (Range.at_most(0.1), (0.2, 0.05)),
    "at most, near one": (Range.below(0.9), (0.95, 0.8)),
    "beyond one": (Range.above(1.5), (1.25, 2.0)),
    "nothing": (Range.at_least(0), None),
}


@pytest.mark.parametrize(("bound", "moved"), MOVED.values(), ids=MOVED)
def test_the_milder_bound_stands_first(bound: Range, moved: tuple[float, float] | None) -> None:
    """From .5 to 1 the distance to 1 is doubled and halved, and never further than half the bound."""
    found = verdicts.moved_bounds(replace(RULES["II.0"][1], established_if=bound))
    assert found == (moved if moved is None else pytest.approx(moved))
