"""The sentences and tables of the counter's pages, computed from the findings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from probe import Finding, ProbeError
from probe.evidence import Claim
from probe.report import CodeSpan, Link, Sentence, Strong, Table, Verdict
from probe.studies.pages.sections import ANSWER, controls_in_words, tally

SETUP, VERDICT = "setup", "verdict"
#: How many verdicts were decided together; and how many with those about recipes, which were judged before.
FAMILY, RECIPES_FAMILY = 49, 33
#: What the key of a rule begins with that was judged a second time, on other networks.
AGAIN = "II."
#: From so many networks of a recipe on, the provenance has one line for all of them.
MANY = 4
#: What stands above the explorer.
EXPLORE = (
    "These are the networks themselves: this page runs them, and nothing was recorded. Press a bit to turn it. Below "
    "the bits stands what each network would answer if we asked it now, against the true count, and then the memory "
    "of its twelve cells. The counters were trained on ten bits; take some away. (The networks can only answer 0 to "
    "10.) Then put in the memory of another string, and see what the answer follows."
)
_NAME = re.compile(r"([^/]+)/seed-(\d+)")
CHANGED = "rule changed after measuring"
#: How many digits of a digest are shown; `findings.json` has all.
SHOWN_DIGITS = 12


def claims_of(findings: Sequence[Finding]) -> dict[str, Claim]:
    """Return all claims by key.

    Raises:
        ProbeError: two findings judge rules of the same key.
    """
    claims: dict[str, Claim] = {}
    for finding in findings:
        for claim in finding.claims:
            if claim.rule.key in claims:
                raise ProbeError(f"Two findings judge a rule {claim.rule.key!r}; give each rule its own key.")
            claims[claim.rule.key] = claim
    return claims


def population(findings: Sequence[Finding]) -> str:
    """Return which trained networks the numbers of findings are of: recipes with their seeds; empty of no recipe's.

    Where a finding judges rules, it is those that the rules are judged on.

    Args:
        findings: of one population, or of several, which are all named.
    """
    seeds: dict[str, set[int]] = {}
    for finding in findings:
        rows, judged = finding.measurements, {claim.rule.metric for claim in finding.claims}
        own = rows[(rows["role"] == "trained") & (rows["metric"].isin(judged) if judged else True)]
        for match in filter(None, map(_NAME.match, own["network"].unique())):
            seeds.setdefault(match[1], set()).add(int(match[2]))
    return "; ".join(f"{recipe}, {_ranges(sorted(own))}" for recipe, own in seeds.items())


def whose(finding: Finding) -> str:
    """Return a sentence that says whose numbers a finding has; empty where it has those of no recipe's networks."""
    networks = population([finding])
    judged = " that the rules are judged on" if finding.claims else ""
    return f"Trained networks{judged}: {networks}." if networks else ""


def _ranges(seeds: Sequence[int]) -> str:
    """Return rising seeds in words; of some that are not all in a row how many there are."""
    first, last = seeds[0], seeds[-1]
    if first == last:
        return f"seed {first}"
    several = "" if last - first == len(seeds) - 1 else f"{len(seeds)} of the "
    return f"{several}seeds {first} to {last}"


def about(findings: Mapping[str, Finding]) -> list[str]:
    """Return what a reader needs before the sections: the set-up, the words, and what a verdict takes."""
    claims = claims_of(list(findings.values())).values()
    needed = max(claim.rule.needs for claim in claims)
    networks = max(claim.n for claim in claims if not claim.rule.check)
    words = (
        "We write c for the cell state and h for the hidden state. A prefix is the bits read so far. Figures and "
        "sentences count bits from 1. The tables of measurements have a column step, which counts from 0: the state "
        "after seven bits stands at step 6. To patch is to replace a part of the state during a run. An interchange "
        "patches the state of another string and asks whether the answer follows. A clean run is one without a patch."
    )
    verdicts = (
        "A claim has a rule, which says what value would establish it. A verdict is about the way to train, and not "
        f"about one network. It takes {needed} networks, and here are {networks}, trained after we committed the "
        "rules. Established: the rule holds, and by more than in the controls that it names. Refuted: the rule does "
        "not hold. Not specific: it is true of the trained networks, and as true of networks whose recurrence was "
        "not trained. Undecided: the interval over networks lies on both sides of the rule's bound. A check of a "
        "method passes or fails, and is no claim. "
        '"Holds in" counts the networks that satisfy a rule, each taken alone. '
        "Planted networks were written by hand."
    )
    return [findings["accuracy"].notes[SETUP], words, verdicts]


