"""What the counter's pages say of claims before they show anything."""

from __future__ import annotations

import dataclasses

import pandas as pd
from studied import row

from probe import Finding
from probe.evidence import Claim, Control
from probe.evidence.measurements import tabulate
from probe.report import Text
from probe.studies.pages import sections
from reports import story
from reports.build_counter import _answered
from tests.repo.made_up import judged, large

TRAINED, CONTROLS = {"trained": [0.95] * 60}, {"own initialisation": [0.2] * 60, "fitted head": [0.94] * 60}


def found(*controls: Control) -> Finding:
    """Return a finding whose one claim is established, though the fitted heads are nearly as large."""
    finding = judged(TRAINED | CONTROLS, large(*controls))
    return dataclasses.replace(finding, notes={"answer": "It is large."})


def told(*controls: Control) -> Claim:
    """Return its claim."""
    (claim,) = found(*controls).claims
    return claim


def cells_of(claim: Claim, first_used: dict[str, str]) -> dict[str, object]:
    """Return the claim's row in the table of all claims."""
    table = story.claims_table([claim], first_used, "All.")
    return dict(zip(table.columns, table.rows[0], strict=True))


def test_a_claim_stands_beside_its_controls() -> None:
    """The controls that its rule names, each with its median and what the difference is."""
    claim = told(Control("fitted head", 0.005))
    cells = cells_of(claim, {claim.rule.key: claim.rule.digest})
    assert (cells["median"], cells["verdict"]) == (0.95, "established")
    assert "fitted head 0.94" in str(cells["controls"])


def test_a_rule_that_is_not_the_one_first_used_is_said_to_be_changed() -> None:
    """Another digest, and none: both were made or changed after measuring."""
    claim = told()
    for first_used in ({}, {claim.rule.key: "0" * 64}):
        assert str(cells_of(claim, first_used)["why"]).endswith(story.CHANGED)
    (cells,) = story.definitions_table([claim], {claim.rule.key: claim.rule.digest}).rows
    assert cells[-1] == cells[-2]


def test_a_page_without_claims_tells_what_was_answered() -> None:
    """A tally of nothing would read as a result."""
    said = dataclasses.replace(found(), claims=())
    assert not sections.tally([])
    lead = story.lead_of([said])
    assert isinstance(lead, list)
    assert f"{said.notes['answer']} " in lead


def with_networks(*names: str) -> Finding:
    """Return a finding whose trained networks are called so."""
    finding = found()
    rows = [row("q", "size", 1.0, network=name) for name in names]
    rows += [row("q", "size", 1.0, role="own initialisation", network="counter/seed-7/own initialisation")]
    return dataclasses.replace(finding, measurements=tabulate(rows), claims=())


def test_numbers_name_the_trained_networks_that_they_are_of() -> None:
    """Two populations of a recipe give two numbers for one claim, and a reader must see which is which."""
    first = with_networks(*(f"counter/seed-{seed}" for seed in range(1000, 1100)))
    second = with_networks(*(f"counter/seed-{seed}/own line" for seed in range(2000, 2100)), "gru/seed-3")
    assert story.population([first]) == "counter, seeds 1000 to 1099"
    assert story.population([second]) == "counter, seeds 2000 to 2099; gru, seed 3"
    assert story.population([first, second]) == "counter, 200 of the seeds 1000 to 2099; gru, seed 3"
    assert story.population([with_networks("planted/ones", "a folder of somebody's")]) == ""


def test_where_a_finding_judges_rules_the_networks_are_those_judged() -> None:
    """One network more may be drawn as an example."""
    finding = with_networks("counter/seed-1000", "counter/seed-1001")
    more = tabulate([row("q", "example", 1.0, network="counter/seed-5")])
    table = pd.concat([finding.measurements, more], ignore_index=True)
    judged_one = dataclasses.replace(finding, measurements=table, claims=(told(),))
    networks = "counter, seeds 1000 to 1001"
    assert story.whose(judged_one) == f"Trained networks that the rules are judged on: {networks}."
    assert story.whose(finding) == f"Trained networks: {networks}."
    assert story.whose(with_networks("planted/ones")) == ""


def test_the_lead_of_a_page_counts_the_claims_of_its_table() -> None:
    """The table of all claims has those of other pages' questions, and the lead says so."""
    claim = told()
    finding = found()
    own, lead = story.lead_of([finding]), story.lead_of([finding], [claim] * 3)
    assert isinstance(own, list)
    assert isinstance(lead, list)
    assert "1 claim with a rule:" in own
    assert "3 claims with a rule:" in lead
    assert "2 of these claims belong to other pages; the last table has all. " in lead


def test_a_section_says_below_its_answer_whose_numbers_it_has() -> None:
    """Where two sections of a page have other networks, a reader sees it before the numbers."""
    finding = dataclasses.replace(with_networks("counter/seed-1000", "counter/seed-1001"), question="single_units")
    section = _answered(finding)
    assert isinstance(section.blocks[1], Text)
    assert section.blocks[1].paragraphs == (("Trained networks: counter, seeds 1000 to 1001.",),)
