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
    assert path.read_bytes() == write(tmp_path / "again" / "counter.csv.xz", found).read_bytes()


def test_no_changed_byte_goes_unseen(store: Store) -> None:
    """Each one in turn, ways of cutting the file short, and edits of what it holds; the message says what to do."""
    good = store.path.read_bytes()
    text = lzma.decompress(good).decode()
    wrong = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(len(good))]
    wrong += [good[:end] for end in range(0, len(good), 7)]
    for old, new in ((",0.5", ",0.9"), ("aaaa", "cccc"), ("planted", "other"), ('"made"', '"m"')):
        assert old in text
        wrong.append(lzma.compress(text.replace(old, new).encode()))
    wrong += [
        lzma.compress(other) for other in (b"", b"[]\n", b'{"made": []}\n', b'{"sha256": "0", "groups": {}}\nx\n')
    ]
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
    part = store.add("seed-1", group({"counter/seed-1": "x"}, accuracy=(1.0,)))
    with refused():
        store.pack({"seed-1": {"counter/seed-1": "x"}}, VERSIONS)
    assert part.exists()
    with refused():
        store.held("seed-0", NETWORKS, VERSIONS)


def test_what_is_right_is_kept_and_the_rest_is_missing(store: Store, tmp_path: Path) -> None:
    """A question in another version is missing alone; of other networks all are; a damaged part is nothing."""

    def missing(networks: dict[str, str] = NETWORKS, **versions: int) -> list[str]:
        tables = store.held("seed-0", networks, VERSIONS | versions).tables
        return [name for name in VERSIONS if name not in tables]

    write(store.path, {"seed-0": group(accuracy=(0.5,), programs=(1.0,))})
    assert missing() == ["routes"]
    part = store.add("seed-0", group(routes=(2.0,)))
    assert missing() == []
    assert missing({"counter/seed-0": "c"}) == list(VERSIONS)
    assert missing(programs=2) == ["programs"]
    part.write_bytes(part.read_bytes()[:-9])
    assert missing(programs=2) == ["routes", "programs"]
    assert not Store(tmp_path / "no.csv.xz", part.parent).held("seed-0", NETWORKS, VERSIONS).tables
