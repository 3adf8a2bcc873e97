"""Stored measurements: one file a population, each table tied to question, version, weights and inputs.

A file `NAME.csv.xz` is a line of JSON, and below it a table for each question, of all its networks, a line a column.
Each is compressed by itself, so that git keeps only what was measured again. While networks are measured, each group
of them (a network with its controls) has a part of the same form, `NAME/MEMBER.csv.xz`; `pack` puts finished parts
into the population's file.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import lzma
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from ..errors import ProbeError
from ..evidence.measurements import COLUMNS, TYPES
from ..storage.files import write_atomically
from .workers import locked

SUFFIX = ".csv.xz"
#: Nine digits are more than a difference between two machines leaves.
DIGITS = "%.9g"
#: One line holds a column of a whole population.
csv.field_size_limit(sys.maxsize)


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of a group.

    The digests of its networks by name; and by question its version, its table, and what measured it: libraries.
    """

    networks: Mapping[str, str]
    versions: Mapping[str, int | str] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    made: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)

    def counting(self, networks: Mapping[str, str], versions: Mapping[str, int | str]) -> Measured:
        """Return the part of it that counts for some networks: theirs, and in the present version of its question."""
        if dict(self.networks) != dict(networks):
            return Measured(networks)
        return self.only(name for name, version in versions.items() if self.versions.get(name) == version)

    def only(self, questions: Iterable[str]) -> Measured:
        """Return the part of it that answers some questions, in their order."""
        kept = [name for name in questions if name in self.tables]
        return Measured(
            self.networks,
            {name: self.versions[name] for name in kept},
            {name: self.tables[name] for name in kept},
            {name: self.made[name] for name in kept},
        )


def write(path: Path, groups: Mapping[str, Measured], order: Sequence[str]) -> Path:
    """Write the measurements of groups and return the path."""
    groups = {member: each.only(order) for member, each in groups.items()}
    known = [one for each in groups.values() for one in each.made.values()]
    made = list({json.dumps(dict(one), sort_keys=True): one for one in known}.values())
    about = {
        "made": made,
        "groups": {
            member: {
                "networks": dict(each.networks),
                "questions": {name: [each.versions[name], made.index(each.made[name])] for name in each.tables},
            }
            for member, each in groups.items()
        },
    }
    answered = [name for name in order if any(name in each.tables for each in groups.values())]
    tables = [_lines({member: each.only([name]) for member, each in groups.items()}, [name]) for name in answered]
    head = json.dumps(about | {"sha256": _digest(about, "".join(tables))})
    return write_atomically(path, b"".join(lzma.compress(text.encode(), preset=6) for text in (f"{head}\n", *tables)))