def key(claim: Claim) -> str:
    """Return the key of a claim without the mark of the second judgement, in which it was judged last."""
    return claim.rule.key.removeprefix(AGAIN)


def lead_of(findings: Sequence[Finding], claims: Sequence[Claim] | None = None) -> Sentence:
    """Return the first sentences of a page beside the first one: what was asked, and what came of it.

    Args:
        findings: those of the page.
        claims: all that the page's table holds, those of other pages' questions too; None for those of the findings.
    """
    own = [claim for finding in findings for claim in finding.claims]
    every = own if claims is None else claims
    elsewhere = len(every) - len(own)
    return [
        Strong(f"{len(findings)} questions."),
        " ",
        *_outcome(findings, every),
        f"{elsewhere} of these claims belong to other pages; the last table has all. " if elsewhere else "",
        "Read each number beside its controls. ",
        Link("Back to the answer in short", "index.html"),
        ".",
    ]


def _outcome(findings: Sequence[Finding], claims: Sequence[Claim]) -> list[str | Verdict]:
    """Return how claims came out, or, where there are none, the answer to what was asked last."""
    counted = tally(claims)
    return [*counted, " "] if counted else [f"{findings[-1].notes[ANSWER]} "]


def _planted(claim: Claim) -> str:
    """Return the planted counter's value, and in brackets that of the one without idle units where it differs."""
    values = [claim.planted[name] for name in ("planted/ones", "planted/ones-alone") if name in claim.planted]
    shown = [f"{0.0 if abs(value) < 1e-4 else value:.3g}" for value in values]
    if not shown:
        return ""
    return shown[0] if len(set(shown)) == 1 else f"{shown[0]} ({shown[1]})"


def _differences(claim: Claim) -> str:
    return "; ".join(f"{gap.role} {gap.value:+.3g} (must exceed {gap.margin:g})" for gap in claim.differences)


def claims_brief(claims: Sequence[Claim]) -> Table:
    """Return claims as a table narrow enough for a section: statement, trained against its controls, verdict."""
    rows = [
        [
            f"{claim.rule.key}. {claim.rule.statement} ({claim.rule.established_if})",
            claim.verdict,
            claim.value,
            f"{claim.holds_in} of {claim.n}",
            claim.interval,
            controls_in_words(claim),
            _planted(claim),
        ]
        for claim in claims
    ]
    columns = ["claim (rule)", "verdict", "trained", "holds in", "95 % interval", "controls", "planted"]
    return Table(
        columns,
        rows,
        "Each row is a claim, with its rule in brackets. Values are medians over networks, beside an interval at the "
        "usual 95 %. We decide verdicts at a higher level, which stands below the table of all claims. In the last "
        "column the planted counter without idle units stands in brackets.",
        verdict="verdict",
        digits=3,
    )


def claims_table(
    claims: Sequence[Claim],
    first_used: Mapping[str, str],
    caption: str,
    *,
    name: str | None = None,
) -> Table:
    """Return claims as a table: value, interval, null and controls, and the verdict with its reason.

    Args:
        claims: what was judged.
        first_used: the digest of each rule before the networks were measured, by key.
        caption: of the table.
        name: of the table's file.
    """
    rows = []
    for claim in claims:
        rule = claim.rule
        rows.append(
            [
                rule.key,
                rule.statement,
                claim.verdict,
                claim.value,
                f"{rule.established_if}",
                f"{claim.holds_in} of {claim.n}",
                claim.interval,
                claim.null,
                controls_in_words(claim),
                _planted(claim),
                _differences(claim),
                "; ".join(_reasons(claim, first_used)),
            ]
        )
    columns = ["claim", "statement", "verdict", "median", "rule", "holds in", "95 % interval", "null"]
    columns += ["controls", "planted counter", "paired difference", "why"]
    return Table(columns, rows, caption, verdict="verdict", name=name, digits=3)


