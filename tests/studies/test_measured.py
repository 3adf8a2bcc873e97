"""Measurements of a study's networks on disk: tied to weights, inputs and versions, safe from kills, and verified."""

from __future__ import annotations

import lzma
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import many_counters
import numpy as np
import pandas as pd
import pytest
import torch
from flipflop_by_hand import Latch
from flipflop_by_hand import subjects as answers_of
from known_machines import READ, WINS, Reader, X
from many_counters import counters, study
from pandas.testing import assert_frame_equal
from refusing import refused

from probe import ProbeError, Study
from probe.evidence import Control, Network, Range, Rule, measurement
from probe.evidence.measurements import COLUMNS, LATER, tabulate
from probe.questions import Question
from probe.studies import identity, verify, workers
from probe.studies.measure import groups_of
from probe.studies.store import Answer, Measured, Store, read, write
from probe.studies.workers import locked
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
    there: Any = Path(many_counters.__file__).parent
    with subprocess.Popen(words, cwd=there, stdout=subprocess.PIPE, text=True) as process:
        said: Any = process.stdout
        assert said.readline() == "in the middle\n"
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
    # Asked of roles that came later or not a question has the same digest; any other role changes it.
    few, more, fewer = (replace(SIZE, roles=roles) for roles in (("trained",), ("trained", *LATER), ("planted",)))
    told = [identity.of_question(one, code=code) for code in (True, False) for one in (few, more, fewer)]
    assert (told[0], told[3], len({*told})) == (told[1], told[4], 4)


def test_prepared_networks_are_measured_with_the_controls_among_them(tmp_path: Path) -> None:
    """Those of one pair together, all others alone; a network's several answers are asked as one."""
    pairs = [reader(name, role, "7") for name, role in (("a", "trained"), ("h", "ridge head"), ("i", "noise head"))]
    both = answers_of(Latch(), "latch")
    given = [*pairs, reader("p", "planted"), reader("o", "other", "7")]
    members = [[each.network.name for each in group] for group in groups_of([*given, *both], controls=()).values()]
    assert members == [["a", "h", "i"], ["p"], ["o"], ["latch", "latch"]]
    group = groups_of(given, controls=("random weights",))["a"]
    assert [each.network.role for each in group][3:] == ["random weights"]
    path = tmp_path / "all.csv.xz"
    Study.of(both, questions=[SIZE], version=1).measure(path, parts=tmp_path)
    assert read(path)["latch"].tables["size"]["value"].tolist()[1] == 2


def test_claims_are_judged_in_the_family_that_is_given_against_the_strongest_head(tmp_path: Path) -> None:
    """Of all heads of a pair the best is the control, and a question that was not measured is named."""
    heads = {"fitted head": 0.1, "ridge head": 0.3, "noise head": 0.2, "scores head": 0.1, "scaled head": 0.2}
    sizes = [0.85] * 2 + [0.95] * 10
    subjects = [
        reader(f"{pair}/{role}", role, str(pair), value + pair / 1e4)
        for pair, size in enumerate(sizes)
        for role, value in {"trained": size, **heads}.items()
    ]
    path = tmp_path / "all.csv.xz"
    strong = replace(SIZE, rules=(replace(FAR, controls=(Control("strongest head", 0.1),)),))
    alone, among = (Study.of(subjects, questions=[strong], family=n, version=1) for n in (1, 1000))
    for work in (lambda: alone.findings(path), lambda: alone.measure(tmp_path / "all.csv", parts=tmp_path)):
        with refused():
            work()
    assert alone.measure(path, parts=tmp_path / "parts") == len(sizes)
    for given, verdict in ((alone, "established"), (among, "undecided")):
        (claim,) = given.findings(path)["size"].claims
        assert claim.verdict == verdict
        assert [(one.role, round(one.control, 2)) for one in claim.differences] == [("strongest head", 0.3)]


NETWORK = Network("reader", "planted", Reader())
NAN, INF = float("nan"), float("inf")


def table(*values: float, metric: str = "share") -> pd.DataFrame:
    """Return values of a metric, one a step."""
    return tabulate(
        measurement("accuracy", metric, NETWORK, value, signal="cell_state", step=step)
        for step, value in enumerate(values)
    )


def named(part: Any, *given: Any) -> list[str]:
    """Return what differs between two tables, by a part of its name, the farthest first."""
    return [key[verify.KEY.index(part)] for key in verify.differences(*given).index]


