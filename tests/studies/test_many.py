"""A study of several networks: verdicts, controls in pairs, resumed runs, questions and rules of one's own."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from claims_told import check_table, check_told, pills, points, rows
from many_counters import EVERY, LENGTH, counters, findings, initials, study
from refusing import refused
from safetensors.torch import save_file
from studied import FUNCTIONS, UNITS, head, planted
from torch import nn

from probe import ProbeError, Readout
from probe.evidence import Control, Network, Range, Rule, measurement
from probe.questions import Question
from probe.studies.pages.sections import told
from probe.studies.run import MEASURED
from probe.subjects.subject import Subject


def forgetting(subjects: Iterable[Subject]) -> Iterator[dict[str, Any]]:
    """Yield how far each network's last hidden state is from zero: a question of one's own."""
    for subject in subjects:
        last = subject.model(subject.x)[0][:, -1]
        yield measurement("distance", "distance", subject.network, last.norm(dim=1).mean().item())


FAR = Rule(
    "far",
    "States lie far from zero.",
    "distance",
    "mean norm",
    "here",
    Range.at_least(0.01),
    Range.below(0.01),
    needs=5,
)


def test_verdicts_are_over_networks_and_controls_stand_in_pairs(tmp_path: Path) -> None:
    """Eleven counters hold their count with a margin; a head fitted to their initialisations does not."""
    given = {"trained": list(counters()), "own initialisation": initials()}
    study(given).run(tmp_path)
    (claim,) = findings(tmp_path)["noise-margin"].claims
    assert claim.n == len(counters())
    assert claim.differences[0].role == "fitted head"
    assert claim.verdict in ("established", "refuted", "not specific", "undecided")
    table = findings(tmp_path)["noise-margin"].measurements
    assert set(table["role"]) == {"trained", "fitted head"}
    assert set(table[table["role"] == "fitted head"]["pair"]) == {str(number) for number in range(len(counters()))}
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    every = [one for found in findings(tmp_path).values() for one in found.claims]
    check_told(points(text), every)
    check_table(text, every)
    assert +pills(text) == Counter(one.verdict for one in every)


def test_few_networks_are_undecided(tmp_path: Path) -> None:
    """Two networks decide nothing, whatever their numbers are."""
    study({"trained": list(counters(2))}).run(tmp_path)
    claims = [claim for finding in findings(tmp_path).values() for claim in finding.claims]
    assert claims
    assert {claim.verdict for claim in claims} == {"undecided"}


def test_without_initialisations_random_weights_take_their_place(tmp_path: Path) -> None:
    """A rule that asks for the own initialisation is judged against random weights where none was given."""
    given = study({"trained": list(counters(2))}, 8, questions=["linear-readout"])
    given.run(tmp_path)
    finding = findings(tmp_path)["linear-readout"]
    assert {one.role for claim in finding.claims for one in claim.differences} == {"random weights"}
    table = finding.measurements
    drawn = table[(table["role"] == "random weights") & (table["metric"] == "last_step_r_squared")]["value"]
    assert drawn.nunique() == len(drawn) == 2, "each network has random weights of its own"


def test_a_run_that_was_killed_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    """What is measured stays: after the loss of a part, of a finding and of the page all bytes are the same."""
    given = study({"trained": list(counters(3))})
    given.run(tmp_path / "whole")
    before = {path.relative_to(tmp_path / "whole"): path.read_bytes() for path in _files(tmp_path / "whole")}
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    next((tmp_path / "killed" / MEASURED).rglob("*.csv.xz")).unlink()
    shutil.rmtree(tmp_path / "killed" / "findings" / "noise-margin")
    (tmp_path / "killed" / "index.html").unlink()
    given.run(tmp_path / "killed")
    after = {path.relative_to(tmp_path / "killed"): path.read_bytes() for path in _files(tmp_path / "killed")}
    assert after == before


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]


def counted(told: Path) -> tuple[Question, Callable[[], list[str]]]:
    """Return a question that writes down whom it was asked of, and what reads that."""

    def measure(subjects: Iterable[Subject]) -> Iterator[dict[str, Any]]:
        listed = list(subjects)
        with told.open("a") as file:
            file.write(f"{listed[0].network.name}\n")
        yield from forgetting(listed)

    return Question("distance", "How far?", measure), lambda: told.read_text().split()


def test_measured_networks_are_not_measured_again(tmp_path: Path) -> None:
    """A second run asks nothing of a network that is there; another version of the question asks all."""
    question, asked = counted(tmp_path / "asked")
    given = {"trained": list(counters(3))}
    study(given, questions=[question]).run(tmp_path)
    study(given, questions=[question]).run(tmp_path)
    assert asked() == ["0", "1", "2"]
    study(given, questions=[dataclasses.replace(question, version=2)]).run(tmp_path)
    assert len(asked()) == 6
    study(given, questions=[dataclasses.replace(question, version=2)]).run(tmp_path, overwrite=True)
    assert len(asked()) == 9, "with overwrite nothing is reused"


def test_a_network_that_is_added_later_is_measured_alone(tmp_path: Path) -> None:
    """What was measured of the others stays; a study that lacks one of them is another study."""
    question, asked = counted(tmp_path / "asked")
    networks = [Network(f"b{number}", "trained", one) for number, one in enumerate(counters(4))]
    study(networks[1:3], questions=[question]).run(tmp_path)
    study(networks, questions=[question]).run(tmp_path)
    assert asked() == ["b1", "b2", "b0", "b3"]
    assert findings(tmp_path)["distance"].measurements["network"].str.len().eq(2).sum() == 4
    with refused():
        study(networks[:3], questions=[question]).run(tmp_path)
    with refused():
        study([*networks[:3], Network("b3", "trained", planted())], questions=[question]).run(tmp_path)


def test_an_own_question_that_was_edited_is_asked_again(tmp_path: Path) -> None:
    """Its code, its settings and what it refers to are part of it; another question beside it is kept."""
    kept, asked = counted(tmp_path / "asked")

    def edited(number: float) -> Question:
        def measure(subjects: Iterable[Subject]) -> Iterator[dict[str, Any]]:
            return (measurement("mine", "value", one.network, number) for one in subjects)

        return Question("mine", "Mine?", measure)

    for networks, folder in (({"trained": list(counters(2))}, "many"), (planted(), "one")):
        for number in (1.0, 2.0):
            study(networks, questions=[kept, edited(number)]).run(tmp_path / folder)
            assert set(findings(tmp_path / folder)["mine"].measurements["value"]) == {number}
    assert len(asked()) == 3


def test_a_network_counts_once(tmp_path: Path) -> None:
    """The same weights under two names are one training; several may begin with one initialisation."""
    same = [Network(name, "trained", planted()) for name in ("one", "two")]
    with refused():
        study(same).run(tmp_path)
    with refused():
        study({"trained": counters(2), "own initialisation": [counters(1)[0], initials(1)[0]]}).run(tmp_path)
    given = {"trained": list(counters(2)), "own initialisation": initials(1) * 2}
    study(given, questions=["single-units"]).run(tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert "The study gives one head, and we put it on the states of every network" in text
    output = (lambda out: out[0][:, -1, 0].round(), lambda out: out[0][:, -1, 0])
    study(given, questions=["single-units"], readout=Readout("ones", output=output)).run(tmp_path / "own heads")
    assert "The study gives one head" not in (tmp_path / "own heads" / "index.html").read_text()


def test_two_processes_give_the_same_bytes_as_one(tmp_path: Path) -> None:
    """Workers change nothing."""
    given = study({"trained": list(counters(3))})
    given.run(tmp_path / "one")
    given.run(tmp_path / "two", jobs=2)
    assert (tmp_path / "one" / "index.html").read_bytes() == (tmp_path / "two" / "index.html").read_bytes()


def test_a_question_and_a_rule_of_ones_own(tmp_path: Path) -> None:
    """A question is a name and a function; its rule is judged, and its page says so."""
    question = Question("distance", "How far do states go?", forgetting, rules=(FAR,))
    study({"trained": list(counters())}, questions=["noise-margin", question]).run(tmp_path)
    (claim,) = findings(tmp_path)["distance"].claims
    assert (claim.verdict, claim.n) == ("established", len(counters()))
    assert "How far do states go?" in (tmp_path / "index.html").read_text()
    beside = study({"trained": list(counters(6))}, questions=[Question("distance", "?", forgetting)], rules=[FAR])
    beside.run(tmp_path / "beside")
    assert [one.rule.key for one in findings(tmp_path / "beside")["distance"].claims] == ["far"]


def test_a_check_and_networks_without_a_claim_stand_on_the_page(tmp_path: Path) -> None:
    """A check has no verdict that is counted; a kind of network that was not judged is left out of a line."""
    question = Question("distance", "How far?", forgetting, rules=(dataclasses.replace(FAR, check=True),))
    text = study({"trained": list(counters(2))}, questions=[question]).run(tmp_path).render()
    found = findings(tmp_path)["distance"]
    assert [row["verdict"].split()[-1] for row in rows(text)] == [found.claims[0].verdict]
    assert "a verdict on it needs more of them" not in text
    assert told({"a": found, "b": dataclasses.replace(found, claims=())}) == told({"a": found})


def test_what_a_network_lacks_is_named(tmp_path: Path) -> None:
    """Without a readout every question about answers says so, and none fails."""
    study({"trained": list(counters(2))}, readout=None).run(tmp_path)
    assert "the study has no readout" in findings(tmp_path)["noise-margin"].notes["answer"]
    assert "the study has no readout" in (tmp_path / "index.html").read_text()


def test_a_study_file_names_many_networks_by_a_pattern(tmp_path: Path) -> None:
    """Files are paired by their names, and a head's arrays are those of each file."""
    weight, bias = (torch.tensor(one, dtype=torch.float32) for one in head(LENGTH))
    for folder, networks in (("trained", counters(3)), ("initial", initials(3))):
        (tmp_path / folder).mkdir()
        for number, network in enumerate(networks):
            state = {**network.state_dict(), "head.weight": weight, "head.bias": bias}
            save_file(state, tmp_path / folder / f"seed-{number}.safetensors")
    np.save(tmp_path / "inputs.npy", EVERY)
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "study.toml").write_text(
        """
questions = ["noise-margin", "single-units"]
[network]
file = "trained/*.safetensors"
[network.controls]
"own initialisation" = "initial/*.safetensors"
[inputs]
file = "inputs.npy"
[concepts.ones]
function = "functions.py:ones"
[readout]
concept = "ones"
weight = "head.weight"
bias = "head.bias"
"""
    )
    from probe.studies.study_file import read_study

    read_study(tmp_path / "study.toml").run(tmp_path / "report")
    table = findings(tmp_path / "report")["single-units"].measurements
    assert set(table[table["role"] == "own initialisation"]["pair"]) == {"seed-0", "seed-1", "seed-2"}
    assert set(table[table["role"] == "trained"]["network"]) == {"seed-0", "seed-1", "seed-2"}


