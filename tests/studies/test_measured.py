"""Measurements of a study's networks on disk: tied to weights, inputs and versions, and safe from kills."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import many_counters
import numpy as np
import torch
from flipflop_by_hand import Latch
from flipflop_by_hand import subjects as answers_of
from known_machines import READ, WINS, Reader, X
from many_counters import counters, study
from refusing import refused

from probe import Study
from probe.evidence import Control, Network, Range, Rule, measurement
from probe.evidence.measurements import COLUMNS
from probe.questions import Question
from probe.studies import identity
from probe.studies.measuring import groups_of, measure
from probe.studies.run import plan
from probe.studies.store import read
from probe.subjects.subject import Subject, by_network

FAR = Rule("far", "It is far.", "size", "size", "here", Range.at_least(0.9), Range.below(0.9), needs=5)


def sized(subjects: Iterable[Subject]) -> Iterator[dict[str, Any]]:
    """Yield the first weight of each network, and how many answers it has."""
    for own in by_network(subjects):
        first = next(own[0].model.parameters()).flatten()[0].item()
        yield measurement("size", "size", own[0].network, first)
        yield measurement("size", "answers", own[0].network, float(len(own)))


SIZE = Question("size", "How large?", sized, rules=(FAR,))


def reader(name: str, role: str = "trained", pair: str = "", size: float = 1.0) -> Subject:
    """Return a network whose first weight is this size."""
    model = Reader("rnn", 2, seed=int(pair or 0))
    with torch.no_grad():
        next(model.parameters()).flatten()[0] = size
    return Subject.of(Network(name, role, model, pair), X, WINS, **READ)


def files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of measurements in a folder, by its name."""
    return {path.name: path.read_bytes() for path in folder.rglob("*.xz*")}


#: A study of three networks, which is slow to put its second file into place.
SLOW = """
import os, sys, time
from many_counters import counters, study

replace, placed = os.replace, []

def slow(*paths):
    if placed:
        print("in the middle", flush=True)
        time.sleep(60)
    placed.append(replace(*paths))

os.replace = slow
given = study(list(counters(3)), questions=["class-means"], controls=(), version=1)
given.measure(sys.argv[1] + "/all.csv.xz", parts=sys.argv[1] + "/parts")
"""


