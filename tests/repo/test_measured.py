"""Measurements on disk: back as they were written, refused where weights or code are others, safe from kills."""

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

from analyses import command, common, measured, study
from analyses.measured import Measured
from models import locks
from models.counter import Coded
from models.locks import locked
from probe import ProbeError
from probe.measurements import COLUMNS, Network, measurement, tabulate

REPOSITORY = Path(__file__).parents[2]
WEIGHTS = {"counter/seed-0": "a" * 64}
NETWORK = common.planted_networks(("ones-alone",))[0]


def rows(question: str, *values: float) -> pd.DataFrame:
    """Return measurements of a question, with all that a table can hold."""
    return tabulate(
        measurement(question, "share", NETWORK, value, signal="cell_state", units=units, step=step)
        for value, units, step in zip(values, ["0", "01", "nan", "NA", ""], [0, None, 3, 4, None], strict=False)
    )


def written(folder: Path, **tables: pd.DataFrame) -> Path:
    """Write tables as the code that is here would have measured them."""
    code = {question: measured.code_of(question) for question in tables}
    return measured.write(folder / "counter" / "seed-0.csv.xz", Measured(WEIGHTS, code, tables))


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Nine digits, words that look like missing numbers, missing steps, infinities, and a table without rows."""
    first = rows("accuracy", 1 / 3, -1e-12, float("nan"), float("inf"), 12345678.9)
    path = written(tmp_path, accuracy=first, programs=rows("programs"), routes=rows("routes", 2.0))
    found = measured.read(path)
    assert list(found.tables) == ["accuracy", "programs", "routes"]
    assert found.weights == WEIGHTS
    assert found.code == {question: measured.code_of(question) for question in found.tables}
    assert_frame_equal(found.tables["accuracy"], first, rtol=1e-8, atol=0)
    assert_frame_equal(found.tables["routes"], rows("routes", 2.0))
    assert list(found.tables["programs"].columns) == list(COLUMNS)
    assert len(found.tables["programs"]) == 0
    assert path.read_bytes() == written(tmp_path / "again", **found.tables).read_bytes()


def test_a_file_without_questions_can_be_written_and_read(tmp_path: Path) -> None:
    """A group of which nothing was asked is no special case."""
    found = measured.read(measured.write(tmp_path / "seed-0.csv.xz", Measured(WEIGHTS)))
    assert (found.tables, found.code, found.weights) == ({}, {}, WEIGHTS)


def test_no_changed_byte_goes_unseen(tmp_path: Path) -> None:
    """Each one in turn, and each way of cutting the file short; the message names the file and what to do."""
    path = written(tmp_path, accuracy=rows("accuracy", 0.5, 0.25))
    good = path.read_bytes()
    changed = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(len(good))]
    cut = [good[:end] for end in range(0, len(good), 7)]
    for data in [*changed, *cut]:
        assert path.write_bytes(data) == len(data)
        with pytest.raises(ProbeError, match=r"seed-0.csv.xz' cannot be read as measurements.*`make study`"):
            measured.read(path)
    path.unlink()
    with pytest.raises(
        ProbeError, match=r"seed-0.csv.xz' cannot be read as measurements.*No such file.*`make study`"
    ):
        measured.read(path)


@pytest.mark.parametrize(
    "text", ["", "{}\n", "[]\n", '{"weights": {}, "code": {}}\n', "no JSON\n", '{"sha256": "0", "code": {}}\nx\n']
)
def test_a_file_that_is_none_of_measurements_is_refused(text: str, tmp_path: Path) -> None:
    """Whole by its own check, and still not what `write` wrote."""
    path = tmp_path / "seed-0.csv.xz"
    assert path.write_bytes(lzma.compress(text.encode()))
    with pytest.raises(ProbeError, match="`make study` does"):
        measured.read(path)


@pytest.mark.parametrize(
    ("old", "new"), [(",0.5", ",0.9"), ("aaaa", "bbbb"), ("planted", "other"), ('"code"', '"c"')]
)
def test_a_file_that_was_edited_is_refused(old: str, new: str, tmp_path: Path) -> None:
    """The sum in the first line is that of all the rest: of the table, and of whose and by which code it is."""
    path = written(tmp_path, accuracy=rows("accuracy", 0.5))
    text = lzma.decompress(path.read_bytes()).decode()
    assert old in text
    assert path.write_bytes(lzma.compress(text.replace(old, new).encode()))
    with pytest.raises(ProbeError, match="its content is not what was written"):
        measured.read(path)


def test_what_another_process_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    """Two commands measure two questions of one network: the later one takes nothing away from the earlier."""
    path = written(tmp_path, programs=rows("programs", 1.0))
    code = {"accuracy": measured.code_of("accuracy")}
    assert measured.add(path, Measured(WEIGHTS, code, {"accuracy": rows("accuracy", 0.5)})) == path
    assert list(measured.read(path).tables) == ["accuracy", "programs"]
    with locked(path.parent), pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "PATIENCE", 0.0)
        with pytest.raises(ProbeError, match="Another process is writing measurements in"):
            measured.add(path, Measured(WEIGHTS, code, {"accuracy": rows("accuracy", 0.5)}))


def test_a_worker_with_other_code_measures_nothing(tmp_path: Path) -> None:
    """On a cluster it may have been started before an edit; it would measure what is then thrown away, for ever."""
    (group,) = study.groups("hidden-1", [0])
    with pytest.raises(ProbeError, match=r"A worker has other code.*for accuracy: .*Start the workers again"):
        study.measure(group, tmp_path, ["accuracy"], {"accuracy": "of another checkout"})
    assert list(tmp_path.iterdir()) == []
    assert study.measure(group, tmp_path, ["accuracy"], {"accuracy": measured.code_of("accuracy")}) == ["accuracy"]


def test_tables_of_several_files_stand_below_each_other(tmp_path: Path) -> None:
    """Also where a file has no rows of a question; types stay."""
    first = written(tmp_path / "a", accuracy=rows("accuracy", 0.5), programs=rows("programs", 1.0))
    second = written(tmp_path / "b", accuracy=rows("accuracy"), programs=rows("programs", 2.0, 3.0))
    tables = measured.gather([(first, WEIGHTS), (second, WEIGHTS)], ["programs", "accuracy"])
    assert list(tables) == ["programs", "accuracy"]
    assert tables["programs"]["value"].tolist() == [1, 2, 3]
    assert tables["accuracy"]["value"].tolist() == [0.5]
    assert tables["accuracy"].dtypes.equals(rows("accuracy", 0.5).dtypes)


def test_what_was_measured_on_other_weights_or_by_other_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message names the file, what is wrong with it, and `make study`."""
    path = written(tmp_path, accuracy=rows("accuracy", 0.5))
    with pytest.raises(
        ProbeError, match=r"seed-0.csv.xz' was measured on other weights than those of counter/seed-0"
    ):
        measured.gather([(path, {"counter/seed-0": "b" * 64})], ["accuracy"])
    with pytest.raises(ProbeError, match=r"weights than those of counter/seed-0, twin, or they had.*`make study`"):
        measured.gather([(path, {**WEIGHTS, "twin": "a" * 64})], ["accuracy"])
    with pytest.raises(ProbeError, match=r"seed-0.csv.xz' was measured by other code.*: programs\. `make study`"):
        measured.gather([(path, WEIGHTS)], ["accuracy", "programs"])
    monkeypatch.setattr(measured, "code_of", lambda question: "other")
    with pytest.raises(ProbeError, match=r"seed-0.csv.xz' was measured by other code.*: accuracy\. `make study`"):
        measured.gather([(path, WEIGHTS)], ["accuracy"])


