"""Measurements on disk: back as written, refused for other weights, inputs or versions, safe from kills."""

from __future__ import annotations

import dataclasses
import json
import lzma
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from analyses import accuracy, command, common, measured, programs, study
from analyses.measured import Measured
from models import parallel
from models.checkpoints import weights_digest
from models.counter import Coded
from models.parallel import locked
from probe import ProbeError
from probe.evidence.measurements import COLUMNS, Network, measurement, tabulate

REPOSITORY = Path(__file__).parents[2]
NETWORKS = {"counter/seed-0": "a" * 16 + "+" + "b" * 16}
NETWORK = common.planted_networks(("ones-alone",))[0]


def rows(question: str, *values: float) -> pd.DataFrame:
    """Return measurements of a question, with all that a table can hold."""
    return tabulate(
        measurement(question, "share", NETWORK, value, signal="cell_state", units=units, step=step)
        for value, units, step in zip(values, ["0", "01", "nan", "NA", ""], [0, None, 3, 4, None], strict=False)
    )


def group(networks: dict[str, str] = NETWORKS, /, **tables: pd.DataFrame) -> Measured:
    """Return tables as they would have been measured here."""
    versions = {question: measured.version_of(question) for question in tables}
    return Measured(networks, versions, tables, {question: {"commit": "abc"} for question in tables})