def _lines(groups: Mapping[str, Measured], order: Sequence[str]) -> str:
    """Return the tables as text, a line a column."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for column, values in _columns(groups, order).items():
        writer.writerow([column, *values])
    return rows.getvalue()


def _columns(groups: Mapping[str, Measured], order: Sequence[str]) -> dict[str, list[str]]:
    """Return the tables as texts by column; the first rows of all groups come first, since they are alike."""
    tables = [
        table.assign(question=question, member=member, place=range(len(table)))
        for member, each in groups.items()
        for question, table in each.tables.items()
    ]
    names = ["member", *COLUMNS]
    if not tables:
        return {name: [] for name in names}
    every = pd.concat(tables, ignore_index=True)
    ranks = every["question"].map({name: rank for rank, name in enumerate(order)})
    every = every.iloc[np.lexsort([every["place"].to_numpy(), ranks.to_numpy()])]
    texts = {name: every[name].astype(str).where(every[name].notna(), "").tolist() for name in names}
    # A value that is no number is kept, and an end of an interval that is missing is empty.
    for name in ("value", "low", "high"):
        gone = every[name].isna() & (name != "value")
        texts[name] = ["" if no else DIGITS % one for one, no in zip(every[name].tolist(), gone, strict=True)]
    return texts


def read(path: Path) -> dict[str, Measured]:
    """Return what `write` wrote, by member. The tables are shared between calls: do not change them."""
    try:
        status = path.stat()
    except OSError as error:
        raise ProbeError(_unreadable(path, error)) from error
    return dict(_read(path, (status.st_mtime_ns, status.st_size)))


@lru_cache(maxsize=64)
def _read(path: Path, stamp: tuple[int, int]) -> dict[str, Measured]:
    del stamp  # what changes with the file
    try:
        head, _, body = lzma.decompress(path.read_bytes()).decode().partition("\n")
        about = json.loads(head)
        if about.pop("sha256") != _digest(about, body):
            raise ValueError("its content is not what was written")
        columns: dict[str, list[str]] = {name: [] for name in ("member", *COLUMNS)}
        for name, *values in csv.reader(io.StringIO(body)):
            columns[name].extend(values)
        return _groups(about, columns)
    except (OSError, EOFError, lzma.LZMAError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProbeError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    if not path.parent.exists():
        return (
            f"The folder {str(path.parent)!r} does not exist. Give one that holds measurements, or fill it: measure "
            "the networks first."
        )
    return f"{str(path)!r} cannot be read as measurements ({error}). Remove it and measure again."


def _groups(about: Mapping[str, Any], columns: Mapping[str, list[str]]) -> dict[str, Measured]:
    """Return measurements by member from the lines of a file."""
    every = pd.DataFrame({name: columns[name] for name in COLUMNS}, dtype=str)
    for name, kind in TYPES.items():
        number = int if kind == "Int64" else float
        every[name] = pd.array([number(each) if each else None for each in columns[name]], dtype=kind)
    rows = every.groupby(
        [np.array(columns["member"], dtype=object), every["question"].to_numpy()], sort=False
    ).indices
    nothing = every.iloc[:0]
    found = {}
    for member, each in about["groups"].items():
        tables = {
            name: every.iloc[rows[member, name]].reset_index(drop=True) if (member, name) in rows else nothing
            for name in each["questions"]
        }
        versions = {name: pair[0] for name, pair in each["questions"].items()}
        made = {name: about["made"][pair[1]] for name, pair in each["questions"].items()}
        found[member] = Measured(each["networks"], versions, tables, made)
    return found


def _digest(about: Mapping[str, object], body: str) -> str:
    return hashlib.sha256(f"{json.dumps(about, sort_keys=True)}\n{body}".encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Store:
    """Where the measurements of a population lie: its file, and the parts that workers write, one a group."""

    folder: Path
    parts: Path
    population: str

    @property
    def path(self) -> Path:
        """The population's file."""
        return self.folder / f"{self.population}{SUFFIX}"

    def part(self, member: str) -> Path:
        """Return the file of a group's part."""
        return self.parts / self.population / f"{quote(member, safe='')}{SUFFIX}"

    def held(self, member: str, networks: Mapping[str, str], versions: Mapping[str, int | str]) -> Measured:
        """Return what counts of a group: what the population's file has of it, and what its part has beside that.

        What was measured on other weights or inputs or in another version is left out; a part that is damaged counts
        as nothing.
        """
        found = Measured(networks)
        with contextlib.suppress(ProbeError):
            found = read(self.part(member)).get(member, found).counting(networks, versions)
        if self.path.exists():
            found = _joined(found, read(self.path).get(member, found).counting(networks, versions))
        return found

    def add(self, member: str, new: Measured, order: Sequence[str]) -> Path:
        """Write what was measured of a group into its part, beside what is there, and return the path."""
        with locked(self.parts / self.population, "writing measurements"):
            path = self.part(member)
            known = Measured(new.networks)
            with contextlib.suppress(ProbeError):
                known = _joined(known, read(path).get(member, known))
            return write(path, {member: _joined(known, new)}, order)

    def pack(self, groups: Mapping[str, Mapping[str, str]], versions: Mapping[str, int | str]) -> int:
        """Put the parts of some groups into the population's file, remove them, and return how many there were.

        An answer in the file that counts stays, and so do those of other questions; of a part only what counts is
        taken. A part that is damaged is removed.
        """
        with locked(self.parts / self.population, "writing measurements"):
            there = [member for member in groups if self.part(member).exists()]
            if not there:
                return 0
            packed = read(self.path) if self.path.exists() else {}
            for member in there:
                before = packed.get(member, Measured(groups[member]))
                others = before.only(name for name in before.tables if name not in versions)
                packed[member] = _joined(others, self.held(member, groups[member], versions))
            ordered = sorted(packed, key=lambda name: (len(name), name))
            order = dict.fromkeys([*versions, *(name for each in packed.values() for name in each.tables)])
            write(self.path, {member: packed[member] for member in ordered}, list(order))
            for member in there:
                self.part(member).unlink()
        return len(there)


def _joined(old: Measured, new: Measured) -> Measured:
    """Return two measurements of one group as one; the newer answers count, and alone where the networks differ."""
    if dict(old.networks) != dict(new.networks):
        return new
    versions, made = {**old.versions, **new.versions}, {**old.made, **new.made}
    return Measured(new.networks, versions, {**old.tables, **new.tables}, made)
