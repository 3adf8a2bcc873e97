"""What the rules of the flip-flop's study say: the page's section, and the lines that a terminal shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analyses.flipflop import measuring, pictures
from analyses.flipflop.pictures import CALLED
from analyses.flipflop.rules import NETWORKS, RULES
from analyses.flipflop.subjects import CELLS
from probe.errors import several
from probe.evidence import Claim
from probe.evidence.words import listed
from probe.report import Block, Details, Points, Section, Sentence, Strong, Table, Text, Verdict
from probe.studies.pages.sections import VERDICTS

Tables = Mapping[str, pd.DataFrame]


def lines(tables: Tables) -> str:
    """Return the verdicts of all rules in lines, as a terminal shows them."""
    found = []
    for cell, table in tables.items():
        for claim in measuring.claims(table):
            share = f"{claim.value:.4g}, holds in {several(claim.holds_in, 'network')} of {claim.n}"
            found.append(f"{cell} {claim.rule.key}: {claim.verdict} ({share}); {claim.reason}")
            found += [f"    {gap.role}: {gap.control:.4g}, difference {gap.value:.4g}" for gap in claim.differences]
    return "\n".join(found) + "\n"


def section(tables: Tables, claims: Mapping[str, Sequence[Claim]]) -> Section:
    """Return the section with all verdicts, why one is not established, and the rules.

    Args:
        tables: the measurements by cell.
        claims: the judged rules by cell, in the rules' order.
    """
    every = [claim for cell in CELLS for claim in claims[cell]]
    counts = {verdict: sum(claim.verdict == verdict for claim in every) for verdict in VERDICTS}
    heading = listed([f"{count} {verdict}" for verdict, count in counts.items() if count])
    points: list[Sentence] = []
    for number, rule in enumerate(RULES):
        pieces: list[str | Strong | Verdict] = [Strong(f"{rule.key}."), f" {rule.statement}"]
        for cell in CELLS:
            pieces += [f" {CALLED[cell]}: ", Verdict(claims[cell][number].verdict)]
        points.append(pieces)
    columns = [
        "claim",
        "cell",
        "verdict",
        "trained",
        "rule",
        "interval",
        "control",
        "difference",
    ]
    rows = [
        [
            claim.rule.key,
            CALLED[cell],
            claim.verdict,
            claim.value,
            str(claim.rule.established_if).replace(" ", "\N{NO-BREAK SPACE}"),
            claim.interval,
            *next(((gap.control, gap.value) for gap in claim.differences), (None, None)),
        ]
        for cell in CELLS
        for claim in claims[cell]
    ]
    caption = (
        "Values are medians over networks, and for F2 the share of networks, with their 95 % interval. The control "
        "is the fitted head. A difference is the median over pairs of one seed: trained minus control, and for F1, "
        "where less is better, control minus trained. We decide verdicts at a higher level than that of the interval."
    )
    blocks: list[Block] = [
        Text(
            f"We wrote the {len(RULES)} rules before we measured these networks, and judge them for each cell by "
            "itself."
        ),
        Points(points),
        *_exceptions(tables, claims),
        Table(columns, rows, caption, verdict="verdict", name="claims", digits=3),
        Details("How each is computed", [_definitions()]),
    ]
    return Section(f"Of {len(every)} claims: {heading}", blocks, key="verdicts")


def _exceptions(tables: Tables, claims: Mapping[str, Sequence[Claim]]) -> list[Block]:
    """Return for each claim that is not established why it is not."""
    found: list[Block] = []
    for cell in CELLS:
        for claim in claims[cell]:
            if claim.verdict != "established":
                head, reason = f"{claim.rule.key} is {claim.verdict} for the {CALLED[cell]}.", claim.reason
                why, table = _why_score(tables[cell]) if claim.rule.metric == "worst_score" else ("", None)
                found.append(Text([[Strong(head), f" {reason[:1].upper()}{reason[1:]}. {why}".rstrip()]]))
                found += [] if table is None else [table]
    return found


def _why_score(table: pd.DataFrame) -> tuple[str, Table]:
    """Return what stands behind the largest score that a fitted head reaches, in words and as a table."""
    scores = measuring.values(table, "worst_score", "fitted head")
    gaps = measuring.values(table, "worst_score") - scores
    pair = scores.idxmax()
    of_pair = table[(table["pair"] == pair) & (table["question"] == "single_answers")]
    parts = {role: rows.set_index(["metric", "kind"])["value"] for role, rows in of_pair.groupby("role")}
    bit = parts["fitted head"]["followed_score"].idxmin()
    rows = [
        [role, *(float(parts[role][metric, bit]) for metric in pictures.SCORED)]
        for role in ("fitted head", "trained")
    ]
    _, nothing, follow, whole, _ = rows[0]
    fell = measuring.values(table, "worst_followed") - measuring.values(table, "worst_followed", "fitted head")
    text = (
        "F4 divides what the direction adds by what the whole state adds. One fitted head scores nearly as high as "
        f"the trained network beside it: the smallest paired difference is {float(gaps.min()):.3f}. With so few "
        "networks the interval of the difference reaches down to this one pair. But the network of that head "
        f"forgets. Even if we put in the whole state, only {whole:.3f} of its answers follow. So its score divides "
        f"{follow - nothing:.3f} by {whole - nothing:.3f}, two small differences. F3 does not divide, and there the "
        f"smallest paired difference is {float(fell.min()):.3f}."
    )
    caption = f"Which share of the later answers follows if we put this in: seed {pair}, {bit}."
    return text, Table(["network", *pictures.SCORED.values()], rows, caption, digits=3)


def _definitions() -> Table:
    columns = ["claim", "metric", "definition", "established", "refuted", "controls", "source"]
    rows = [
        [
            rule.key,
            rule.metric,
            rule.definition,
            str(rule.established_if),
            str(rule.refuted_if),
            "; ".join(f"{one.role}, by more than {one.margin:g}" for one in rule.controls) or "none",
            rule.source,
        ]
        for rule in RULES
    ]
    return Table(columns, rows, f"The rules. Each needs {NETWORKS} networks.", name="rules")
