"""A study of several networks: verdicts, controls in pairs, and what an earlier run measured."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from claims_told import check_table, check_told, points, rows, tally
from many_counters import counters, distance, far, findings, initials, study
from refusing import refused
from studied import bits, keys_of, ones, planted
from torch import nn

from probe import Study
from probe.evidence import Control, Network
from probe.questions import Question
from probe.subjects.subject import Subject


@pytest.mark.usefixtures("undrawn")
def test_verdicts_are_over_networks_and_controls_stand_in_pairs(tmp_path: Path) -> None:
    """Eleven counters: the page tells each claim, a rule of one's own is judged, and controls must be beaten."""
    as_far = far("as far", Control("own initialisation", 9.0), bound=0.01)
    question = Question("distance", "How far?", distance, rules=(as_far,))
    networks = {"trained": counters(), "own initialisation": initials()}
    given = study(networks, 5, questions=["noise-margin", question], rules=[far("far", bound=0.01)])
    text = given.run(tmp_path).render()
    found = findings(tmp_path)
    verdicts = {one.rule.key: (one.verdict, one.n) for one in found["distance"].claims}
    assert verdicts == {"as far": ("not specific", 11), "far": ("established", 11)}
    margins = found["noise-margin"]
    assert {one.differences[0].role for one in margins.claims} == {"fitted head"}
    assert set(margins.measurements["role"]) == {"trained", "fitted head"}
    for _, each in margins.measurements.groupby("role"):
        assert set(each["pair"]) == {str(number) for number in range(11)}
    every = [one for each in found.values() for one in each.claims]
    check_told(points(text), every)
    check_table(text, every)
    assert +tally(text) == Counter(one.verdict for one in every)


@pytest.mark.usefixtures("undrawn")
def test_few_networks_are_undecided_and_told_one_by_one(tmp_path: Path) -> None:
    """How each was measured, in how many a claim is true, and what few states cannot say; a check is no verdict."""
    question = Question("distance", "How far?", distance, rules=(far("far", Control("own initialisation", 9.0)),))
    names = ["noise-margin", "other-lengths", "interchange", "linear-readout"]
    text = study(list(counters(2)), questions=[*names, question]).run(tmp_path).render()
    found = findings(tmp_path)
    assert "64 sequences, their whole length, each 32 times" in found["noise-margin"].notes["setup"]
    assert "2, 3, 4, 5, 6, 7, 8, 9 and 10 steps" in found["other-lengths"].notes["setup"]
    assert found["interchange"].figures
    assert not [*found["linear-readout"].measurements.index, *found["linear-readout"].claims]
    missing = "64 distinct prefixes of a length at most; 128 are needed"
    assert missing in found["linear-readout"].notes["missing"]
    assert text.count("How it was measured") == text.count("Of 0: ") == len(names) - 1
    assert any(re.search(r"held with a margin: in \d of 2.*, median \d", point) for point in points(text))
    every = [one for each in found.values() for one in each.claims]
    assert {one.verdict for one in every} == {"undecided"}
    check_told(points(text), every)
    check_table(text, every)
    assert "with a rule:" not in text
    assert "The study gives one head, and we put it on the states of every network" in text
    # Where no own initialisation was given random weights stand for it, and each network has its own.
    assert found["distance"].claims[0].differences[0].role == "random weights"
    table = found["distance"].measurements
    assert table[table["role"] == "random weights"]["value"].nunique() == 2
    check = dataclasses.replace(question, rules=(far("check", check=True),))
    text = study(list(counters(2)), questions=[check]).run(tmp_path / "check").render()
    (claim,) = findings(tmp_path / "check")["distance"].claims
    assert [row["verdict"].split()[-1] for row in rows(text)] == [claim.verdict]


@pytest.mark.usefixtures("undrawn")
def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    """A network that is added is measured alone; where code or version change, or to overwrite, all are."""
    told = tmp_path / "asked"

    def counted(scale: float = 1.0, **more: Any) -> Question:
        def measure(subjects: Iterable[Subject]) -> Iterator[dict[str, Any]]:
            listed = list(subjects)
            with told.open("a") as file:
                file.write(f"{listed[0].network.name}\n")
            yield from distance(listed, scale)

        return Question("distance", "How far?", measure, **more)

    networks = [Network(f"b{number}", "trained", one) for number, one in enumerate(counters(4))]
    for given in (networks[1:3], networks[1:3], networks):
        study(given, questions=[counted()]).run(tmp_path)
    assert told.read_text().split() == ["b1", "b2", "b0", "b3"]
    assert findings(tmp_path)["distance"].measurements["network"].str.len().eq(2).sum() == 4
    for given in (networks[:3], [*networks[:3], Network("b3", "trained", planted())]):
        with refused():
            study(given, questions=[counted()]).run(tmp_path)
    newer = counted(version=2)
    for question, overwrite, times in (
        (newer, False, 8),
        (newer, False, 8),
        (newer, True, 12),
        (counted(2), False, 16),
    ):
        study(networks, questions=[question]).run(tmp_path, overwrite=overwrite)
        assert len(told.read_text().split()) == times


def test_of_many_networks_each_concept_is_read_and_asked_for_its_unit(tmp_path: Path) -> None:
    """Also in several layers, and where the first concept is a category: pictures alike have words of their own."""
    stacks = []
    for seed in range(2):
        torch.manual_seed(seed)
        stacks.append(nn.GRU(1, 4, 2, batch_first=True))
    concepts = {"parity": lambda x: ["odd" if one % 2 else "even" for one in ones(x)], "ones": ones}
    asked = [f"{what}-{name}" for what in ("reading", "best-unit") for name in concepts]
    page = Study(stacks, bits(), concepts, questions=asked).run(tmp_path, progress=None)
    assert {*asked} < {*keys_of(page)}
    for name in asked:
        assert set(findings(tmp_path)[name].measurements["layer"]) >= {"[0]", "[1]"}
