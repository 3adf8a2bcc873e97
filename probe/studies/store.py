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
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
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
#: What goes wrong where a file is missing or damaged.
DAMAGED = (OSError, EOFError, lzma.LZMAError, ValueError, KeyError, TypeError, AttributeError)
#: One line holds a column of a whole population.
csv.field_size_limit(sys.maxsize)


class Answer(NamedTuple):
    """What a question found of a group: the question's version, its table, and the libraries that computed it."""

    version: int | str
    table: pd.DataFrame
    made: Mapping[str, str]


#: The version and the libraries of answers, by question.
Told: TypeAlias = Mapping[str, tuple[int | str, Mapping[str, str]]]


class Packed(NamedTuple):
    """The text of a table, or of the line above all, and what it is compressed to."""

    text: str
    data: bytes


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of a group: the digests of its networks by name, and each question's answer."""

    networks: Mapping[str, str]
    answers: Mapping[str, Answer] = dataclasses.field(default_factory=dict)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The table of each question."""
        return {name: one.table for name, one in self.answers.items()}

    def counting(self, networks: Mapping[str, str], versions: Mapping[str, int | str]) -> Measured:
        """Return the part of it that counts for some networks: theirs, and in the present version of its question."""
        there = self.answers if dict(self.networks) == dict(networks) else {}
        return Measured(networks, {name: one for name, one in there.items() if versions.get(name) == one.version})

    def joined(self, new: Measured) -> Measured:
        """Return both as one; the newer answers count, and alone where the networks differ."""
        same = dict(self.networks) == dict(new.networks)
        return Measured(new.networks, {**self.answers, **new.answers}) if same else new


def write(path: Path, groups: Mapping[str, Measured]) -> Path:
    """Write the measurements of groups and return the path; questions stand in the order of their names."""
    told = {
        member: (each.networks, {name: (one.version, one.made) for name, one in each.answers.items()})
        for member, each in groups.items()
    }
    names = sorted({name for each in groups.values() for name in each.answers})
    return _write(path, told, [_packed(_lines(name, groups)) for name in names])


def _write(path: Path, groups: Mapping[str, tuple[Mapping[str, str], Told]], tables: Sequence[Packed]) -> Path:
    """Write what is told of groups, their networks and answers, and the tables of all questions by their names."""
    known = [made for _, answers in groups.values() for _, (_, made) in sorted(answers.items())]
    made = list({json.dumps(dict(one), sort_keys=True): one for one in known}.values())
    about = {
        "made": made,
        "groups": {
            member: {
                "networks": dict(networks),
                "questions": {name: [version, made.index(one)] for name, (version, one) in sorted(answers.items())},
            }
            for member, (networks, answers) in groups.items()
        },
    }
    head = json.dumps(about | {"sha256": _digest(about, "".join(one.text for one in tables))})
    return write_atomically(path, b"".join(one.data for one in (_packed(f"{head}\n"), *tables)))


def _packed(text: str) -> Packed:
    return Packed(text, lzma.compress(text.encode(), preset=6))


def _unpacked(data: bytes) -> Iterator[Packed]:
    """Yield what was compressed by itself, one after another."""
    while data:
        unpacker = lzma.LZMADecompressor()
        text = unpacker.decompress(data).decode()
        if not unpacker.eof:
            raise EOFError("its end is missing")
        yield Packed(text, data[: len(data) - len(unpacker.unused_data)])
        data = unpacker.unused_data


def _lines(question: str, groups: Mapping[str, Measured]) -> str:
    """Return a question's table as text, a line a column; the first rows of all groups, which are alike, lead."""
    tables = {member: each.tables[question] for member, each in groups.items() if question in each.answers}
    order = np.argsort(np.concatenate([np.arange(len(table)) for table in tables.values()]), kind="stable").tolist()
    columns = {name: [one for table in tables.values() for one in table[name].tolist()] for name in COLUMNS}
    columns["question"] = [question] * len(order)
    columns["member"] = [member for member, table in tables.items() for _ in range(len(table))]
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for name in ("member", *COLUMNS):
        values = columns[name]
        if name == "value":  # one that is no number is kept
            texts = [DIGITS % one for one in values]
        else:
            form = DIGITS if name in ("low", "high") else "%s"
            gone = pd.isna(np.array(values, dtype=object))
            texts = ["" if no else form % one for one, no in zip(values, gone, strict=True)]
        writer.writerow([name, *(texts[place] for place in order)])
    return rows.getvalue()


def read(path: Path) -> dict[str, Measured]:
    """Return what `write` wrote, by member. The tables are shared between calls: do not change them."""
    status = path.stat() if path.exists() else None
    return dict(_read(path, None if status is None else (status.st_mtime_ns, status.st_size)))