TWO = [Network(name, "trained", one, pair) for name, one, pair in zip("ab", counters(2), (1, 2), strict=True)]


@pytest.mark.parametrize(
    "networks",
    [
        {"own initialisation": initials(2)},
        {"trained": list(counters(2)), "learned": initials(2)},
        {"trained": "nowhere/*.safetensors"},
        [nn.LSTM(1, UNITS), 3],
        3,
        [Network("a", "trained", counters(2)[0]), Network("a", "trained", counters(2)[1])],
        [Network("a", "trained", counters(2)[0], 1), Network("b", "trained", counters(2)[1], 1)],
        [Network("a", "trained", counters(2)[0], 1), Network("b", "own initialisation", initials(1)[0], 2)],
        [*TWO, Network("i", "own initialisation", initials(1)[0], 2)],
    ],
)
def test_networks_that_are_none_are_refused(networks: Any, tmp_path: Path) -> None:
    """The message says what was given and what can be."""
    with refused():
        study(networks).run(tmp_path)


def test_an_unknown_question_is_refused(tmp_path: Path) -> None:
    """The nearest name is told; many networks that are asked nothing have no page."""
    with pytest.raises(ProbeError, match=r"There is no question 'noise-margn'.*Did you mean 'noise-margin'"):
        study({"trained": list(counters(2))}, questions=["noise-margn"]).run(tmp_path)
    with refused():
        study({"trained": list(counters(2))}, questions=[]).run(tmp_path)