def test_what_is_right_in_a_file_is_kept_and_the_rest_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question by other code is dropped alone; of other weights, or damaged, nothing is kept."""
    path = written(tmp_path, accuracy=rows("accuracy", 0.5), programs=rows("programs", 1.0))
    asked = ["accuracy", "routes", "programs"]
    known, wanted = measured.missing(path, WEIGHTS, asked)
    assert (list(known.tables), list(known.code), wanted) == (
        ["accuracy", "programs"],
        ["accuracy", "programs"],
        ["routes"],
    )
    assert_frame_equal(known.tables["programs"], rows("programs", 1.0))
    # What is not asked now is kept for who asks later.
    assert list(measured.missing(path, WEIGHTS, ["routes"])[0].tables) == ["accuracy", "programs"]
    known, wanted = measured.missing(path, {"counter/seed-0": "b" * 64}, asked)
    assert (dict(known.tables), known.weights, wanted) == ({}, {"counter/seed-0": "b" * 64}, asked)
    was = measured.code_of
    monkeypatch.setattr(measured, "code_of", lambda question: "new" if question == "programs" else was(question))
    known, wanted = measured.missing(path, WEIGHTS, asked)
    assert (list(known.tables), list(known.code), wanted) == (["accuracy"], ["accuracy"], ["routes", "programs"])
    assert path.write_bytes(path.read_bytes()[:-9])
    assert measured.missing(path, WEIGHTS, asked)[1] == asked
    assert measured.missing(tmp_path / "nothing.csv.xz", WEIGHTS, asked)[1] == asked


def digest(network: Network) -> str:
    """Return what a network is known by."""
    return measured.weights_of([network])[network.name]


@pytest.mark.parametrize("field", ["subject", "seed", "train", "test", "asked", "name"])
def test_a_network_is_known_by_all_that_a_measurement_follows_from(field: str) -> None:
    """Another split gives another error on test strings with the same weights and the same code."""
    network = common.group("hidden-1", 0)[0]
    assert isinstance(network, common.Studied)
    others = {
        "subject": "template",
        "seed": 7,
        "train": network.test,
        "test": network.train,
        "asked": "template",
        "name": "x",
    }
    other = dataclasses.replace(network, **{field: others[field]})
    assert measured.weights_of([other]) != measured.weights_of([network])
    assert digest(network).startswith(f"{common.weights_digest(network.model)}+")
    shown = dataclasses.replace(network, detail=True, checkpoint=True)
    assert digest(shown) == digest(network)


def test_a_network_is_known_by_the_code_in_which_it_reads_its_bits() -> None:
    """-1 and +1 or 0 and 2: the same weights."""
    given = [Coded(NETWORK.model, zero=zero, one=one) for zero, one in ((-1.0, 1.0), (0.0, 2.0), (-1.0, 1.0))]
    first, second, again = (digest(common.Studied("a", "other", model)) for model in given)
    assert first == again
    assert first.partition("+")[0] == second.partition("+")[0]
    assert first != second


def test_computed_weights_may_be_rounded_otherwise_and_others_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """MKL's tanh gives another last bit on another processor, which must be able to read what was measured here."""
    twins = {network.subject: network for network in common.group("counter", 0)}
    networks = {"planted": NETWORK, **twins}
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
        assert (digest(network) == before) == (subject == "planted")
    monkeypatch.setattr(measured, "planted_code", lambda: "b" * 64)
    assert digest(NETWORK).startswith("b" * 64)


