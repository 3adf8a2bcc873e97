"""The table of claims on the counter's first page: a name for each claim, and the numbers beside it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from probe import ProbeError
from probe.evidence import Claim
from reports import story
from reports.named_claims import NAMES, named_claims

FINDINGS = Path(__file__).resolve().parents[2] / "reports" / "counter" / "findings.json"


def judged() -> list[Claim]:
    """Return all claims, as they are committed."""
    return [_claim(one) for one in json.loads(FINDINGS.read_text(encoding="utf-8"))]


def _claim(written: dict[str, Any]) -> Claim:
    """Return a claim of the file, where a range without an end has null in place of infinity."""
    rule = dict(written["rule"])
    for name in ("established_if", "refuted_if"):
        rule[name] = {end: given for end, given in rule[name].items() if given is not None}
    kept = {field.name: written[field.name] for field in dataclasses.fields(Claim)}
    return Claim.from_dict(kept | {"rule": rule})


def test_every_claim_has_a_name_of_its_own_and_every_name_a_claim() -> None:
    """A new question's claims need names, and a name without a claim is a leftover."""
    keys = [story.key(claim) for claim in judged()]
    assert len(keys) > 40
    assert sorted(keys) == sorted(NAMES)
    assert len(set(NAMES.values())) == len(NAMES)


def test_a_row_is_a_name_with_trained_control_and_verdict() -> None:
    """The numbers and the verdict are the claim's; a claim that names no control has a dash."""
    claims = judged()
    table = named_claims(claims)
    assert table.columns == ("claim", "trained", "best control", "verdict")
    assert (table.verdict, table.sortable, table.max_rows) == ("verdict", True, len(claims))
    for claim, (name, trained, control, verdict) in zip(claims, table.rows, strict=True):
        assert name == NAMES[story.key(claim)]
        assert (trained, verdict) == (claim.value, claim.verdict)
        assert control == (claim.differences[0].control if claim.differences else None)
    assert {row[2] is None for row in table.rows} == {True, False}


def test_a_name_stands_alone() -> None:
    """Sorted, a row has other neighbours: no name begins with what only they would explain."""
    for name in NAMES.values():
        assert name.split()[0] not in ("It", "Its", "They", "These", "Such", "This"), name


def test_a_claim_without_a_name_is_told() -> None:
    """Whoever adds a claim learns where its name goes."""
    claim = judged()[0]
    new = dataclasses.replace(claim, rule=dataclasses.replace(claim.rule, key="99z"))
    with pytest.raises(ProbeError, match=r"Claim '99z' .* has no name; add one to NAMES in reports\.named_claims"):
        _ = named_claims([new])