def written(folder: Path, **tables: pd.DataFrame) -> Path:
    """Write tables of one group as a population's file."""
    return measured.write(folder / "counter.csv.xz", {"seed-0": group(**tables)})


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Nine digits, words that look like missing numbers, missing steps, infinities, and a table without rows."""
    first = rows("accuracy", 1 / 3, -1e-12, float("nan"), float("inf"), 12345678.9)
    path = written(tmp_path, programs=rows("programs"), accuracy=first, routes=rows("routes", 2.0))
    found = measured.read(path)["seed-0"]
    assert list(found.tables) == ["accuracy", "routes", "programs"]
    assert found.networks == NETWORKS
    assert found.versions == {question: measured.version_of(question) for question in found.tables}
    assert found.made["routes"] == {"commit": "abc"}
    assert_frame_equal(found.tables["accuracy"], first, rtol=1e-8, atol=0)
    assert_frame_equal(found.tables["routes"], rows("routes", 2.0))
    assert list(found.tables["programs"].columns) == list(COLUMNS)
    assert len(found.tables["programs"]) == 0
    assert path.read_bytes() == written(tmp_path / "again", **found.tables).read_bytes()


def test_each_group_of_a_file_keeps_its_own_rows_in_their_order(tmp_path: Path) -> None:
    """In the file the rows of all groups stand interleaved, also where one has more of them than another."""
    groups = {
        "seed-1": group(
            {"counter/seed-1": "x"}, accuracy=rows("accuracy", 5.0, 3.0, 4.0), routes=rows("routes", 9.0)
        ),
        "seed-0": group(accuracy=rows("accuracy", 2.0)),
        "seed-2": Measured({"counter/seed-2": "y"}),
    }
    found = measured.read(measured.write(tmp_path / "counter.csv.xz", groups))
    assert list(found) == ["seed-1", "seed-0", "seed-2"]
    for member, each in groups.items():
        assert found[member].networks == each.networks
        assert list(found[member].tables) == list(each.tables)
        for question, table in each.tables.items():
            assert_frame_equal(found[member].tables[question], table)


def test_no_changed_byte_goes_unseen(tmp_path: Path) -> None:
    """Each one in turn, and each way of cutting the file short; the message names the file and what to do."""
    path = written(tmp_path, accuracy=rows("accuracy", 0.5, 0.25))
    good = path.read_bytes()
    changed = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(len(good))]
    cut = [good[:end] for end in range(0, len(good), 7)]
    for number, data in enumerate([*changed, *cut]):
        damaged = tmp_path / f"{number}-counter.csv.xz"
        assert damaged.write_bytes(data) == len(data)
        with pytest.raises(ProbeError, match=r"counter.csv.xz' cannot be read as measurements.*`make study`"):
            measured.read(damaged)
    path.unlink()
    with pytest.raises(
        ProbeError, match=r"counter.csv.xz' cannot be read as measurements.*No such file.*`make study`"
    ):
        measured.read(path)


@pytest.mark.parametrize(
    "text", ["", "{}\n", "[]\n", '{"groups": {}, "made": []}\n', "no JSON\n", '{"sha256": "0", "groups": {}}\nx\n']
)
def test_a_file_that_is_none_of_measurements_is_refused(text: str, tmp_path: Path) -> None:
    """Whole by its own check, and still not what `write` wrote."""
    path = tmp_path / "counter.csv.xz"
    assert path.write_bytes(lzma.compress(text.encode()))
    with pytest.raises(ProbeError, match="`make study` does"):
        measured.read(path)


@pytest.mark.parametrize(
    ("old", "new"), [(",0.5", ",0.9"), ("aaaa", "cccc"), ("planted", "other"), ('"made"', '"m"')]
)
def test_a_file_that_was_edited_is_refused(old: str, new: str, tmp_path: Path) -> None:
    """The sum in the first line is that of all the rest: of the table, and of whose and in which version it is."""
    path = written(tmp_path, accuracy=rows("accuracy", 0.5))
    text = lzma.decompress(path.read_bytes()).decode()
    assert old in text
    assert path.write_bytes(lzma.compress(text.replace(old, new).encode()))
    with pytest.raises(ProbeError, match="its content is not what was written"):
        measured.read(path)


def test_what_another_process_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    """Two commands measure two questions of one group: the later one takes nothing away from the earlier."""
    path = measured.add(tmp_path, "counter", "seed-0", group(programs=rows("programs", 1.0)))
    assert measured.add(tmp_path, "counter", "seed-0", group(accuracy=rows("accuracy", 0.5))) == path
    assert list(measured.read(path)["seed-0"].tables) == ["accuracy", "programs"]
    with locked(path.parent), pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "PATIENCE", 0.0)
        with pytest.raises(ProbeError, match="Another process is writing measurements in"):
            measured.add(tmp_path, "counter", "seed-0", group(accuracy=rows("accuracy", 0.5)))
        with pytest.raises(ProbeError, match="Another process is writing measurements in"):
            measured.pack(tmp_path / "packed", tmp_path, "counter", {"seed-0": NETWORKS})


def test_parts_are_packed_beside_what_the_file_holds(tmp_path: Path) -> None:
    """New answers of a group join its old ones, which stay, as do other groups and parts of others."""
    folder, parts = tmp_path / "measured", tmp_path / "parts"
    old = {"seed-0": group(accuracy=rows("accuracy", 0.5), routes=rows("routes", 1.0)), "seed-5": group({"e": "5"})}
    measured.write(folder / "counter.csv.xz", old)
    asked = {"seed-0": NETWORKS, "seed-10": {"counter/seed-10": "x"}, "seed-2": {"counter/seed-2": "y"}}
    for member in ("seed-10", "seed-2"):
        measured.add(parts, "counter", member, group(asked[member], accuracy=rows("accuracy", 1.0)))
    measured.add(parts, "counter", "seed-0", group(accuracy=rows("accuracy", 0.25), programs=rows("programs", 2.0)))
    left = measured.add(parts, "counter", "seed-77", group({"counter/seed-77": "z"}, accuracy=rows("accuracy", 1.0)))
    assert measured.pack(folder, parts, "counter", asked) == 3
    found = measured.read(folder / "counter.csv.xz")
    assert list(found) == ["seed-0", "seed-2", "seed-5", "seed-10"]
    values = {name: table["value"].tolist() for name, table in found["seed-0"].tables.items()}
    assert values == {"accuracy": [0.5], "routes": [1.0], "programs": [2.0]}
    assert list((parts / "counter").glob("*.xz")) == [left]
    assert measured.pack(folder, parts, "counter", asked) == 0


@pytest.mark.parametrize("wrong", ["another version", "other weights", "damaged"])
def test_a_part_that_does_not_count_takes_nothing_away(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was left by an interrupted command of another checkout: the file's answers stay, and the part goes."""
    folder, parts = tmp_path / "measured", tmp_path / "parts"
    written(folder, accuracy=rows("accuracy", 0.5))
    with monkeypatch.context() as patch:
        patch.setattr(accuracy, "VERSION", 0 if wrong == "another version" else 1)
        networks = {"counter/seed-0": "other"} if wrong == "other weights" else NETWORKS
        part = measured.add(parts, "counter", "seed-0", group(networks, accuracy=rows("accuracy", 0.1)))
    if wrong == "damaged":
        part.write_bytes(b"broken")
    assert measured.held(folder, parts, "counter", "seed-0", NETWORKS).missing(NETWORKS, ["accuracy"]) == []
    assert measured.pack(folder, parts, "counter", {"seed-0": NETWORKS}) == 1
    assert measured.read(folder / "counter.csv.xz")["seed-0"].tables["accuracy"]["value"].tolist() == [0.5]
    assert not part.exists()


