"""A study of several networks: verdicts, controls in pairs, and what an earlier run measured."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from claims_told import check_table, check_told, pills, points, rows
from many_counters import QUICK, counters, findings, initials, study
from refusing import refused
from studied import planted

from probe.evidence import Control, Network, Range, Rule, measurement
from probe.questions import Question
from probe.studies.pages.sections import told
from probe.subjects.subject import Subject


def distance(subjects: Iterable[Subject], scale: float = 1.0) -> Iterator[dict[str, Any]]:
    """Yield how far each network's last hidden state is from zero: a question of one's own."""
    for subject in subjects:
        last = subject.model(subject.x)[0][:, -1]
        yield measurement("distance", "distance", subject.network, scale * last.norm(dim=1).mean().item())


def far(key: str, *controls: Control, check: bool = False) -> Rule:
    """Return a rule that every network keeps, and that its controls may refuse."""
    bounds = Range.at_least(0.01), Range.below(0.01)
    return Rule(key, f"States lie {key} from zero.", "distance", "norm", "here", *bounds, controls, 5, check=check)


@pytest.mark.usefixtures("undrawn")
def test_verdicts_are_over_networks_and_controls_stand_in_pairs(tmp_path: Path) -> None:
    """Eleven counters: the page tells each claim, a rule of one's own is judged, and controls must be beaten."""
    question = Question("distance", "How far?", distance, rules=(far("as far", Control("own initialisation", 9.0)),))
    networks = {"trained": counters(), "own initialisation": initials()}
    text = study(networks, 5, questions=[*QUICK, question], rules=[far("far")]).run(tmp_path).render()
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
    assert +pills(text) == Counter(one.verdict for one in every)


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
    assert 'class="pills"' not in text
    assert "The study gives one head, and we put it on the states of every network" in text
    # Networks that were not judged are left out of a line.
    given = found["distance"]
    assert told({"a": given, "b": dataclasses.replace(given, claims=())}) == told({"a": given})
    # Where no own initialisation was given random weights stand for it, and each network has its own.
    assert found["distance"].claims[0].differences[0].role == "random weights"
    table = found["distance"].measurements
    assert table[table["role"] == "random weights"]["value"].nunique() == 2
    check = dataclasses.replace(question, rules=(far("check", check=True),))
    text = study(list(counters(2)), questions=[check]).run(tmp_path / "check").render()
    (claim,) = findings(tmp_path / "check")["distance"].claims
    assert [row["verdict"].split()[-1] for row in rows(text)] == [claim.verdict]


def counted(told: Path) -> tuple[Question, Callable[[], list[str]]]:
    """Return a question that writes down whom it was asked of, and what reads that."""

    def measure(subjects: Iterable[Subject]) -> Iterator[dict[str, Any]]:
        listed = list(subjects)
        with told.open("a") as file:
            file.write(f"{listed[0].network.name}\n")
        yield from distance(listed)

    return Question("distance", "How far?", measure), lambda: told.read_text().split()


def valued(number: float, subject: Subject) -> dict[str, Any]:
    """Return a value of a network."""
    return measurement("mine", "value", subject.network, number)


@pytest.mark.usefixtures("undrawn")
def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    """A network that is added is measured alone; of another version, or to overwrite, all are; a lost one is told."""
    question, asked = counted(tmp_path / "asked")
    networks = [Network(f"b{number}", "trained", one) for number, one in enumerate(counters(4))]
    for given in (networks[1:3], networks[1:3], networks):
        study(given, questions=[question]).run(tmp_path)
    assert asked() == ["b1", "b2", "b0", "b3"]
    assert findings(tmp_path)["distance"].measurements["network"].str.len().eq(2).sum() == 4
    for given in (networks[:3], [*networks[:3], Network("b3", "trained", planted())]):
        with refused():
            study(given, questions=[question]).run(tmp_path)
    for number in (1.0, 2.0):
        mine = Question("mine", "Mine?", lambda own, number=number: map(partial(valued, number), own))
        study(networks, questions=[question, mine]).run(tmp_path)
        assert set(findings(tmp_path)["mine"].measurements["value"]) == {number}
    assert len(asked()) == 4
    newer = study(networks, questions=[dataclasses.replace(question, version=2)])
    for overwrite, times in ((False, 8), (False, 8), (True, 12)):
        newer.run(tmp_path, overwrite=overwrite)
        assert len(asked()) == times
