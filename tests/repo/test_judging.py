"""How the counter's rules are judged: against the strongest control of each network; and what verdicts are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from analyses.counter import rules
from probe.evidence import Control, Range, Rule, judge
from probe.evidence.claims import STRONGEST, Verdict, with_strongest
from probe.evidence.measurements import tabulate
from probe.probes.reading import VERDICTS

WORDS = {"key": "x", "statement": "It is so.", "metric": "size", "definition": "the size", "source": "here"}
BEATEN = (Control(STRONGEST, 0.05),)
LARGE = {"established_if": Range.at_least(0.5), "refuted_if": Range.below(0.5)}
SMALL = {"established_if": Range.at_most(0.5), "refuted_if": Range.above(0.5)}
HEADS = {"fitted head": (0.3, 0.9), "noise head": (0.2, 0.1), "ridge head": (0.9, 0.2)}
HEADS |= {"scores head": (0.4, 0.5), "scaled head": (0.5, 0.4)}


@pytest.mark.parametrize(
    ("bounds", "controls", "heads", "best", "verdict"),
    [
        (LARGE, BEATEN, HEADS, (0.9, 0.9), "not specific"),
        (SMALL, BEATEN, HEADS, (0.2, 0.1), "refuted"),
        (LARGE, (Control("noise head", 0.05),), HEADS, None, "established"),
        # The best of those that were measured would be a weaker control, and nobody would say so.
        (LARGE, BEATEN, ("noise head", "fitted head"), None, "undecided"),
    ],
)
def test_the_best_head_of_each_pair_is_the_control(
    bounds: Any, controls: Any, heads: Any, best: tuple[float, float] | None, verdict: str
) -> None:
    """The largest value where a rule wants much, the smallest where it wants little; a straw man is no opponent."""
    roles = {"trained": (0.92, 0.92), **{head: HEADS[head] for head in heads}}
    table = tabulate(
        {"question": "q", "metric": "size", "role": role, "value": values[pair % 2], "pair": str(pair)}
        | {"network": f"counter/seed-{pair}" + ("" if role == "trained" else f"/{role}")}
        for role, values in roles.items()
        for pair in range(60)
    )
    rule = Rule(**WORDS, **bounds, controls=controls)
    found = with_strongest(table, rule).query("role == @STRONGEST").set_index("network")["value"]
    wanted = () if best is None else [(f"counter/seed-{pair}/{STRONGEST}", best[pair]) for pair in range(2)]
    assert [(name, found[name]) for name, _ in wanted] == list(wanted)
    assert found.empty == (best is None)
    assert judge(table, [rule], family=rules.FAMILY)[0].verdict == verdict


def test_every_verdict_is_explained() -> None:
    """In docs/words.md; what a reading prints below its table is what stands there."""
    text = (Path(__file__).parents[2] / "docs/words.md").read_text(encoding="utf-8")
    assert [verdict for verdict in get_args(Verdict) if f"**{verdict}**" not in text] == []
    assert [verdict for verdict, meaning in VERDICTS.items() if f"- **{verdict}**: {meaning}\n" not in text] == []
