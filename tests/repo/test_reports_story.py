"""What the counter's pages say of claims before they show anything."""

from __future__ import annotations

from analyses.counter import verdicts
from probe import Finding
from probe.evidence import Claim, Control
from probe.studies.pages import sections
from reports import story
from tests.repo.made_up import judged, large

TRAINED, CONTROLS = {"trained": [0.95] * 60}, {"own initialisation": [0.2] * 60, "fitted head": [0.94] * 60}


def told(*controls: Control) -> tuple[Claim, Finding]:
    """Return an established claim whose fitted heads are nearly as large, and what its rule says of them."""
    finding = judged(TRAINED | CONTROLS, large(*controls))
    (claim,) = finding.claims
    return claim, verdicts.find({"q": finding})


def row(claim: Claim, said: Finding, first_used: dict[str, str]) -> dict[str, object]:
    """Return the claim's row in the table of all claims."""
    table = story.claims_table([claim], said, first_used, "All.")
    return dict(zip(table.columns, table.rows[0], strict=True))


def test_a_control_that_satisfies_an_established_rule_is_named_unless_the_rule_named_it() -> None:
    """Where the rule names the control, the paired difference says it; where not, the page says it."""
    claim, said = told()
    assert claim.verdict == "established"
    assert story.controls_as_well(claim, said) == ["fitted head"]
    why = row(claim, said, {claim.rule.key: claim.rule.digest})["why"]
    assert str(why).endswith("the fitted head satisfies it too")
    guarded, said = told(Control("fitted head", 0.005))
    assert guarded.verdict == "established"
    assert story.controls_as_well(guarded, said) == []
    # Both controls have the same states, so that a control by the own initialisation is one by the other.
    assert story.controls_as_well(*told(Control("own initialisation", 0.5))) == []


def test_a_claim_stands_beside_its_controls() -> None:
    """Medians of the controls in their columns, a dash where a population was not measured."""
    claim, said = told()
    cells = row(claim, said, {claim.rule.key: claim.rule.digest})
    assert (cells["median"], cells["own initialisation"], cells["fitted head"], cells["template"]) == (
        0.95,
        0.2,
        0.94,
        None,
    )
    assert cells["verdict"] == "established"


def test_a_rule_that_is_not_the_one_first_used_is_said_to_be_changed() -> None:
    """Another digest, and none: both were made or changed after measuring."""
    claim, said = told()
    for first_used in ({}, {claim.rule.key: "0" * 64}):
        assert str(row(claim, said, first_used)["why"]).endswith(story.CHANGED)
    (cells,) = story.definitions_table([claim], {claim.rule.key: claim.rule.digest}).rows
    assert cells[-1] == cells[-2]


def test_a_page_without_claims_tells_what_was_answered() -> None:
    """A tally of nothing would read as a result."""
    said = told()[1]
    assert not sections.tally([])
    lead = story.lead_of([said])
    assert isinstance(lead, list)
    assert f"{said.notes['answer']} " in lead
