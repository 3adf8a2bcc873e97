"""The store of a study's measurements: back as written, refused for other weights or versions, safe from kills."""

from __future__ import annotations

import lzma
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from refusing import refused
from torch import nn

from probe import ProbeError
from probe.evidence.measurements import COLUMNS, Network, measurement, tabulate
from probe.studies import workers
from probe.studies.store import Answer, Measured, Store, read, write
from probe.studies.workers import locked

NETWORKS = {"counter/seed-0": "a" * 16 + "+" + "b" * 16}
NETWORK = Network("ones-alone", "planted", nn.Identity())
#: In the order in which a page tells them.
VERSIONS = {"accuracy": 1, "routes": 1, "programs": 1}
ORDER = list(VERSIONS)


def rows(question: str, *values: float) -> pd.DataFrame:
    """Return measurements of a question, with all that a table can hold."""
    return tabulate(
        measurement(question, "share", NETWORK, value, signal="cell_state", units=units, step=step)
        for value, units, step in zip(values, ["0", "01", "nan", "NA", ""], [0, None, 3, 4, None], strict=False)
    )


def group(networks: dict[str, str] = NETWORKS, /, **tables: pd.DataFrame) -> Measured:
    """Return tables as they would have been measured here."""
    return Measured(networks, {name: Answer(VERSIONS[name], one, {"commit": "abc"}) for name, one in tables.items()})


def written(folder: Path, **tables: pd.DataFrame) -> Path:
    """Write tables of one group as a population's file."""
    return write(folder / "counter.csv.xz", {"seed-0": group(**tables)})


def missing(held: Measured) -> list[str]:
    """Return which questions were not measured, of all that there are."""
    return [name for name in VERSIONS if name not in held.tables]


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Nine digits, words that look like missing numbers, missing steps, infinities, and a table without rows."""
    first = rows("accuracy", 1 / 3, -1e-12, float("nan"), float("inf"), 12345678.9)
    path = written(tmp_path, programs=rows("programs"), accuracy=first, routes=rows("routes", 2.0))
    found = read(path)["seed-0"]
    assert list(found.tables) == ["accuracy", "programs", "routes"]
    assert found.networks == NETWORKS
    assert {(one.version, one.made["commit"]) for one in found.answers.values()} == {(1, "abc")}
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
    found = read(write(tmp_path / "counter.csv.xz", groups))
    assert list(found) == ["seed-1", "seed-0", "seed-2"]
    for member, each in groups.items():
        assert found[member].networks == each.networks
        assert list(found[member].tables) == list(each.tables)
        for question, table in each.tables.items():
            assert_frame_equal(found[member].tables[question], table)
    assert not read(write(tmp_path / "empty.csv.xz", {"seed-2": groups["seed-2"]}))["seed-2"].tables


def test_no_changed_byte_goes_unseen(tmp_path: Path) -> None:
    """Each one in turn, and each way of cutting the file short; the message names the file and what to do."""
    path = written(tmp_path, accuracy=rows("accuracy", 0.5, 0.25))
    good = path.read_bytes()
    changed = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(len(good))]
    cut = [good[:end] for end in range(0, len(good), 7)]
    for number, data in enumerate([*changed, *cut]):
        damaged = tmp_path / f"{number}-counter.csv.xz"
        assert damaged.write_bytes(data) == len(data)
        with pytest.raises(
            ProbeError, match=r"counter.csv.xz' cannot be read as measurements.*Remove it and measure again"
        ):
            read(damaged)
    path.unlink()
    with pytest.raises(ProbeError, match=r"counter.csv.xz' cannot be read as measurements.*No such file.*Remove it"):
        read(path)


@pytest.mark.parametrize(
    "text", ["", "{}\n", "[]\n", '{"groups": {}, "made": []}\n', "no JSON\n", '{"sha256": "0", "groups": {}}\nx\n']
)
def test_a_file_that_is_none_of_measurements_is_refused(text: str, tmp_path: Path) -> None:
    """Whole by its own check, and still not what `write` wrote."""
    path = tmp_path / "counter.csv.xz"
    assert path.write_bytes(lzma.compress(text.encode()))
    with refused():
        read(path)


@pytest.mark.parametrize(
    ("old", "new"), [(",0.5", ",0.9"), ("aaaa", "cccc"), ("planted", "other"), ('"made"', '"m"')]
)
def test_a_file_that_was_edited_is_refused(old: str, new: str, tmp_path: Path) -> None:
    """The sum in the first line is that of all the rest: of the table, and of whose and in which version it is."""
    path = written(tmp_path, accuracy=rows("accuracy", 0.5))
    text = lzma.decompress(path.read_bytes()).decode()
    assert old in text
    assert path.write_bytes(lzma.compress(text.replace(old, new).encode()))
    with refused():
        read(path)


def test_what_another_process_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    """Two commands measure two questions of one group: the later one takes nothing away from the earlier."""
    store = Store(tmp_path / "counter.csv.xz", tmp_path / "counter")
    path = store.add("seed-0", group(programs=rows("programs", 1.0)))
    assert store.add("seed-0", group(accuracy=rows("accuracy", 0.5))) == path
    assert list(read(path)["seed-0"].tables) == ["accuracy", "programs"]
    with locked(path.parent), pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "PATIENCE", 0.0)
        with refused():
            store.add("seed-0", group(accuracy=rows("accuracy", 0.5)))
        with refused():
            store.pack({"seed-0": NETWORKS}, VERSIONS)


def test_parts_are_packed_beside_what_the_file_holds(tmp_path: Path) -> None:
    """New answers of a group join its old ones, which stay, as do other groups and parts of others."""
    folder, parts = tmp_path / "measured", tmp_path / "parts"
    store = Store(folder / "counter.csv.xz", parts)
    old = {"seed-0": group(accuracy=rows("accuracy", 0.5), routes=rows("routes", 1.0)), "seed-5": group({"e": "5"})}
    write(folder / "counter.csv.xz", old)
    asked = {"seed-0": NETWORKS, "seed-10": {"counter/seed-10": "x"}, "seed-2": {"counter/seed-2": "y"}}
    for member in ("seed-10", "seed-2"):
        store.add(member, group(asked[member], accuracy=rows("accuracy", 1.0)))
    store.add("seed-0", group(accuracy=rows("accuracy", 0.25), programs=rows("programs", 2.0)))
    left = store.add("seed-77", group({"counter/seed-77": "z"}, accuracy=rows("accuracy", 1.0)))
    store.pack(asked, VERSIONS)
    found = read(folder / "counter.csv.xz")
    assert list(found) == ["seed-0", "seed-2", "seed-5", "seed-10"]
    values = {name: table["value"].tolist() for name, table in found["seed-0"].tables.items()}
    assert values == {"accuracy": [0.5], "routes": [1.0], "programs": [2.0]}
    assert list(parts.glob("*.xz")) == [left]


@pytest.mark.parametrize("wrong", ["another version", "other weights", "damaged"])
def test_a_part_that_does_not_count_takes_nothing_away(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was left by an interrupted command of another checkout: the file's answers stay, and the part goes."""
    folder, parts = tmp_path / "measured", tmp_path / "parts"
    store = Store(folder / "counter.csv.xz", parts)
    written(folder, accuracy=rows("accuracy", 0.5))
    with monkeypatch.context() as patch:
        patch.setitem(VERSIONS, "accuracy", 0 if wrong == "another version" else 1)
        networks = {"counter/seed-0": "other"} if wrong == "other weights" else NETWORKS
        part = store.add("seed-0", group(networks, accuracy=rows("accuracy", 0.1)))
    if wrong == "damaged":
        part.write_bytes(b"broken")
    assert "accuracy" in store.held("seed-0", NETWORKS, VERSIONS).tables
    store.pack({"seed-0": NETWORKS}, VERSIONS)
    assert read(folder / "counter.csv.xz")["seed-0"].tables["accuracy"]["value"].tolist() == [0.5]
    assert not part.exists()