def test_a_control_must_be_beaten(tmp_path: Path) -> None:
    """Where a control does as well the claim is not specific."""
    rule = Rule(
        "far",
        "Far.",
        "distance",
        "norm",
        "here",
        Range.at_least(0.0),
        Range.below(0.0),
        (Control("random weights", 9.0),),
        5,
    )
    question = Question("distance", "How far?", forgetting, rules=(rule,))
    study({"trained": list(counters())}, questions=[question]).run(tmp_path)
    assert findings(tmp_path)["distance"].claims[0].verdict == "not specific"


def test_probes_of_few_states_are_refused(tmp_path: Path) -> None:
    """Of 64 states half cannot be held out; selectivity of so few is noise, and no rule is judged on it."""
    study({"trained": list(counters(2))}, questions=["linear-readout"]).run(tmp_path)
    found = findings(tmp_path)["linear-readout"]
    assert found.measurements.empty
    assert not found.claims
    assert "64 distinct prefixes of a length at most; 128 are needed" in found.notes["missing"]


def test_a_page_says_how_networks_were_measured_and_in_how_many_a_claim_is_true(tmp_path: Path) -> None:
    """The set-up of a network is told; of few networks each claim says in how many of them it is true."""
    names = ["noise-margin", "other-lengths", "interchange"]
    page = study({"trained": list(counters(2))}, questions=names).run(tmp_path)
    found = findings(tmp_path)
    assert "64 sequences, their whole length, each 32 times" in found["noise-margin"].notes["setup"]
    assert "2, 3, 4, 5, 6, 7, 8, 9 and 10 steps" in found["other-lengths"].notes["setup"]
    assert found["interchange"].figures
    text = page.render()
    assert text.count("How it was measured") == text.count("Of 0: ") == len(names)
    assert any(re.search(r"held with a margin: in \d of 2.*, median \d", point) for point in points(text))
    every = [one for question in found.values() for one in question.claims]
    check_told(points(text), every)
    check_table(text, every)
    assert 'class="pills"' not in text