def test_what_is_farther_than_a_millionth_of_itself_or_belongs_to_another_is_found() -> None:
    """Missing numbers equal themselves; the farthest come first; a value of another role or pair is another one."""
    old = table(100.0, 1e-9, NAN, INF, -INF)
    assert not named("step", old, table(100.0 * (1 + 9e-7), 1e-9 * (1 - 9e-7), NAN, INF, -INF))
    for pair in ((100.0, 100.0002), (0.0, 1e-12), (1e-12, 2e-12), (1.0, NAN), (NAN, 1.0), (1.0, INF), (INF, -INF)):
        found = verify.differences(table(1e6, pair[0]), table(1e6, pair[1]))
        assert np.array_equal(found.to_numpy(dtype=float), [pair], equal_nan=True)
    assert named("step", table(1e6, 1.0, 2.0, 3.0), table(1e6 + 100, 1.1, 2.4, 3.0)) == ["2", "1", "0"]
    old = table(1.0, 2.0)
    for changed in ({"role": "trained"}, {"pair": "5"}, {"network": "other"}, {"signal": "h"}):
        assert sorted(verify.differences(old, old.assign(**changed)).isna().sum()) == [2, 2]
    twice = pd.concat([table(1.0), table(2.0)], ignore_index=True)
    assert list(verify.differences(twice, table(1.0))["before"]) == [2.0]
    assert len(verify.differences(twice, twice.iloc[::-1])) == 2


def test_a_value_may_lie_ten_times_as_far_away_as_rounding_moves_its_metric() -> None:
    """The farthest of several counts, of values of one metric, signal and network, and of no other."""
    old = pd.concat([table(1.0), table(1.0, metric="other")], ignore_index=True)
    new = old.assign(value=[1.01, 1.01])
    near = [new.assign(value=[1.0112, 1.01]), new.assign(value=[1.01, 1.0112]), new]
    assert named("question", old, new) == ["accuracy"] * 2
    for known, metrics in ((near[:1], ["other"]), (near[1:], ["share"]), (near, []), (near[2:], ["share", "other"])):
        assert named("metric", old, new, known) == metrics
    assert not named("step", table(1.0, 2.0), table(1.01, 2.0), [table(1.01, 2.002)])
    assert len(named("step", table(0.0), table(NAN), [table(NAN)])) == 1


def test_rounding_moves_each_weight_to_a_neighbour_and_a_zero_nowhere() -> None:
    """What is measured beside the network is the network but for the last bit; the network itself is left alone."""
    layer = torch.nn.Linear(40, 3)
    with torch.no_grad():
        layer.bias.zero_()
    weight = layer.weight.detach().clone()
    subject = replace(reader("reader"), network=replace(NETWORK, model=layer))
    (moved,), (other,) = (verify.rounded([subject], seed) for seed in (0, 1))
    assert layer.weight.equal(weight)
    there = moved.model.state_dict()
    assert there["bias"].count_nonzero() == 0
    apart = (there["weight"] - weight).abs()
    assert apart.min() > 0
    assert torch.all(apart <= torch.finfo(torch.float32).eps * weight.abs())
    assert 0.2 < (there["weight"] > weight).float().mean() < 0.8
    assert not there["weight"].equal(other.model.state_dict()["weight"])


def test_a_measurement_that_rounding_decides_is_told_from_a_changed_one(tmp_path: Path) -> None:
    """A value that hangs on the last bit of the weights may differ; one that does not may not."""

    def made(chaotic: float, steady: float) -> Study:
        def measure(subjects: Iterable[Subject]) -> Iterator[dict[str, Any]]:
            for one in subjects:
                last_bits = sum(each.double().sum().item() for each in one.model.parameters()) * 1e9 % 1
                yield measurement("sizes", "chaotic", one.network, chaotic + last_bits)
                yield measurement("sizes", "steady", one.network, steady)

        subjects = [reader(name, "planted", name) for name in "12"]
        return Study.of(subjects, questions=[Question("sizes", "How large?", measure)], version=1)

    path = tmp_path / "all.csv.xz"
    made(7.0, 8.0).measure(path, parts=tmp_path)
    (same, _), (rounded,) = (list(made(by, 8.0).verify(path, which)) for by, which in ((7.0, None), (7.2, ["1"])))
    assert (same.values, same.rounded, same.faults) == (2, 0, ())
    assert (rounded.rounded, rounded.faults) == (1, ())
    ((fault,),) = (one.faults for one in made(7.0, 9.0).verify(path, ["2"]))
    assert fault.startswith("2: sizes (version 1) moved in 1 of 2 values: steady of 2: 8 before, 9 now. If what it ")
    with refused():
        list(made(7.0, 8.0).verify(path, ["3"]))


NETWORKS = {"counter/seed-0": "a" * 16 + "+" + "b" * 16}
#: In the order in which a page tells them.
VERSIONS = {"accuracy": 1, "routes": 1, "programs": 1}


def rows(question: str, *values: float) -> pd.DataFrame:
    """Return measurements of a question, with all that a table can hold."""
    return tabulate(
        measurement(question, "share", NETWORK, value, signal="cell_state", units=units, step=step)
        for value, units, step in zip(values, ["0", "01", "nan", "NA", ""], [0, None, 3, 4, None], strict=False)
    )