def _reasons(claim: Claim, first_used: Mapping[str, str]) -> list[str]:
    """Return why a claim has its verdict, and whether its rule was changed after measuring."""
    return [claim.reason] + [CHANGED] * (first_used.get(claim.rule.key) != claim.rule.digest)


def definitions_table(claims: Sequence[Claim], first_used: Mapping[str, str]) -> Table:
    """Return how each claim is computed, and the digest of its rule: now, and before the networks were measured."""
    rows = [
        [
            claim.rule.key,
            claim.rule.metric,
            claim.rule.definition,
            claim.rule.source,
            CodeSpan(claim.rule.digest[:SHOWN_DIGITS]),
            CodeSpan(first_used.get(claim.rule.key, "none")[:SHOWN_DIGITS]),
        ]
        for claim in claims
    ]
    columns = ["claim", "metric", "definition", "source", "rule (SHA-256)", "rule first used"]
    return Table(columns, rows, "Definitions, sources, and the digests of the rules (their first digits).")


def networks_table(accuracy: Finding) -> Table:
    """Return every network with its errors, the floor, and the strings that it misreads, none left out."""
    rows = accuracy.measurements
    trained = rows[rows["role"] == "trained"]
    table = []
    for network, own in trained.groupby("network", sort=False):
        values = own.drop_duplicates("metric").set_index("metric")["value"]
        misread = own[own["metric"] == "misread"]
        words = ", ".join(
            f"{string} as {answer:.0f}" for string, answer in zip(misread["kind"], misread["value"], strict=True)
        )
        table.append(
            [
                str(network).rsplit("/")[-1],
                100 * values["test_error"],
                100 * values["test_floor"],
                100 * values["all_error"],
                words or "none",
            ]
        )
    columns = ["network", "test error, %", "floor, %", "error on all 1,024, %", "misread strings of all 1,024"]
    caption = (
        "Every network as it came; we replaced none. A network cannot learn a count that no training string has. The "
        "floor is the share of test strings with such a count."
    )
    return Table(columns, table, caption, name="networks", digits=3, max_rows=max(len(table), 1))


def _weights(weights: Mapping[str, str]) -> dict[str, str]:
    """Return a line for each network, or for all of one recipe together where they are many.

    A line is the SHA-256 of a file of weights, or over the names and SHA-256 of several.
    """
    recipes: dict[str, list[str]] = {}
    for name in weights:
        recipes.setdefault(name.partition("/")[0], []).append(name)
    lines = {}
    for recipe, names in recipes.items():
        if len(names) < MANY:
            lines |= {f"{name} (SHA-256)": weights[name] for name in names}
            continue
        every = hashlib.sha256("".join(f"{name} {weights[name]}\n" for name in sorted(names)).encode()).hexdigest()
        lines[f"{len(names)} of {recipe} (SHA-256)"] = every
    return lines


def versions(findings: Sequence[Finding]) -> dict[str, str]:
    """Return the page's provenance: the version of rnn-probe, the networks' weights, and the libraries.

    Raises:
        ProbeError: findings were made by different versions or of different networks, so that the page would mix
            them.
    """
    made = {str(finding.provenance.get("rnn-probe")): finding.question for finding in findings}
    if len(made) != 1:
        by = ", ".join(f"{question} by {version}" for version, question in made.items())
        raise ProbeError(f"The findings were made by different versions of rnn-probe ({by}); run all analyses again.")
    weights: dict[str, str] = {}
    for finding in findings:
        for name, digest in finding.provenance["weights"].items():
            if weights.setdefault(name, str(digest)) != str(digest):
                raise ProbeError(
                    f"The finding {finding.question!r} was made of another network {name!r} than the findings "
                    "before it; run all analyses again."
                )
    provenance = findings[0].provenance
    lines = {"rnn-probe": next(iter(made))} | _weights(weights)
    return lines | {str(name): str(number) for name, number in provenance["versions"].items()}