def test_a_damaged_file_is_not_packed_over(tmp_path: Path) -> None:
    """It may be restored; the parts stay where they are."""
    folder, parts = tmp_path / "measured", tmp_path / "parts"
    path = written(folder, accuracy=rows("accuracy", 0.5))
    path.write_bytes(path.read_bytes()[:-9])
    part = measured.add(parts, "counter", "seed-1", group({"counter/seed-1": "x"}, accuracy=rows("accuracy", 1.0)))
    with pytest.raises(ProbeError, match=r"counter.csv.xz' cannot be read as measurements"):
        measured.pack(folder, parts, "counter", {"seed-1": {"counter/seed-1": "x"}})
    assert part.exists()
    with pytest.raises(ProbeError, match=r"counter.csv.xz' cannot be read as measurements"):
        measured.held(folder, parts, "counter", "seed-0", NETWORKS)


def test_a_worker_with_another_version_measures_nothing(tmp_path: Path) -> None:
    """On a cluster it may have been started before an edit; it would measure what is then thrown away, for ever."""
    (one,) = study.groups("hidden-1", [0])
    with pytest.raises(ProbeError, match=r"A worker has another version.*of accuracy: .*Start the workers again"):
        study.measure(one, tmp_path, tmp_path / "parts", ["accuracy"], {"accuracy": 99})
    assert list(tmp_path.iterdir()) == []
    versions = {"accuracy": measured.version_of("accuracy")}
    assert study.measure(one, tmp_path, tmp_path / "parts", ["accuracy"], versions) == ["accuracy"]


def test_tables_of_several_groups_stand_below_each_other(tmp_path: Path) -> None:
    """Also where a group has no rows of a question; types stay."""
    first = written(tmp_path / "a", accuracy=rows("accuracy", 0.5), programs=rows("programs", 1.0))
    second = written(tmp_path / "b", accuracy=rows("accuracy"), programs=rows("programs", 2.0, 3.0))
    tables = measured.gather([(first, "seed-0", NETWORKS), (second, "seed-0", NETWORKS)], ["programs", "accuracy"])
    assert list(tables) == ["programs", "accuracy"]
    assert tables["programs"]["value"].tolist() == [1, 2, 3]
    assert tables["accuracy"]["value"].tolist() == [0.5]
    assert tables["accuracy"].dtypes.equals(rows("accuracy", 0.5).dtypes)