def test_killed_in_the_middle_and_run_again_it_leaves_what_an_uninterrupted_run_does(tmp_path: Path) -> None:
    """kill -9 while the second of three files is written: the first stays, and nothing is doubled afterwards."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    words = [sys.executable, "-c", SLOW, str(killed)]
    with subprocess.Popen(
        words, cwd=Path(many_counters.__file__).parent, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    left, good = sorted(files(killed))
    assert left.startswith(".1.csv.xz.")
    assert good == "0.csv.xz"
    given = study(list(counters(3)), questions=["class-means"], controls=(), version=1)
    for folder, fresh in ((killed, 2), (whole, 3), (killed, 0)):
        assert given.measure(folder / "all.csv.xz", parts=folder / "parts") == fresh
    assert files(killed) == files(whole)
    assert list(files(killed)) == ["all.csv.xz"]
    for member in read(killed / "all.csv.xz").values():
        assert not member.tables["class-means"].duplicated(list(COLUMNS[:-1])).any()


def test_what_was_measured_before_stays(tmp_path: Path) -> None:
    """Where another question or network is asked now; a damaged part is measured anew, to the same bytes."""
    path, parts = tmp_path / "all.csv.xz", tmp_path / "parts"
    a, b, c = (reader(name, size=size) for name, size in zip("abc", (1.0, 2.0, 3.0), strict=True))
    given = Study.of([a, b], questions=[SIZE], version=1)
    call, _ = plan(given, path, parts).calls
    assert [measure(call).fresh for _ in range(2)] == [("size",), ()]
    part = call.store.part("a")
    good = part.read_bytes()
    part.write_bytes(good[:100])
    assert measure(call).fresh == ("size",)
    assert part.read_bytes() == good
    given.measure(path, parts=parts)
    Study.of([a, c], questions=[replace(SIZE, name="other", rules=())], version=1).measure(path, parts=parts)
    found = {member: set(each.tables) for member, each in read(path).items()}
    assert found == {"a": {"size", "other"}, "b": {"size"}, "c": {"other"}}
    with refused():
        given.measure(tmp_path / "all.csv", parts=parts)


def test_measurements_are_tied_to_weights_inputs_settings_and_version() -> None:
    """What a network is known by stands for its weights, whose last bits may depend on the processor."""

    def tied(one: Subject, version: int | None = 1) -> str:
        return identity.tied([one], version)["a"]

    one = reader("a")
    known = replace(one, network=replace(one.network, known_by="abc"))
    before = [tied(one), tied(known), tied(one, None)]
    assert before[1].startswith("abc+")
    with torch.no_grad():
        next(one.model.parameters()).mul_(1 + 1e-6)
    assert [tied(known), tied(one) == before[0]] == [before[1], False]
    changed = [replace(known, x=1 - X), replace(known, seed=1), replace(known, lengths=known.lengths - 1)]
    assert len({before[1], tied(known, 2), *(tied(each) for each in changed)}) == 5
    # In a study with a version: what a function's digest is depends on Python, and a number's does not.
    settings = {"step": 3, "steps": (1, 2), "of": {"a": np.ones(2)}, "how": len}
    others = [{}, {"how": abs}, {"step": 4}, {"of": {"a": np.zeros(2)}}]
    questions = [replace(SIZE, settings=settings | other) for other in others]
    questions += [replace(questions[0], roles=("trained",)), replace(questions[0], version=2)]
    told = [identity.of_question(each, code=False) for each in questions]
    assert told[0] == told[1]
    assert len(set(told)) == len(told) - 1


def test_prepared_networks_are_measured_with_the_controls_among_them(tmp_path: Path) -> None:
    """Those of one pair together, all others alone; a network's several answers are asked as one."""
    pairs = [reader(name, role, "7") for name, role in (("a", "trained"), ("h", "ridge head"), ("i", "noise head"))]
    both = answers_of(Latch(), "latch")
    given = [*pairs, reader("p", "planted"), reader("o", "other", "7")]
    members = [[each.network.name for each in group] for group in groups_of([*given, *both], controls=()).values()]
    assert members == [["a", "h", "i"], ["p"], ["o"], ["latch", "latch"]]
    assert Study.of(given).controls == ()
    group = groups_of(given, controls=("random weights",))["a"]
    assert [each.network.role for each in group][3:] == ["random weights"]
    path = tmp_path / "all.csv.xz"
    Study.of(both, questions=[SIZE], version=1).measure(path, parts=tmp_path)
    assert read(path)["latch"].tables["size"]["value"].tolist()[1] == 2


def test_claims_are_judged_in_the_family_that_is_given_against_the_strongest_head(tmp_path: Path) -> None:
    """Of three heads of a pair the best is the control, and a question that was not measured is named."""
    heads = {"fitted head": 0.1, "ridge head": 0.3, "noise head": 0.2}
    sizes = [0.85] * 2 + [0.95] * 10
    subjects = [
        reader(f"{pair}/{role}", role, str(pair), value + pair / 1e4)
        for pair, size in enumerate(sizes)
        for role, value in {"trained": size, **heads}.items()
    ]
    path = tmp_path / "all.csv.xz"
    strong = replace(SIZE, rules=(replace(FAR, controls=(Control("strongest head", 0.1),)),))
    alone, among = (Study.of(subjects, questions=[strong], family=n, version=1) for n in (1, 1000))
    with refused():
        alone.findings(path)
    assert alone.measure(path, parts=tmp_path / "parts") == len(sizes)
    for given, verdict in ((alone, "established"), (among, "undecided")):
        (claim,) = given.findings(path)["size"].claims
        assert claim.verdict == verdict
        assert [(one.role, round(one.control, 2)) for one in claim.differences] == [("strongest head", 0.3)]