def test_nothing_is_doubled_when_a_group_is_measured_twice(tmp_path: Path) -> None:
    """Not the second time, not with a question more, and in the order of the questions whichever came first."""
    (group,) = study.groups("hidden-1", [0])
    path = tmp_path / group.path
    assert study.measure(group, tmp_path, ["other_lengths"]) == ["other_lengths"]
    assert study.measure(group, tmp_path) == ["accuracy"]
    once = path.read_bytes()
    assert study.measure(group, tmp_path) == []
    assert path.read_bytes() == once
    tables = measured.read(path).tables
    assert list(tables) == ["accuracy", "other_lengths"]
    for table in tables.values():
        assert not table.duplicated(list(COLUMNS[:-1])).any()
    assert study.measure(group, tmp_path / "at once") == ["accuracy", "other_lengths"]
    assert (tmp_path / "at once" / group.path).read_bytes() == once


def test_a_damaged_file_is_measured_anew(tmp_path: Path) -> None:
    """The last good one comes back, byte by byte."""
    (group,) = study.groups("hidden-1", [0])
    assert study.measure(group, tmp_path) == ["accuracy", "other_lengths"]
    path = tmp_path / group.path
    good = path.read_bytes()
    assert path.write_bytes(good[:100])
    assert study.measure(group, tmp_path) == ["accuracy", "other_lengths"]
    assert path.read_bytes() == good


#: `python -m analyses.accuracy`, which is slow to put its second file into place.
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
sys.exit(command.run(["accuracy"], "python -m analyses.accuracy", sys.argv[1:]))
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
    left, good = sorted(path.name for path in killed.rglob("*.*"))
    assert left.startswith(".seed-1.csv.xz.")
    assert good == "seed-0.csv.xz"
    for folder, done in ((killed, 2), (whole, 3), (killed, 0)):
        assert command.run(["accuracy"], "test", [*words, str(folder)]) == 0
        assert capsys.readouterr().out == f"{folder / 'counter'} {done} of 3 measured, the others were there\n"
    files = [{path.name: path.read_bytes() for path in folder.rglob("*.*")} for folder in (killed, whole)]
    assert files[0] == files[1]
    assert len(files[0]) == 3
    head = json.loads(lzma.decompress(files[0]["seed-2.csv.xz"]).decode().partition("\n")[0])
    assert list(head["weights"]) == [f"counter/seed-2{twin}" for twin in ("", "/readout", "/untrained")]