def test_a_damaged_file_is_not_packed_over(tmp_path: Path) -> None:
    """It may be restored; the parts stay where they are."""
    folder, parts = tmp_path / "measured", tmp_path / "parts"
    store = Store(folder / "counter.csv.xz", parts)
    path = written(folder, accuracy=rows("accuracy", 0.5))
    path.write_bytes(path.read_bytes()[:-9])
    part = store.add("seed-1", group({"counter/seed-1": "x"}, accuracy=rows("accuracy", 1.0)))
    with refused():
        store.pack({"seed-1": {"counter/seed-1": "x"}}, VERSIONS)
    assert part.exists()
    with refused():
        store.held("seed-0", NETWORKS, VERSIONS)


def test_what_is_right_is_kept_and_the_rest_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question in another version is missing alone; of other networks all are; a damaged part is nothing."""
    folder, parts = tmp_path / "measured", tmp_path / "parts"
    store = Store(folder / "counter.csv.xz", parts)
    written(folder, accuracy=rows("accuracy", 0.5), programs=rows("programs", 1.0))
    known = store.held("seed-0", NETWORKS, VERSIONS)
    assert missing(known) == ["routes"]
    assert_frame_equal(known.tables["programs"], rows("programs", 1.0))
    part = store.add("seed-0", group(routes=rows("routes", 2.0)))
    assert missing(store.held("seed-0", NETWORKS, VERSIONS)) == []
    other = {"counter/seed-0": "c"}
    assert missing(store.held("seed-0", other, VERSIONS)) == ORDER
    monkeypatch.setitem(VERSIONS, "programs", 2)
    assert missing(store.held("seed-0", NETWORKS, VERSIONS)) == ["programs"]
    part.write_bytes(part.read_bytes()[:-9])
    assert missing(store.held("seed-0", NETWORKS, VERSIONS)) == [
        "routes",
        "programs",
    ]
    nowhere = Store(tmp_path / "no.csv.xz", parts).held("seed-0", NETWORKS, VERSIONS)
    assert missing(nowhere) == ORDER