@lru_cache(maxsize=64)
def _read(path: Path, stamp: tuple[int, int] | None) -> dict[str, Measured]:
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
    except DAMAGED as error:
        raise ProbeError(
            f"{str(path)!r} cannot be read as measurements ({error}). Remove it and measure again."
        ) from error


def _groups(about: Mapping[str, Any], columns: Mapping[str, list[str]]) -> dict[str, Measured]:
    """Return measurements by member from the lines of a file."""
    every = pd.DataFrame({name: columns[name] for name in COLUMNS}, dtype=str)
    for name, kind in TYPES.items():
        number = int if kind == "Int64" else float
        every[name] = pd.array([number(each) if each else None for each in columns[name]], dtype=kind)
    # Each answer's rows together, so that its table is a piece of them all.
    (member_of, members), (asked, names) = (
        pd.factorize(np.array(columns[one], dtype=object)) for one in ("member", "question")
    )
    codes = member_of * len(names) + asked
    every = every.iloc[np.argsort(codes, kind="stable")]
    ends = np.cumsum(np.bincount(codes, minlength=len(members) * len(names))).tolist()
    keys = [(member, name) for member in members for name in names]
    rows = dict(zip(keys, zip([0, *ends[:-1]], ends, strict=True), strict=True)) if keys else {}
    found = {}
    for member, each in about["groups"].items():
        answers = {}
        for name, (version, place) in each["questions"].items():
            own = every.iloc[slice(*rows.get((member, name), (0, 0)))]
            own.index = pd.RangeIndex(len(own))
            answers[name] = Answer(version, own, about["made"][place])
        found[member] = Measured(each["networks"], answers)
    return found


def _kept(
    data: bytes, member: str, networks: Mapping[str, str]
) -> dict[str, tuple[int | str, Mapping[str, str], Packed]]:
    """Return the version, libraries and table of each answer in a group's part, if it is of these networks."""
    head, *tables = _unpacked(data)
    about = json.loads(head.text)
    if about.pop("sha256") != _digest(about, "".join(one.text for one in tables)):
        raise ValueError("its content is not what was written")
    each = about["groups"][member]
    if each["networks"] != dict(networks):
        return {}
    answers = zip(each["questions"].items(), tables, strict=True)
    return {name: (version, about["made"][place], table) for (name, (version, place)), table in answers}


def _digest(about: Mapping[str, object], body: str) -> str:
    return hashlib.sha256(f"{json.dumps(about, sort_keys=True)}\n{body}".encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Store:
    """Where the measurements of a population lie: its file, and the folder of the parts that workers write."""

    path: Path
    parts: Path

    def part(self, member: str) -> Path:
        """Return the file of a group's part."""
        return self.parts / f"{quote(member, safe='')}{SUFFIX}"

    def held(self, member: str, networks: Mapping[str, str], versions: Mapping[str, int | str]) -> Measured:
        """Return what counts of a group: what the population's file has of it, and what its part has beside that.

        What was measured on other weights or inputs or in another version is left out; a part that is damaged counts
        as nothing.
        """
        found = Measured(networks)
        with contextlib.suppress(ProbeError):
            found = read(self.part(member)).get(member, found).counting(networks, versions)
        if self.path.exists():
            found = found.joined(read(self.path).get(member, found).counting(networks, versions))
        return found

    def add(self, member: str, new: Measured) -> Path:
        """Write what was measured of a group into its part, beside what is there, and return the path.

        Answers that are there stay as they are compressed; one that is damaged counts as nothing.
        """
        with locked(self.parts, "writing measurements"):
            path, found = self.part(member), dict[str, tuple[int | str, Mapping[str, str], Packed]]()
            with contextlib.suppress(*DAMAGED):
                found = _kept(path.read_bytes(), member, new.networks)
            for name, one in new.answers.items():
                found[name] = (one.version, one.made, _packed(_lines(name, {member: new})))
            told = {name: (version, made) for name, (version, made, _) in found.items()}
            return _write(path, {member: (new.networks, told)}, [table for _, (_, _, table) in sorted(found.items())])

    def pack(self, groups: Mapping[str, Mapping[str, str]], versions: Mapping[str, int | str]) -> None:
        """Put the parts of some groups into the population's file, and remove them.

        An answer in the file that counts stays, and so do those of other questions; of a part only what counts is
        taken. A part that is damaged is removed.
        """
        with locked(self.parts, "writing measurements"):
            there = [member for member in groups if self.part(member).exists()]
            if not there:
                return
            packed = read(self.path) if self.path.exists() else {}
            for member in there:
                before = packed.get(member, Measured(groups[member]))
                others = {name: one for name, one in before.answers.items() if name not in versions}
                held = self.held(member, groups[member], versions)
                packed[member] = Measured(before.networks, others).joined(held)
            ordered = sorted(packed, key=lambda name: (len(name), name))
            write(self.path, {member: packed[member] for member in ordered})
            for member in there:
                self.part(member).unlink()