def test_what_was_measured_of_other_networks_or_in_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message names the file, what is wrong with it, and `make study`."""
    path = written(tmp_path, accuracy=rows("accuracy", 0.5))
    with pytest.raises(
        ProbeError,
        match=r"counter.csv.xz' holds nothing that was measured of counter/seed-0 with the weights and inputs",
    ):
        measured.gather([(path, "seed-0", {"counter/seed-0": "c"})], ["accuracy"])
    with pytest.raises(ProbeError, match=r"holds nothing that was measured of counter/seed-0, control.*`make study`"):
        measured.gather([(path, "seed-0", {**NETWORKS, "control": "a"})], ["accuracy"])
    with pytest.raises(ProbeError, match=r"holds nothing that was measured of counter/seed-0"):
        measured.gather([(path, "seed-1", NETWORKS)], ["accuracy"])
    with pytest.raises(
        ProbeError, match=r"lacks answers of seed-0: programs \(version 1; there: none\)\. `make study`"
    ):
        measured.gather([(path, "seed-0", NETWORKS)], ["accuracy", "programs"])
    monkeypatch.setattr(accuracy, "VERSION", 7)
    with pytest.raises(ProbeError, match=r"lacks answers of seed-0: accuracy \(version 7; there: 1\)\. `make study`"):
        measured.gather([(path, "seed-0", NETWORKS)], ["accuracy"])


def test_what_is_right_is_kept_and_the_rest_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question in another version is missing alone; of other networks all are; a damaged part is nothing."""
    folder, parts = tmp_path / "measured", tmp_path / "parts"
    asked = ["accuracy", "routes", "programs"]
    written(folder, accuracy=rows("accuracy", 0.5), programs=rows("programs", 1.0))
    known = measured.held(folder, parts, "counter", "seed-0", NETWORKS)
    assert known.missing(NETWORKS, asked) == ["routes"]
    assert_frame_equal(known.tables["programs"], rows("programs", 1.0))
    part = measured.add(parts, "counter", "seed-0", group(routes=rows("routes", 2.0)))
    assert measured.held(folder, parts, "counter", "seed-0", NETWORKS).missing(NETWORKS, asked) == []
    other = {"counter/seed-0": "c"}
    assert measured.held(folder, parts, "counter", "seed-0", other).missing(other, asked) == asked
    monkeypatch.setattr(programs, "VERSION", 2)
    assert measured.held(folder, parts, "counter", "seed-0", NETWORKS).missing(NETWORKS, asked) == ["programs"]
    part.write_bytes(part.read_bytes()[:-9])
    assert measured.held(folder, parts, "counter", "seed-0", NETWORKS).missing(NETWORKS, asked) == [
        "routes",
        "programs",
    ]
    assert measured.held(tmp_path / "no", parts, "counter", "seed-0", NETWORKS).missing(NETWORKS, asked) == asked


def digest(network: Network) -> str:
    """Return what a network is known by."""
    return measured.digests([network])[network.name]


@pytest.mark.parametrize("field", ["train", "test", "asked"])
def test_a_network_is_known_by_all_that_a_measurement_follows_from(field: str) -> None:
    """Another split gives another error on test strings with the same weights and the same code."""
    network = common.group("hidden-1", 0)[0]
    assert isinstance(network, common.Studied)
    others = {"train": network.test, "test": network.train, "asked": "template"}
    other = dataclasses.replace(network, **{field: others[field]})
    assert digest(other) != digest(network)
    assert digest(network).startswith(f"{weights_digest(network.model)[:16]}+")
    # What it is called, and how it is shown, is no part of what was measured.
    shown = dataclasses.replace(network, subject="trained", name="x", detail=True, checkpoint=True)
    assert measured.digests([shown])["x"] == digest(network)


def test_a_network_is_known_by_the_code_in_which_it_reads_its_bits() -> None:
    """-1 and +1 or 0 and 2: the same weights."""
    given = [Coded(NETWORK.model, zero=zero, one=one) for zero, one in ((-1.0, 1.0), (0.0, 2.0), (-1.0, 1.0))]
    first, second, again = (digest(common.Studied("a", "other", model)) for model in given)
    assert first == again
    assert first.partition("+")[0] == second.partition("+")[0]
    assert first != second


def test_computed_weights_may_be_rounded_otherwise_and_others_may_not() -> None:
    """MKL's tanh gives another last bit on another processor, which must be able to read what was measured here."""
    controls = {network.subject: network for network in common.group("counter", 0)}
    networks = {"planted": NETWORK, **controls}
    for subject, network in networks.items():
        before, bias = digest(network), network.model.get_parameter("head.bias").detach()
        was = bias.clone()
        bias.copy_(torch.nextafter(bias, torch.full_like(bias, 100.0)))
        assert not torch.equal(bias, was)
        assert (digest(network) == before) == (subject in ("planted", "readout"))
        bias.copy_(was)
        weight = network.model.get_parameter("lstm.weight_hh_l0").detach()
        was = weight.clone()
        weight.copy_(torch.nextafter(weight, torch.full_like(weight, 100.0)))
        assert (digest(network) == before) == (subject == "planted")
        weight.copy_(was)
        bias.mul_(1.001)
        assert digest(network) != before