def group(networks: dict[str, str] = NETWORKS, version: int = 1, /, **values: tuple[float, ...]) -> Measured:
    """Return values as they would have been measured here."""
    made = {"commit": "abc"}
    return Measured(networks, {name: Answer(version, rows(name, *each), made) for name, each in values.items()})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store that holds one answer in its file."""
    _ = write(tmp_path / "measured" / "counter.csv.xz", {"seed-0": group(accuracy=(0.5,))})
    return Store(tmp_path / "measured" / "counter.csv.xz", tmp_path / "parts")


def held(store: Store) -> dict[str, list[float]]:
    """Return the values in a store's file of one group."""
    return {name: table["value"].tolist() for name, table in read(store.path)["seed-0"].tables.items()}


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Nine digits, words like missing numbers, gaps, infinities, no rows; each group's rows in their order."""
    odd = (1 / 3, -1e-12, float("nan"), float("inf"), 12345678.9)
    groups = {
        "seed-1": group({"counter/seed-1": "x"}, accuracy=(5.0, 3.0, 4.0), routes=(9.0,)),
        "seed-0": group(programs=(), accuracy=odd, routes=(2.0,)),
        "seed-2": Measured({"counter/seed-2": "y"}),
    }
    path = write(tmp_path / "counter.csv.xz", groups)
    found = read(path)
    assert list(found) == list(groups)
    assert list(found["seed-0"].tables) == ["accuracy", "programs", "routes"]
    for member, each in groups.items():
        assert found[member].networks == each.networks
        assert {(one.version, one.made["commit"]) for one in found[member].answers.values()} <= {(1, "abc")}
        for question, table in each.tables.items():
            assert_frame_equal(found[member].tables[question], table, rtol=1e-8, atol=0)
    assert list(found["seed-0"].tables["programs"].columns) == list(COLUMNS)
    assert path.read_bytes() == write(tmp_path / "again.csv.xz", found).read_bytes()


def test_no_changed_byte_goes_unseen(store: Store) -> None:
    """Each one in turn, ways of cutting the file short, and edits of what it holds; the message says what to do."""
    good = store.path.read_bytes()
    text = lzma.decompress(good).decode()
    wrong = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(len(good))]
    wrong += [good[:end] for end in range(0, len(good), 7)]
    for old, new in ((",0.5", ",0.9"), ("aaaa", "cccc"), ("planted", "other"), ('"made"', '"m"')):
        assert old in text
        wrong.append(lzma.compress(text.replace(old, new).encode()))
    wrong += [lzma.compress(one) for one in (b"", b"[]\n", b'{"made": []}\n', b'{"sha256": "0", "groups": {}}\nx\n')]
    for data in wrong:
        assert store.path.write_bytes(data) == len(data)
        with pytest.raises(ProbeError, match=r"csv.xz' cannot be read as measurements.*Remove it and measure again"):
            read(store.path)
    store.path.unlink()
    with refused():
        read(store.path)


def test_parts_are_packed_beside_what_the_file_holds(store: Store) -> None:
    """New answers of a group join its old ones, which stay, as do other groups, parts of others and later answers."""
    write(store.path, {"seed-0": group(accuracy=(0.5,), routes=(1.0,)), "seed-5": group({"e": "5"})})
    asked = {"seed-0": NETWORKS, "seed-10": {"counter/seed-10": "x"}, "seed-2": {"counter/seed-2": "y"}}
    for member in ("seed-10", "seed-2"):
        store.add(member, group(asked[member], accuracy=(1.0,)))
    part = store.add("seed-0", group(programs=(2.0,)))
    assert store.add("seed-0", group(accuracy=(0.25,))) == part  # as a second command does meanwhile
    with locked(part.parent), pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "PATIENCE", 0.0)
        for work in (lambda: store.add("seed-0", group()), lambda: store.pack(asked, VERSIONS)):
            with refused():
                work()
    left = store.add("seed-77", group({"counter/seed-77": "z"}, accuracy=(1.0,)))
    store.pack(asked, VERSIONS)
    assert list(read(store.path)) == ["seed-0", "seed-2", "seed-5", "seed-10"]
    assert held(store) == {"accuracy": [0.5], "routes": [1.0], "programs": [2.0]}
    assert list(left.parent.glob("*.xz")) == [left]


def test_what_does_not_count_takes_nothing_away(store: Store) -> None:
    """Parts of another version, of other weights or damaged go; nothing goes over a damaged file."""
    for number, (networks, version) in enumerate([(NETWORKS, 0), ({"counter/seed-0": "x"}, 1), (NETWORKS, 1)]):
        part = store.add("seed-0", group(networks, version, accuracy=(0.1,)))
        _ = part.write_bytes(b"broken") if number == 2 else None
        assert "accuracy" in store.held("seed-0", NETWORKS, VERSIONS).tables
        store.pack({"seed-0": NETWORKS}, VERSIONS)
        assert held(store) == {"accuracy": [0.5]}
        assert not part.exists()
    store.path.write_bytes(store.path.read_bytes()[:-9])
    part = store.add("seed-1", group(accuracy=(1.0,)))
    with refused():
        store.pack({"seed-1": NETWORKS}, VERSIONS)
    assert part.exists()