def test_nothing_is_doubled_when_a_group_is_measured_twice(tmp_path: Path) -> None:
    """Not the second time, not with a question more, and in the order of the questions whichever came first."""
    (one,) = study.groups("hidden-1", [0])
    path = tmp_path / "parts" / "hidden-1" / "seed-0.csv.xz"
    assert study.measure(one, tmp_path, tmp_path / "parts", ["other_lengths"]) == ["other_lengths"]
    assert study.measure(one, tmp_path, tmp_path / "parts") == ["accuracy"]
    once = path.read_bytes()
    assert study.measure(one, tmp_path, tmp_path / "parts") == []
    assert path.read_bytes() == once
    tables = measured.read(path)["seed-0"].tables
    assert list(tables) == ["accuracy", "other_lengths"]
    for table in tables.values():
        assert not table.duplicated(list(COLUMNS[:-1])).any()
    assert study.measure(one, tmp_path, tmp_path / "at once") == ["accuracy", "other_lengths"]
    assert (tmp_path / "at once" / "hidden-1" / "seed-0.csv.xz").read_bytes() == once
    digests = measured.digests(one.networks())
    assert measured.pack(tmp_path, tmp_path / "parts", "hidden-1", {one.member: digests}) == 1
    assert study.measure(one, tmp_path, tmp_path / "parts") == []
    assert [path.name for path in (tmp_path / "parts" / "hidden-1").iterdir()] == [".lock"]


def test_a_damaged_part_is_measured_anew(tmp_path: Path) -> None:
    """The last good one comes back, byte by byte."""
    (one,) = study.groups("hidden-1", [0])
    assert study.measure(one, tmp_path, tmp_path / "parts", ["accuracy"]) == ["accuracy"]
    path = tmp_path / "parts" / "hidden-1" / "seed-0.csv.xz"
    good = path.read_bytes()
    assert path.write_bytes(good[:100])
    assert study.measure(one, tmp_path, tmp_path / "parts", ["accuracy"]) == ["accuracy"]
    assert path.read_bytes() == good


#: `python -m analyses accuracy`, which is slow to put its second file into place.
SLOW = """
import os, sys, time
from analyses import command

replace, placed = os.replace, []

def slow(*paths):
    if placed:
        print("in the middle", flush=True)
        time.sleep(60)
    placed.append(replace(*paths))

os.replace = slow
sys.exit(command.run(["accuracy", *sys.argv[1:]]))
"""


def test_killed_in_the_middle_and_run_again_it_leaves_what_an_uninterrupted_run_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9 while the second of three files is written: the first stays, and the same command makes the others."""
    words = ["--recipe", "counter", "--seeds", "0:3", "--measured"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *words, str(killed)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    left, good = sorted(path.name for path in killed.rglob("*.xz*"))
    assert left.startswith(".seed-1.csv.xz.")
    assert good == "seed-0.csv.xz"
    for folder, done in ((killed, 2), (whole, 3), (killed, 0)):
        assert command.run(["accuracy", *words, str(folder)]) == 0
        assert capsys.readouterr().out == f"{folder}: {done} of 3 groups of counter measured, {3 - done} were there\n"
    files = [{path.name: path.read_bytes() for path in folder.rglob("*.xz*")} for folder in (killed, whole)]
    assert files[0] == files[1]
    assert list(files[0]) == ["counter.csv.xz"]
    head = json.loads(lzma.decompress(files[0]["counter.csv.xz"]).decode().partition("\n")[0])
    assert list(head["groups"]) == ["seed-0", "seed-1", "seed-2"]
    assert sorted(head["groups"]["seed-2"]["networks"]) == [
        f"counter/seed-2{control}" for control in ("", "/readout", "/untrained")
    ]
    assert {"commit", "torch", "numpy"} <= set(head["made"][0])
